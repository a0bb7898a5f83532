#!/usr/bin/env python3
"""What others notice of a flood: see README.md."""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from floods import FLOODS

HERE = Path(__file__).parent
CLIENTS, A_SECOND, SECONDS = 16, 100, 3
PERCENTILES = [50, 90, 99, 99.9]
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Origin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1024")
        self.send_header("Cache-Control", "max-age=3600")
        self.end_headers()
        self.wfile.write(b"x" * 1024)

    do_POST = do_GET

    def log_message(self, *_):
        pass


class Edge:
    """The edge in front of an origin of its own, with the object stored; ended by its id."""

    def __init__(self, binary: str):
        origin = ThreadingHTTPServer(("127.0.0.1", 0), Origin)
        threading.Thread(target=origin.serve_forever, daemon=True).start()
        self.port, admin = free_port(), free_port()
        ports = {"WEB": self.port, "ADMIN": admin, "ORIGIN": origin.server_port}
        environment = os.environ | {name: str(port) for name, port in ports.items()} | {"RUST_LOG": "error"}
        command = [binary, "run", "--config", str(HERE / "lakh.yaml")]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{self.port}/"

    def __enter__(self) -> "Edge":
        deadline = time.monotonic() + 10
        while subprocess.run(["curl", "-sf", "-o", "/dev/null", self.url]).returncode != 0:
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit("the edge does not answer")
            time.sleep(0.05)
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait()

    def cpu_seconds(self) -> float:
        # Fields are counted from behind the command, which may hold spaces: proc(5).
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def free_port() -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), Origin) as server:
        return server.server_port


def waits(edge: Edge) -> list[float]:
    """Of each request of the sixteen, in milliseconds, in order."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        load = ["--h1", "-t1", f"-c{CLIENTS}", f"-D{SECONDS}", f"--rps={A_SECOND}", f"--log-file={log}"]
        subprocess.run(["h2load", *load, edge.url], check=True, stdout=subprocess.DEVNULL)
        # Its start, its status, how long it took, in microseconds.
        lines = [line.split("\t") for line in log.read_text().splitlines()]
    if any(status != "200" for _, status, _ in lines):
        sys.exit("a request failed")
    return sorted(int(took) / 1000 for _, _, took in lines)


def percentile(sorted_values: list[float], percent: float) -> float:
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * percent / 100))]


def beside(edge: Edge, name: str) -> tuple[list[float], float]:
    command = [sys.executable, str(HERE / "floods.py"), str(edge.port), name, str(SECONDS + 1)]
    flood = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    before = edge.cpu_seconds()
    try:
        return waits(edge), edge.cpu_seconds() - before
    finally:
        flood.wait()


def row(name: str, waited: list[float], alone: float, cpu: float) -> None:
    shown = " ".join(f"{percentile(waited, p):8.2f}" for p in PERCENTILES)
    print(f"{name:20} {shown} {percentile(waited, 99) / alone:8.1f} {cpu:8.2f}", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", metavar="NAME,...", help=f"of spin, {', '.join(FLOODS)}")
    arguments.add_argument("--lakh", metavar="PATH", default="target/release/lakh")
    chosen = arguments.parse_args()
    names = chosen.only.split(",") if chosen.only else ["spin", *FLOODS]
    if unknown := [name for name in names if name != "spin" and name not in FLOODS]:
        sys.exit(f"no flood is named {', '.join(unknown)}; there are spin, {', '.join(FLOODS)}")
    print(f"{'ms':20}", *(f"{f'p{p}':>8}" for p in PERCENTILES), f"{'p99 ×':>8} {'CPU s':>8}")
    with Edge(chosen.lakh) as edge:
        before = edge.cpu_seconds()
        waited = waits(edge)
        alone = percentile(waited, 99)
        row("alone", waited, alone, edge.cpu_seconds() - before)
        for name in names:
            waited, cpu = beside(edge, name)
            row(name, waited, alone, cpu)
        before = edge.cpu_seconds()
        row("alone", waits(edge), alone, edge.cpu_seconds() - before)


if __name__ == "__main__":
    main()
