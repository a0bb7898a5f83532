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
BODY = 1024
PERCENTILES = [50, 90, 99, 99.9]
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Origin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(BODY))
        self.send_header("Cache-Control", "max-age=3600")
        self.end_headers()
        self.wfile.write(b"x" * BODY)

    do_POST = do_GET

    def log_message(self, *_):
        pass


class Server:
    """A process that answers at a port of its own; ended by its id."""

    def __init__(self, command: list[str], port: int, environment: dict[str, str]):
        self.command, self.url, self.port = command, f"http://127.0.0.1:{port}/", port
        self.process = subprocess.Popen(
            command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> "Server":
        deadline = time.monotonic() + 10
        while subprocess.run(["curl", "-sf", "-o", "/dev/null", self.url]).returncode != 0:
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit(f"{self.command[0]} does not answer")
            time.sleep(0.05)
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait()

    def cpu_seconds(self) -> float:
        # Fields are counted from behind the command, which may hold spaces: proc(5).
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def lakh(binary: str) -> Server:
    """In front of an origin of its own, with the object stored."""
    origin = ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    web = free_port()
    ports = {"WEB": web, "ADMIN": free_port(), "ORIGIN": origin.server_port}
    environment = {name: str(port) for name, port in ports.items()} | {"RUST_LOG": "error"}
    return Server([binary, "run", "--config", str(HERE / "lakh.yaml")], web, environment)


def haproxy() -> Server:
    web = free_port()
    environment = {"WEB": str(web), "BODY": "x" * BODY}
    return Server(["haproxy", "-db", "-f", str(HERE / "haproxy.cfg")], web, environment)


def free_port() -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), Origin) as server:
        return server.server_port


def waits(server: Server) -> list[float]:
    """Of each request of the sixteen, in milliseconds, in order."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        load = ["--h1", "-t1", f"-c{CLIENTS}", f"-D{SECONDS}", f"--rps={A_SECOND}", f"--log-file={log}"]
        subprocess.run(["h2load", *load, server.url], check=True, stdout=subprocess.DEVNULL)
        # Its start, its status, how long it took, in microseconds.
        lines = [line.split("\t") for line in log.read_text().splitlines()]
    if any(status != "200" for _, status, _ in lines):
        sys.exit("a request failed")
    return sorted(int(took) / 1000 for _, _, took in lines)


def percentile(sorted_values: list[float], percent: float) -> float:
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * percent / 100))]


def beside(server: Server, name: str) -> tuple[list[float], float]:
    command = [sys.executable, str(HERE / "floods.py"), str(server.port), name, str(SECONDS + 1)]
    flood = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    try:
        return measured(server)
    finally:
        flood.wait()


def measured(server: Server) -> tuple[list[float], float]:
    """What its clients waited, and what it spent meanwhile."""
    before = server.cpu_seconds()
    return waits(server), server.cpu_seconds() - before


def row(name: str, waited: list[float], alone: float, cpu: float) -> None:
    shown = " ".join(f"{percentile(waited, p):8.2f}" for p in PERCENTILES)
    print(f"{name:20} {shown} {percentile(waited, 99) / alone:8.1f} {cpu:8.2f}", flush=True)


def table(title: str, server: Server, names: list[str]) -> None:
    print(f"{title:20}", *(f"{f'p{p}':>8}" for p in PERCENTILES), f"{'p99 ×':>8} {'CPU s':>8}")
    with server:
        waited, cpu = measured(server)
        alone = percentile(waited, 99)
        row("alone", waited, alone, cpu)
        for name in names:
            waited, cpu = beside(server, name)
            row(name, waited, alone, cpu)
        waited, cpu = measured(server)
        row("alone", waited, alone, cpu)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", metavar="NAME,...", help=f"of spin, {', '.join(FLOODS)}")
    arguments.add_argument("--lakh", metavar="PATH", default="target/release/lakh")
    arguments.add_argument("--beside", action="store_true", help="the same of HAProxy before")
    chosen = arguments.parse_args()
    names = chosen.only.split(",") if chosen.only else ["spin", *FLOODS]
    if unknown := [name for name in names if name != "spin" and name not in FLOODS]:
        sys.exit(f"no flood is named {', '.join(unknown)}; there are spin, {', '.join(FLOODS)}")
    if chosen.beside:
        table("haproxy, ms", haproxy(), names)
    table("lakh, ms", lakh(chosen.lakh), names)


if __name__ == "__main__":
    main()
