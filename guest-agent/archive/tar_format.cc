#include "guest-agent/archive/tar_format.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace hull::archive {
namespace {

using agent::Decimal;
using agent::Prefix;
using agent::WithoutPrefix;

// Fields of a header: offset and size.
struct Field {
  size_t offset;
  size_t size;
};
constexpr Field kNameField = {0, 100};
constexpr Field kModeField = {100, 8};
constexpr Field kUidField = {108, 8};
constexpr Field kGidField = {116, 8};
constexpr Field kSizeField = {124, 12};
constexpr Field kMtimeField = {136, 12};
constexpr Field kSumField = {148, 8};
constexpr size_t kTypeOffset = 156;
constexpr Field kLinkField = {157, 100};
constexpr Field kMagicField = {257, 6};
constexpr Field kMajorField = {329, 8};
constexpr Field kMinorField = {337, 8};
constexpr Field kPrefixField = {345, 155};

constexpr std::string_view kAttributePrefix = "SCHILY.xattr.";
constexpr uint8_t kZeros[2 * kBlock] = {};

std::string_view TextOf(const uint8_t* block, Field field) {
  const char* const text = reinterpret_cast<const char*>(block + field.offset);
  return {text, strnlen(text, field.size)};
}

// Octal digits between spaces and NULs, or GNU's base 256. Negative numbers are refused.
bool NumberOf(const uint8_t* block, Field field, uint64_t* number) {
  const uint8_t* const bytes = block + field.offset;
  *number = 0;
  if ((bytes[0] & 0x80) != 0) {
    if (bytes[0] != 0x80) return false;
    for (size_t i = 1; i < field.size; ++i) {
      if (*number >> 56 != 0) return false;
      *number = *number << 8 | bytes[i];
    }
    return true;
  }
  size_t i = 0;
  while (i < field.size && bytes[i] == ' ') ++i;
  for (; i < field.size && bytes[i] >= '0' && bytes[i] <= '7'; ++i) {
    *number = *number << 3 | static_cast<uint64_t>(bytes[i] - '0');
  }
  for (; i < field.size; ++i) {
    if (bytes[i] != ' ' && bytes[i] != '\0') return false;
  }
  return true;
}

uint64_t ChecksumOf(const uint8_t* block) {
  uint64_t sum = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    const bool own = i >= kSumField.offset && i < kSumField.offset + kSumField.size;
    sum += own ? ' ' : block[i];
  }
  return sum;
}

uint64_t PaddingOf(uint64_t size) { return (kBlock - size % kBlock) % kBlock; }

// A decimal number that is the whole of `text`; a fraction is cut off.
bool ParseDecimal(std::string_view text, uint64_t* number) {
  text = Prefix(text, text.find('.'));
  *number = 0;
  if (text.empty() || text.size() > 18) return false;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    *number = *number * 10 + static_cast<uint64_t>(c - '0');
  }
  return true;
}

void SetOctal(uint8_t* block, Field field, uint64_t number) {
  for (size_t i = field.size - 1; i-- > 0; number >>= 3) {
    block[field.offset + i] = static_cast<uint8_t>('0' + (number & 7));
  }
}

void SetText(uint8_t* block, Field field, std::string_view text) {
  std::memcpy(block + field.offset, text.data(), std::min(text.size(), field.size));
}

}  // namespace

void Entry::Clear() {
  type = EntryType::kFile;
  name.Assign({});
  link.Assign({});
  mode = 0;
  uid = gid = size = 0;
  mtime = 0;
  device_major = device_minor = 0;
  attributes_size = 0;
}

bool Entry::AddAttribute(std::string_view attribute, std::span<const uint8_t> value) {
  const size_t needed = attribute.size() + 1 + sizeof(uint32_t) + value.size();
  if (needed > sizeof(attributes) - attributes_size) return false;
  uint8_t* to = attributes + attributes_size;
  std::memcpy(to, attribute.data(), attribute.size());
  to += attribute.size();
  *to++ = '\0';
  const auto size = static_cast<uint32_t>(value.size());
  std::memcpy(to, &size, sizeof(size));
  if (!value.empty()) std::memcpy(to + sizeof(size), value.data(), value.size());
  attributes_size += needed;
  return true;
}

long DescriptorSource::Read(uint8_t* data, size_t size) {
  while (true) {
    const ssize_t n = read(fd_, data, size);
    if (n >= 0) return n;
    if (errno != EINTR) return -errno;
  }
}

