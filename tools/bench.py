#!/usr/bin/env python3
"""Measures a release build of istiod under ads-load: first configuration, changes, restart. See docs/performance.md.

Usage: tools/bench.py [--services N] [--endpoints N] [--streams N] [--namespaces N] [--changes N]
                      [--virtual-service-changes N] [--protocols delta,sotw] [--binaries FOLDER]

Everything happens in a temporary folder and on free ports of the loopback address; whatever was started is ended.
Fails if a proxy did not get what it asked for, or a change, in time.
"""

import argparse
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Istiod:
    """A running istiod."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.pid_file, self.restart_request = folder / "istiod.pid", folder / "restart"
        grpc, http = free_ports(2)
        self.grpc, self.http = f"127.0.0.1:{grpc}", f"127.0.0.1:{http}"
        self.start()
        threading.Thread(target=self.restart_when_asked, daemon=True).start()

    def start(self):
        with open(self.folder / "istiod.log", "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "discovery", "--configDir", self.folder / "objects", "--grpcAddr", self.grpc,
                 "--httpAddr", self.http, "--monitoringAddr=", "--secureGRPCAddr=", "--httpsAddr="],
                stdout=log, stderr=log)
        self.pid_file.write_text(str(self.process.pid))
        while True:
            try:
                urllib.request.urlopen(f"http://{self.http}/ready", timeout=5).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError("istiod has ended:\n" + (self.folder / "istiod.log").read_text()) from None
                time.sleep(0.02)

    def restart_command(self):
        """For a shell: asks for a restart and waits until it is done. The counters of istiod end with it."""
        return f"touch {self.restart_request}; while test -e {self.restart_request}; do sleep 0.02; done"

    def restart_when_asked(self):
        while True:
            time.sleep(0.02)
            if self.restart_request.exists():
                try:
                    self.print_counters("before the restart")
                    self.close()
                    self.start()
                finally:
                    # Without an istiod, ads-load says so itself.
                    self.restart_request.unlink()

    def print_counters(self, when):
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        counters = [line.removeprefix("istiod_").replace("_total", "") for line in lines
                    if line.startswith("istiod_") and "_total " in line]
        print(f"counters of istiod {when}: " + ", ".join(counters), flush=True)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run(arguments, protocol):
    """One run; whether everything came."""
    binaries = pathlib.Path(arguments.binaries)
    with tempfile.TemporaryDirectory(prefix="istiod-bench-") as temporary:
        folder = pathlib.Path(temporary)
        objects = ["--config-dir", folder / "objects", "--services", str(arguments.services),
                   "--endpoints", str(arguments.endpoints), "--namespaces", str(arguments.namespaces)]
        subprocess.run([binaries / "ads-load", *objects, "--write-only"], check=True, stdout=subprocess.DEVNULL)
        istiod = Istiod(binaries / "istiod", folder)
        try:
            command = [binaries / "ads-load", *objects, "--ads", istiod.grpc, "--protocol", protocol,
                       "--streams", str(arguments.streams), "--changes", str(arguments.changes),
                       "--virtual-service-changes", str(arguments.virtual_service_changes),
                       "--pid-file", istiod.pid_file]
            if protocol == "delta":
                # State-of-the-world has no way to say what a proxy holds: everything would be sent again.
                command += ["--reconnect", "--restart-command", istiod.restart_command()]
            print(f"\n{protocol}: {arguments.services} services × {arguments.endpoints} endpoints", flush=True)
            complete = subprocess.run(command, check=False).returncode == 0
            istiod.print_counters("at the end")
        finally:
            istiod.close()
    return complete


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--namespaces", type=int, default=10)
    parser.add_argument("--changes", type=int, default=50)
    parser.add_argument("--virtual-service-changes", type=int, default=10)
    parser.add_argument("--protocols", default="delta,sotw")
    parser.add_argument("--binaries", default="target/release")
    arguments = parser.parse_args()
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    print(f"{os.cpu_count()} cores, load of the machine before: {load}")
    results = [run(arguments, protocol) for protocol in arguments.protocols.split(",")]
    sys.exit(0 if all(results) else "bench: something did not come in time")


if __name__ == "__main__":
    main()
