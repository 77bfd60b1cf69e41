// How the store and the program hull-unpack talk.
//
// The program is started once per step, with one verb and nothing but the descriptors listed here;
// it opens no file of its own but the parts of a layout directory and, run by root, that of
// --user_claims, where it takes a user id out of --users for its work. It writes one JSON object a
// line to standard output, in this order: any number of {"progress": {"bytes": N, "total": N}}
// (with "layer" and "layers" for convert), then either {"result": {...}} or {"error": {"code": N,
// "message": S}} with the numbers of absl::StatusCode.
//
//   spool    kInputFd, kOutputFd: copies the input, decompressed, to the output. {"result": {}}
//   inspect  kInputFd: {"result": {"images": [{"manifest": DIGEST, "size": N, "names": [S, ...],
//            "disk": whether it is a disk of a machine}]}}
//   convert  kInputFd, kOutputFd and the other four, with --manifest and --manifest_size:
//            {"result": {"layer_bytes": [N, ...]}}, the size of each layer's uncompressed tar file
//            With --disk, an image that is a machine's disk: kOutputFd becomes the disk
//   expand   kInputFd, kOutputFd, with --layer, --layer_offset and --layer_size: decompresses a
//   layer
//            that lies there in the input. {"result": {}}
//   import   kInputFd, kOutputFd, kConfigFd, kManifestFd, kLayersFd, with --boot, --disk_size and
//            --created: makes an image of the disk that the input is. {"result": {"manifest":
//            DIGEST}}
//   digest   kInputFd, with --layer_offset and --layer_size: what the SHA-256 of that part of the
//            input is. {"result": {"digest": DIGEST}}
//
// kInputFd is a layout (a directory, or an uncompressed tar file that can be read at any position);
// for spool and digest, any file; for expand, what convert wrote to kLayersFd.

#ifndef IMAGES_UNPACK_PROTOCOL_H_
#define IMAGES_UNPACK_PROTOCOL_H_

namespace hull::images {

inline constexpr int kInputFd = 3;
inline constexpr int kOutputFd = 4;    // the root file system image; empty
inline constexpr int kScratchFd = 5;   // temporary data; empty
inline constexpr int kConfigFd = 6;    // the image configuration, as it is in the layout; empty
inline constexpr int kManifestFd = 7;  // the image manifest, likewise
// The layers' blobs as they are in the layout, one after another in the manifest's order; empty.
inline constexpr int kLayersFd = 8;

}  // namespace hull::images

#endif  // IMAGES_UNPACK_PROTOCOL_H_
