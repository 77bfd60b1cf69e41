"""Writes OCI image layouts, right and wrong ones, with nothing but Python's own library.

OCI Image Format Specification 1.0: image-layout.md, manifest.md, config.md, layer.md.
"""

import gzip
import hashlib
import io
import json
import pathlib
import tarfile

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = LAYER + "+gzip"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def entry(name, data=None, kind=tarfile.REGTYPE, link="", mode=0o755, uid=0, gid=0, pax=None,
          device=(0, 0)):
    """One member of a layer and its content."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = mode
    info.uid, info.gid = uid, gid
    info.linkname = link
    info.devmajor, info.devminor = device
    info.pax_headers = pax or {}
    content = data.encode() if isinstance(data, str) else data
    info.size = len(content) if content is not None else 0
    return info, content


def directory(name, **kwargs):
    return entry(name, kind=tarfile.DIRTYPE, **kwargs)


def symlink(name, target):
    return entry(name, kind=tarfile.SYMTYPE, link=target, mode=0o777)


def hardlink(name, target):
    return entry(name, kind=tarfile.LNKTYPE, link=target)


def layer(*entries):
    """An uncompressed layer of these entries."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content) if content is not None else None)
    return stream.getvalue()


class Layout:
    """A layout directory with one image."""

    def __init__(self, path, layers, config=None, name="test:latest", compress=True):
        self.path = pathlib.Path(path)
        self.blobs = self.path / "blobs" / "sha256"
        self.blobs.mkdir(parents=True)
        (self.path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        descriptors = []
        for content in layers:
            stored = gzip.compress(content, mtime=0) if compress else content
            descriptors.append(self.blob(stored, LAYER_GZIP if compress else LAYER))
        image = {
            "architecture": "amd64",
            "os": "linux",
            "config": config or {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(content) for content in layers]},
        }
        self.layers = descriptors
        self.config = self.blob(json.dumps(image).encode(), CONFIG)
        self.manifest = self.blob(json.dumps({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.config,
            "layers": descriptors,
        }).encode(), MANIFEST)
        self.write_index(dict(self.manifest,
                              annotations={"org.opencontainers.image.ref.name": name}))

    def blob(self, data, media_type):
        digest = digest_of(data)
        (self.blobs / digest.split(":")[1]).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def blob_path(self, descriptor):
        return self.blobs / descriptor["digest"].split(":")[1]

    def write_index(self, *manifests):
        (self.path / "index.json").write_text(json.dumps(
            {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests)}))


def docker_archive(path, layers, names, compress=None):
    """Writes a docker-archive with one image, as `docker save` does. Returns the image's id."""
    stored = [compress(layer) if compress else layer for layer in layers]
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}}).encode()
    members = {"config.json": config}
    for number, data in enumerate(stored):
        members[f"{number}/layer.tar"] = data
    members["manifest.json"] = json.dumps([{
        "Config": "config.json", "RepoTags": names,
        "Layers": [f"{number}/layer.tar" for number in range(len(layers))]}]).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return digest_of(config).split(":")[1]


def busybox_entries():
    """The smallest root in which a shell runs."""
    busybox = pathlib.Path("/bin/busybox").read_bytes()
    applets = ["sh", "cat", "echo", "ls", "id", "env", "pwd", "sleep", "stat", "readlink"]
    return [directory("bin"), entry("bin/busybox", busybox)] + [
        symlink(f"bin/{name}", "busybox") for name in applets]
