// What an entry of an archive is.

#ifndef IMAGES_ENTRY_TYPE_H_
#define IMAGES_ENTRY_TYPE_H_

namespace hull::images {

enum class EntryType {
  kRegular,
  kDirectory,
  kSymlink,
  kHardLink,
  kCharDevice,
  kBlockDevice,
  kFifo,
  kOther,
};

}  // namespace hull::images

#endif  // IMAGES_ENTRY_TYPE_H_
