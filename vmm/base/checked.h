// Arithmetic that says when it overflows.

#ifndef VMM_BASE_CHECKED_H_
#define VMM_BASE_CHECKED_H_

#include <concepts>
#include <optional>

namespace hull {

template <std::unsigned_integral T>
constexpr std::optional<T> CheckedAdd(T a, T b) {
  T sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

template <std::unsigned_integral T>
constexpr std::optional<T> CheckedMul(T a, T b) {
  T product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// The next multiple of `alignment` (a power of two) that is not below `value`.
template <std::unsigned_integral T>
constexpr std::optional<T> CheckedAlignUp(T value, T alignment) {
  const std::optional<T> raised = CheckedAdd<T>(value, alignment - 1);
  if (!raised.has_value()) return std::nullopt;
  return *raised & ~(alignment - 1);
}

// Whether [start, start + size) lies within [0, limit).
template <std::unsigned_integral T>
constexpr bool RangeFits(T start, T size, T limit) {
  return start <= limit && size <= limit - start;
}

}  // namespace hull

#endif  // VMM_BASE_CHECKED_H_