bool DescriptorSink::Write(const uint8_t* data, size_t size) {
  while (size != 0) {
    const ssize_t n = write(fd_, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

// ---- Reading ----

bool TarReader::Refuse(std::string_view what) {
  why_.Assign({"not a usable archive: ", what});
  return false;
}

// `end` may be null; it is set if there is not one byte.
bool TarReader::ReadFull(uint8_t* data, size_t size, bool* end) {
  size_t have = 0;
  while (have < size) {
    const long n = source_->Read(data + have, size - have);
    if (n < 0) {
      why_.Assign({"cannot read: ", std::string_view(strerrordesc_np(static_cast<int>(-n)))});
      return false;
    }
    if (n == 0 && have == 0 && end != nullptr) {
      *end = true;
      return true;
    }
    if (n == 0) return Refuse("it ends too early");
    have += static_cast<size_t>(n);
  }
  return true;
}

bool TarReader::SkipContent() {
  uint8_t ignored[4096];
  uint64_t left = content_left_ + padding_left_;
  content_left_ = padding_left_ = 0;
  while (left != 0) {
    const size_t part = static_cast<size_t>(std::min<uint64_t>(left, sizeof(ignored)));
    if (!ReadFull(ignored, part, nullptr)) return false;
    left -= part;
  }
  return true;
}

long TarReader::ReadContent(uint8_t* data, size_t size) {
  if (content_left_ == 0) return 0;
  size = static_cast<size_t>(std::min<uint64_t>(size, content_left_));
  const long n = source_->Read(data, size);
  if (n < 0) {
    why_.Assign({"cannot read: ", std::string_view(strerrordesc_np(static_cast<int>(-n)))});
    return -1;
  }
  if (n == 0) {
    Refuse("it ends too early");
    return -1;
  }
  content_left_ -= static_cast<uint64_t>(n);
  return n;
}

bool TarReader::ReadExtended(uint64_t size) {
  if (size > sizeof(extended_)) return Refuse("an extended header is too long");
  extended_size_ = static_cast<size_t>(size);
  uint8_t padding[kBlock];
  return ReadFull(extended_, extended_size_, nullptr) &&
         ReadFull(padding, static_cast<size_t>(PaddingOf(size)), nullptr);
}

bool TarReader::ReadLongName(uint64_t size, Name* name) {
  // With its NUL.
  if (size > kMaxName + 1) return Refuse("a name is too long");
  uint8_t bytes[kMaxName + 1 + kBlock];
  if (!ReadFull(bytes, static_cast<size_t>(size + PaddingOf(size)), nullptr)) return false;
  const char* const text = reinterpret_cast<const char*>(bytes);
  name->Assign({{text, strnlen(text, static_cast<size_t>(size))}});
  return true;
}

bool TarReader::ParseHeader(const uint8_t* block, Entry* entry, char* type) {
  uint64_t sum, mode, mtime, major = 0, minor = 0;
  if (!NumberOf(block, kSumField, &sum) || sum != ChecksumOf(block)) {
    return Refuse("the checksum of a header is wrong");
  }
  if (!NumberOf(block, kModeField, &mode) || !NumberOf(block, kUidField, &entry->uid) ||
      !NumberOf(block, kGidField, &entry->gid) || !NumberOf(block, kSizeField, &entry->size)) {
    return Refuse("a number in a header is none");
  }
  // A time before 1970, or none.
  if (!NumberOf(block, kMtimeField, &mtime) || mtime > INT64_MAX) mtime = 0;
  const std::string_view magic = TextOf(block, kMagicField);
  const bool ustar = Prefix(magic, 5) == "ustar";
  if (ustar) {
    NumberOf(block, kMajorField, &major);
    NumberOf(block, kMinorField, &minor);
  }
  const std::string_view name = TextOf(block, kNameField);
  // GNU's ("ustar  ") has other fields at that place.
  const std::string_view prefix =
      ustar && magic.size() == 5 ? TextOf(block, kPrefixField) : std::string_view();
  if (prefix.empty()) {
    entry->name.Assign({name});
  } else {
    entry->name.Assign({prefix, "/", name});
  }
  entry->link.Assign({TextOf(block, kLinkField)});
  entry->mode = static_cast<uint32_t>(mode & 07777);
  entry->mtime = static_cast<int64_t>(mtime);
  entry->device_major = static_cast<uint32_t>(major);
  entry->device_minor = static_cast<uint32_t>(minor);
  *type = static_cast<char>(block[kTypeOffset]);
  return true;
}

// Records of the form "LENGTH KEY=VALUE\n".
bool TarReader::ApplyPax(Entry* entry) {
  std::string_view rest(reinterpret_cast<const char*>(extended_), extended_size_);
  while (!rest.empty()) {
    const size_t space = rest.find(' ');
    uint64_t length;
    if (space == std::string_view::npos || !ParseDecimal(Prefix(rest, space), &length) ||
        length > rest.size() || length < space + 4 ||
        rest[static_cast<size_t>(length) - 1] != '\n') {
      return Refuse("a record of an extended header is none");
    }
    const std::string_view record =
        WithoutPrefix(Prefix(rest, static_cast<size_t>(length) - 1), space + 1);
    rest = WithoutPrefix(rest, static_cast<size_t>(length));
    const size_t equals = record.find('=');
    if (equals == std::string_view::npos) return Refuse("a record of an extended header is none");
    const std::string_view key = Prefix(record, equals);
    const std::string_view value = WithoutPrefix(record, equals + 1);
    uint64_t number = 0;
    if (key == "path" || key == "linkpath") {
      Name* const name = key == "path" ? &entry->name : &entry->link;
      name->Assign({value});
      if (name->truncated()) return Refuse("a name is too long");
      if (value.find('\0') != std::string_view::npos) return Refuse("a NUL in a name");
    } else if (key == "size" || key == "uid" || key == "gid") {
      if (!ParseDecimal(value, &number)) return Refuse("a number in a header is none");
      (key == "size" ? entry->size : key == "uid" ? entry->uid : entry->gid) = number;
    } else if (key == "mtime") {
      entry->mtime = ParseDecimal(value, &number) ? static_cast<int64_t>(number) : 0;
    } else if (key.starts_with("GNU.sparse.")) {
      return Refuse("it has sparse files of a kind that is not known here");
    } else if (key.starts_with(kAttributePrefix)) {
      const std::string_view attribute = WithoutPrefix(key, kAttributePrefix.size());
      if (attribute.empty() || attribute.find('\0') != std::string_view::npos) continue;
      if (!entry->AddAttribute(attribute,
                               {reinterpret_cast<const uint8_t*>(value.data()), value.size()})) {
        return Refuse("an entry's attributes are too large");
      }
    }
  }
  return true;
}

TarReader::Result TarReader::Next(Entry* entry) {
  if (!SkipContent()) return Result::kError;
  bool pax = false;
  bool long_name = false;
  bool long_link = false;
  while (true) {
    alignas(8) uint8_t block[kBlock];
    bool end = false;
    if (!ReadFull(block, kBlock, &end)) return Result::kError;
    // The end without its blocks of zeros is one, too.
    if (end) return Result::kEnd;
    if (std::memcmp(block, kZeros, kBlock) == 0) return Result::kEnd;
    entry->Clear();
    char type;
    if (!ParseHeader(block, entry, &type)) return Result::kError;
    if (type == 'g') {  // of the whole archive: nothing in it matters here
      content_left_ = entry->size;
      padding_left_ = PaddingOf(entry->size);
      if (!SkipContent()) return Result::kError;
      continue;
    }
    if (type == 'x') {
      pax = true;
      if (!ReadExtended(entry->size)) return Result::kError;
      continue;
    }
    if (type == 'L' || type == 'K') {
      (type == 'L' ? long_name : long_link) = true;
      if (!ReadLongName(entry->size, type == 'L' ? &long_name_ : &long_link_)) {
        return Result::kError;
      }
      continue;
    }
    if (long_name) entry->name = long_name_;
    if (long_link) entry->link = long_link_;
    if (pax && !ApplyPax(entry)) return Result::kError;
    switch (type) {
      case '\0':
      case '0':
      case '7':
        // As old archives say it of a directory.
        entry->type = entry->name.view().ends_with('/') ? EntryType::kDirectory : EntryType::kFile;
        break;
      case '1':
        entry->type = EntryType::kHardLink;
        break;
      case '2':
        entry->type = EntryType::kSymlink;
        break;
      case '3':
        entry->type = EntryType::kCharacter;
        break;
      case '4':
        entry->type = EntryType::kBlock;
        break;
      case '5':
        entry->type = EntryType::kDirectory;
        break;
      case '6':
        entry->type = EntryType::kFifo;
        break;
      default:
        Refuse("an entry of a kind that is not known here");
        return Result::kError;
    }
    if (entry->name.view().empty()) {
      Refuse("an entry without a name");
      return Result::kError;
    }
    // POSIX: a link has a size that says nothing, others have no content.
    if (entry->type != EntryType::kFile) entry->size = 0;
    if (entry->size > INT64_MAX) {
      Refuse("a file's size is none");
      return Result::kError;
    }
    content_left_ = entry->size;
    padding_left_ = PaddingOf(entry->size);
    return Result::kEntry;
  }
}

// ---- Writing ----

bool TarWriter::AddRecord(std::string_view key, std::span<const uint8_t> value) {
  // The length counts its own digits.
  const size_t rest = 1 + key.size() + 1 + value.size() + 1;
  size_t length = rest;
  while (length != rest + std::string_view(Decimal(length)).size()) {
    length = rest + std::string_view(Decimal(length)).size();
  }
  if (length > sizeof(records_) - records_size_) {
    errno = EFBIG;
    return false;
  }
  const auto append = [this](const void* data, size_t size) {
    if (size != 0) std::memcpy(records_ + records_size_, data, size);
    records_size_ += size;
  };
  const Decimal digits(length);
  append(std::string_view(digits).data(), std::string_view(digits).size());
  append(" ", 1);
  append(key.data(), key.size());
  append("=", 1);
  append(value.data(), value.size());
  append("\n", 1);
  return true;
}

bool TarWriter::AddText(std::string_view key, std::string_view value) {
  return AddRecord(key, {reinterpret_cast<const uint8_t*>(value.data()), value.size()});
}

bool TarWriter::WriteHeader(std::string_view name, std::string_view link, char type,
                            const Entry& entry, uint64_t size) {
  uint8_t block[kBlock] = {};
  SetText(block, kNameField, name);
  SetText(block, kLinkField, link);
  SetOctal(block, kModeField, entry.mode);
  // What does not fit is in the extended header.
  SetOctal(block, kUidField, entry.uid);
  SetOctal(block, kGidField, entry.gid);
  SetOctal(block, kSizeField, size);
  SetOctal(block, kMtimeField, static_cast<uint64_t>(std::max<int64_t>(entry.mtime, 0)));
  block[kTypeOffset] = static_cast<uint8_t>(type);
  std::memcpy(block + kMagicField.offset, "ustar\00000", 8);
  SetOctal(block, kMajorField, entry.device_major);
  SetOctal(block, kMinorField, entry.device_minor);
  SetOctal(block, {kSumField.offset, kSumField.size - 1}, ChecksumOf(block));
  block[kSumField.offset + kSumField.size - 1] = ' ';
  return sink_->Write(block, kBlock);
}

bool TarWriter::WriteEntry(const Entry& entry) {
  records_size_ = 0;
  const std::string_view name = entry.name.view();
  const std::string_view link = entry.link.view();
  constexpr uint64_t kMaxId = 07777777;
  constexpr uint64_t kMaxSize = 077777777777;
  bool ok = true;
  if (name.size() > kNameField.size) ok = ok && AddText("path", name);
  if (link.size() > kLinkField.size) ok = ok && AddText("linkpath", link);
  if (entry.uid > kMaxId) ok = ok && AddText("uid", Decimal(entry.uid));
  if (entry.gid > kMaxId) ok = ok && AddText("gid", Decimal(entry.gid));
  if (entry.size > kMaxSize) ok = ok && AddText("size", Decimal(entry.size));
  ForEachAttribute(entry, [&](std::string_view attribute, std::span<const uint8_t> value) {
    agent::FixedText<300> key;
    key.Assign({kAttributePrefix, attribute});
    ok = ok && AddRecord(key.view(), value);
    return ok;
  });
  if (!ok) return false;
  if (records_size_ != 0) {
    if (!WriteHeader("././@PaxHeader", "", 'x', entry, records_size_) ||
        !sink_->Write(records_, records_size_) || !EndContent(records_size_)) {
      return false;
    }
  }
  constexpr char kTypes[] = {'0', '1', '2', '3', '4', '5', '6'};
  return WriteHeader(name, link, kTypes[static_cast<size_t>(entry.type)], entry, entry.size);
}

bool TarWriter::EndContent(uint64_t size) {
  return sink_->Write(kZeros, static_cast<size_t>(PaddingOf(size)));
}

bool TarWriter::End() { return sink_->Write(kZeros, sizeof(kZeros)); }

}  // namespace hull::archive
