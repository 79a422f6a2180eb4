#!/usr/bin/env bash
# The images of the cluster itself, from what tests/kube/build.py has built. Usage: images.sh CACHE
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$1"
mkdir -p images
"$here/image.py" images/pause.tar docker.io/local/pause:1 --entry /pause bin/pause:/pause
"$here/image.py" images/coredns.tar docker.io/local/coredns:1 --entry "/coredns -conf /etc/coredns/Corefile" bin/coredns:/coredns
