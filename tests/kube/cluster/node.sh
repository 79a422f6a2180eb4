#!/usr/bin/env bash
# The first process inside the cluster's namespaces: mounts, network, then the parts of Kubernetes, one after another.
# NODE: everything that it writes. BIN, IMAGES: what tests/kube/build.py made. HERE: this folder.
set -uo pipefail
cd "$NODE"
export PATH=$BIN:$PATH KUBECONFIG=$NODE/pki/admin.conf KUBECACHEDIR=$NODE/kubectl

failed() {
  echo "failed: $*"
  touch failed
  exit 1
}

mounts() {
  mkdir -p state/{kubelet,containerd,cni,plugins}
  hostname node1
  mount -t proc proc /proc
  mount --bind "$NODE/log" /var/log
  mkdir -p /var/log/pods /var/log/containers /var/lib/kubelet /var/lib/containerd /etc/cni/net.d
  mount -t tmpfs tmpfs /run
  mkdir -p /run/containerd /run/netns
  mount --make-rshared /
  for folder in kubelet containerd; do
    mount --bind "$NODE/state/$folder" "/var/lib/$folder"
    mount --make-rshared "/var/lib/$folder"
  done
  mount --bind "$NODE/state/cni" /etc/cni/net.d
  # Settings of the whole machine that a kubelet would write: it writes copies.
  for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 \
    kernel/keys/root_maxbytes=25000000; do
    copy=$NODE/state/$(tr / _ <<<"${setting%=*}")
    echo "${setting#*=}" >"$copy"
    mount --bind "$copy" "/proc/sys/${setting%=*}"
  done
}

network() {
  ip link set lo up
  # One end of a pair stands for the node's card: a `dummy` device is not there on every kernel.
  ip link add node0 type veth peer name node0peer
  ip link set node0peer up
  ip address add 172.30.0.1/24 dev node0
  ip link set node0 up
  ip route add default dev node0
  echo 1 >/proc/sys/net/ipv4/ip_forward
  echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
  echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
  cat >/etc/cni/net.d/10-bridge.conflist <<'JSON'
{"cniVersion": "1.0.0", "name": "node", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": {
    "type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cni-ipam"}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
}

settings() {
  : >resolv.conf
  cat >containerd.toml <<'TOML'
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/local/pause:1"
  # Without CAP_SYS_RESOURCE runc could not set the score of a pod, and would die.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
TOML
  cat >kubelet.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
enforceNodeAllocatable: []
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: $NODE/resolv.conf
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $NODE/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $NODE/pki/kubelet.crt
tlsPrivateKeyFile: $NODE/pki/kubelet.key
failSwapOn: false
evictionHard: {memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%", nodefs.inodesFree: "1%"}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
nodeStatusUpdateFrequency: 5s
serializeImagePulls: false
volumePluginDir: $NODE/state/plugins
YAML
  cat >proxy.yaml <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: 10.244.0.0/16
clientConnection: {kubeconfig: $NODE/pki/proxy.conf}
hostnameOverride: node1
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
iptables: {minSyncPeriod: 0s, syncPeriod: 30s}
YAML
}

start() { # start NAME PROGRAM ARGUMENTS...
  "${@:2}" >"log/$1.log" 2>&1 &
  echo $! >"$1.pid"
}

control_plane() {
  start etcd etcd --data-dir=state/etcd --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
    --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 --initial-cluster=default=http://127.0.0.1:2380 \
    --unsafe-no-fsync
  start containerd containerd --config containerd.toml
  start apiserver hyperkube kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 --advertise-address=172.30.0.1 \
    --secure-port=6443 --service-cluster-ip-range=10.96.0.0/16 --authorization-mode=Node,RBAC --allow-privileged=true \
    --enable-admission-plugins=NodeRestriction --client-ca-file=pki/ca.crt --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=pki/sa.pub --service-account-signing-key-file=pki/sa.key \
    --kubelet-client-certificate=pki/apiserver-kubelet-client.crt --kubelet-client-key=pki/apiserver-kubelet-client.key \
    --kubelet-certificate-authority=pki/ca.crt --kubelet-preferred-address-types=InternalIP \
    --requestheader-client-ca-file=pki/front-proxy-ca.crt --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file=pki/front-proxy-client.crt --proxy-client-key-file=pki/front-proxy-client.key
  # Meanwhile: the images.
  (
    for _ in $(seq 200); do ctr --address /run/containerd/containerd.sock version >/dev/null 2>&1 && break; sleep 0.1; done
    for image in "$IMAGES"/*.tar; do ctr --address /run/containerd/containerd.sock --namespace k8s.io images import "$image"; done
  ) >log/images.log 2>&1 &
  local images=$!
  for attempt in $(seq 600); do
    [ "$(kubectl get --raw /readyz 2>/dev/null)" = ok ] && break
    kill -0 "$(cat apiserver.pid)" || failed "the API server: $(tail -3 log/apiserver.log)"
    [ "$attempt" = 600 ] && failed "the API server is not ready"
    sleep 0.1
  done
  # As the administrator: no accounts for single controllers.
  start controller-manager hyperkube kube-controller-manager --kubeconfig=pki/admin.conf --leader-elect=false --bind-address=127.0.0.1 \
    --authentication-kubeconfig=pki/admin.conf --authorization-kubeconfig=pki/admin.conf --root-ca-file=pki/ca.crt \
    --service-account-private-key-file=pki/sa.key --cluster-signing-cert-file=pki/ca.crt --cluster-signing-key-file=pki/ca.key \
    --kube-api-qps=500 --kube-api-burst=1000 --concurrent-namespace-syncs=20 --node-monitor-period=2s --node-monitor-grace-period=20s
  start scheduler hyperkube kube-scheduler --kubeconfig=pki/scheduler.conf --authentication-kubeconfig=pki/scheduler.conf \
    --authorization-kubeconfig=pki/scheduler.conf --leader-elect=false --bind-address=127.0.0.1
  wait "$images"
}

node() {
  start kubelet hyperkube kubelet --config=kubelet.yaml --kubeconfig=pki/kubelet.conf --hostname-override=node1 --node-ip=172.30.0.1
  start proxy hyperkube kube-proxy --config=proxy.yaml
  kubectl apply -f "$HERE/coredns.yaml" >log/coredns.log 2>&1 || failed "CoreDNS: $(cat log/coredns.log)"
  for attempt in $(seq 600); do
    kubectl get node node1 2>/dev/null | grep -qw Ready && break
    kill -0 "$(cat kubelet.pid)" || failed "the kubelet: $(grep -E '^E' log/kubelet.log | tail -3)"
    [ "$attempt" = 600 ] && failed "the node is not ready"
    sleep 0.1
  done
  kubectl --namespace kube-system rollout status deployment/coredns --timeout=120s || failed "CoreDNS is not ready"
}

mounts
network
settings
control_plane
node
touch ready
trap : TERM
while :; do
  sleep 3600 &
  wait $!
done
