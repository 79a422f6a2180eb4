#!/usr/bin/env python3
"""Writes an image as an OCI layout in a tar file, which `ctr images import` takes. No container engine is needed.

Usage: image.py OUT.tar NAME:TAG [--libraries] [--user UID] --entry "PROGRAM ARGUMENTS" SOURCE:PLACE ...

One layer, with the files and what every program expects around it. --libraries adds the shared libraries that the programs
name. The same files give the same bytes.
"""

import argparse
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import tarfile


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("name")
    parser.add_argument("--libraries", action="store_true")
    parser.add_argument("--user", default="")
    parser.add_argument("--entry", required=True)
    parser.add_argument("files", nargs="+")
    return parser.parse_args()


def libraries(program):
    """The paths of the shared libraries of an ELF file."""
    with open(program, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return []
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return [match[1] for match in re.finditer(r"(?:=> )?(/\S+) \(0x", listed)]


def collect(files, with_libraries):
    """Place in the image → file on this machine."""
    found = {}
    for word in files:
        source, _, place = word.partition(":")
        roots = [(pathlib.Path(source), pathlib.PurePosixPath(place or source))]
        if os.path.isdir(source):
            base = pathlib.Path(source)
            roots = [(path, pathlib.PurePosixPath(place or source) / path.relative_to(base)) for path in base.rglob("*") if path.is_file()]
        for path, target in roots:
            found[str(target)] = os.path.realpath(path)
            if with_libraries:
                for library in libraries(path):
                    found[library] = os.path.realpath(library)
    return found


class Layer:
    """A tar of folders and files, each with the same owner and time."""

    def __init__(self):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=tarfile.GNU_FORMAT)
        self.folders = set()

    def folder(self, place, mode=0o755):
        if place in ("", "/") or place in self.folders:
            return
        self.folder(os.path.dirname(place))
        self.folders.add(place)
        info = tarfile.TarInfo(place.lstrip("/"))
        info.type, info.mode = tarfile.DIRTYPE, mode
        self.tar.addfile(info)

    def file(self, place, content, mode=0o644):
        self.folder(os.path.dirname(place))
        info = tarfile.TarInfo(place.lstrip("/"))
        info.size, info.mode = len(content), mode
        self.tar.addfile(info, io.BytesIO(content))

    def bytes(self):
        self.tar.close()
        return self.buffer.getvalue()


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def document(value):
    return json.dumps(value, sort_keys=True).encode()


def main():
    args = arguments()
    layer = Layer()
    for folder in ("/etc", "/run", "/var/run", "/var/lib"):
        layer.folder(folder)
    layer.folder("/tmp", 0o1777)
    layer.file("/etc/passwd", b"root:x:0:0:root:/:/bin/sh\nistio-proxy:x:1337:1337::/:/bin/sh\n")
    layer.file("/etc/group", b"root:x:0:\nistio-proxy:x:1337:\n")
    layer.file("/etc/nsswitch.conf", b"hosts: files dns\n")
    for place, source in sorted(collect(args.files, args.libraries).items()):
        layer.file(place, pathlib.Path(source).read_bytes(), os.stat(source).st_mode & 0o7777)
    content = layer.bytes()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    config = document({
        "architecture": machine,
        "os": "linux",
        "config": {"Entrypoint": args.entry.split(), "User": args.user, "Env": [path]},
        "rootfs": {"type": "layers", "diff_ids": [digest(content)]},
    })

    def described(kind, body):
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest(body), "size": len(body)}

    manifest = document({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("config.v1+json", config),
        "layers": [described("layer.v1.tar", content)],
    })
    entry = described("manifest.v1+json", manifest)
    entry["annotations"] = {"io.containerd.image.name": args.name, "org.opencontainers.image.ref.name": args.name.rsplit(":", 1)[1]}
    index = document({"schemaVersion": 2, "manifests": [entry]})
    with tarfile.open(args.out, "w", format=tarfile.GNU_FORMAT) as out:
        members = [("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'), ("index.json", index)]
        members += [(f"blobs/{digest(body).replace(':', '/')}", body) for body in (config, manifest, content)]
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            out.addfile(info, io.BytesIO(body))


main()
