#!/usr/bin/env bash
# The images of the mesh, from what cargo has built, imported into the running cluster: istiod, the proxy (agent and stock
# Envoy) and a service of the shop. Usage: mesh-images.sh FOLDER-OF-PROGRAMS
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
programs=$(cd "$1" && pwd)
cache=$(cd "${KUBE_CACHE:-$here/../../../.cache/kube}" && pwd)
envoy=${ENVOY_BINARY:-$here/../../../.cache/envoy/envoy}
scratch=$cache/mesh-images
mkdir -p "$scratch"
image() { # image NAME ARGUMENTS...
  "$here/image.py" "$scratch/$1.tar" "docker.io/local/$1:test" --libraries --user 1337 "${@:2}"
  "$here/run" ctr --namespace k8s.io images import "$scratch/$1.tar"
  rm "$scratch/$1.tar"
}
image istiod --entry /usr/local/bin/istiod "$programs/istiod:/usr/local/bin/istiod"
image proxy --entry /usr/local/bin/pilot-agent "$programs/pilot-agent:/usr/local/bin/pilot-agent" "$envoy:/usr/local/bin/envoy"
image shop --entry /shop "$programs/shop:/shop"
