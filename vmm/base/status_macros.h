// Early returns for absl::Status, as Debian's Abseil has none.

#ifndef VMM_BASE_STATUS_MACROS_H_
#define VMM_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define HULL_RETURN_IF_ERROR(expr)               \
  do {                                           \
    absl::Status hull_status_ = (expr);          \
    if (!hull_status_.ok()) return hull_status_; \
  } while (false)

#define HULL_ASSIGN_OR_RETURN(lhs, expr) \
  HULL_ASSIGN_OR_RETURN_IMPL_(HULL_CONCAT_(hull_statusor_, __LINE__), lhs, expr)

#define HULL_CONCAT_INNER_(a, b) a##b
#define HULL_CONCAT_(a, b) HULL_CONCAT_INNER_(a, b)
#define HULL_ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr) \
  auto tmp = (expr);                                \
  if (!tmp.ok()) return std::move(tmp).status();    \
  lhs = std::move(tmp).value()

#endif  // VMM_BASE_STATUS_MACROS_H_
