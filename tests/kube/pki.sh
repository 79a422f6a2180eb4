#!/usr/bin/env bash
# The certificates of a Kubernetes for the tests, and a kubeconfig for each who needs one.
# Usage: pki.sh FOLDER SERVER-URL [further addresses of the API server]
set -euo pipefail
folder=$1 server=$2
shift 2
mkdir -p "$folder"
cd "$folder"
[ -f done ] && exit 0

names="DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:10.96.0.1"
node="DNS:node1,IP:127.0.0.1"
for address in "$@"; do
  names+=",IP:$address" node+=",IP:$address"
done

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

authority() { # authority FILE COMMON-NAME
  key "$1"
  openssl req -x509 -new -key "$1.key" -days 3650 -subj "/CN=$2" -out "$1.crt" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"
}

leaf() { # leaf FILE AUTHORITY SUBJECT EXTENDED-KEY-USAGE [ALTERNATIVE-NAMES]
  key "$1"
  openssl req -new -key "$1.key" -subj "$3" -out "$1.csr"
  { echo "basicConstraints=CA:FALSE"
    echo "keyUsage=digitalSignature,keyEncipherment"
    echo "extendedKeyUsage=$4"
    if [ -n "${5:-}" ]; then echo "subjectAltName=$5"; fi; } > "$1.extensions"
  openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 3650 -extfile "$1.extensions" -out "$1.crt" 2>/dev/null
  rm "$1.csr" "$1.extensions"
}

kubeconfig() { # kubeconfig NAME
  cat > "$1.conf" <<CONFIG
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "$server", certificate-authority-data: $(base64 -w0 < ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 < "$1.crt"), client-key-data: $(base64 -w0 < "$1.key")}}]
contexts: [{name: test, context: {cluster: test, user: $1}}]
current-context: test
CONFIG
}

authority ca kubernetes
authority front-proxy-ca front-proxy-ca
leaf apiserver ca "/CN=kube-apiserver" serverAuth "$names"
leaf front-proxy-client front-proxy-ca "/CN=front-proxy-client" clientAuth
leaf apiserver-kubelet-client ca "/O=system:masters/CN=kube-apiserver-kubelet-client" clientAuth
leaf admin ca "/O=system:masters/CN=admin" clientAuth
leaf controller-manager ca "/CN=system:kube-controller-manager" clientAuth
leaf scheduler ca "/CN=system:kube-scheduler" clientAuth
leaf proxy ca "/CN=system:kube-proxy" clientAuth
leaf kubelet ca "/O=system:nodes/CN=system:node:node1" clientAuth,serverAuth "$node"
for name in admin controller-manager scheduler proxy kubelet; do kubeconfig "$name"; done
# What signs the tokens of service accounts.
openssl genrsa -out sa.key 2048 2>/dev/null
openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
touch done
