"""The whole-process benchmark: Lakh beside nginx, HAProxy, Varnish and bare pingora-proxy.

`make bench` calls it; README.md beside it says what the columns mean. The server under test has
one core for itself, wrk and the static origin share another, and only one server runs at a time.
"""

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from datetime import datetime, timezone
from http.client import HTTPException
from pathlib import Path

import chart
import origin
import report
import servers
from collector import collecting
from measure import CASES, CONNECTIONS, Case, Run, measure
from processes import Daemon

OUTPUT = servers.REPOSITORY / "target/bench"


def main() -> int:
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that children stop
    missing = [tool for tool in ("wrk", "taskset", "openssl") if not shutil.which(tool)]
    if missing:
        print(f"cannot measure without {' and '.join(missing)}")
        return 2
    found, skipped = servers.find(arguments.only, arguments.lakh)
    for name, reason in skipped.items():
        print(f"{name}: {reason}, skipped")

    runs = measure_all(found, arguments)
    summary = report.summarise(runs)
    ratios = report.ratios(summary)
    report.print_report(summary, ratios, runs)
    write_files(found, skipped, arguments, summary, ratios, runs)
    return 1 if any(run.problems for run in runs) else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5, help="length of a measurement (default 5)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default 3)")
    parser.add_argument("--only", type=server_names, default=list(servers.FINDERS), metavar="NAME,...",
                        help=f"of {', '.join(servers.FINDERS)}")
    parser.add_argument("--cases", type=cases_named, default=CASES, metavar="NAME,...",
                        help=f"of {', '.join(case.name for case in CASES)}")
    parser.add_argument("--lakh", type=Path, default=servers.LAKH, metavar="PATH",
                        help="the binary (default target/release/lakh)")
    arguments = parser.parse_args()
    if arguments.seconds < 1 or arguments.rounds < 1:
        parser.error("--seconds and --rounds are at least 1")
    return arguments


def server_names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in servers.FINDERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; of {', '.join(servers.FINDERS)}")
    return names


def cases_named(text: str) -> list[Case]:
    known = {case.name: case for case in CASES}
    unknown = [name for name in text.split(",") if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; of {', '.join(known)}")
    return [known[name] for name in text.split(",")]


def measure_all(found: list[servers.Server], arguments: argparse.Namespace) -> list[Run]:
    """Round robin over the servers, so that a drift of the machine meets all of them alike."""
    server_core, load_core = pick_cores()
    os.sched_setaffinity(0, {load_core})
    runs = []
    with ExitStack() as stack:
        directory = temporary_directory(stack, None)
        memory = temporary_directory(stack, "/dev/shm" if os.path.isdir("/dev/shm") else None)
        origin_address, listen, secure, admin = servers.free_addresses(4)
        host, port = stack.enter_context(collecting()).server_address
        bench = servers.Bench(
            directory, memory, origin_address, listen, secure, admin, f"{host}:{port}", server_core
        )
        servers.make_certificate(directory)
        command = origin.command(origin_address, directory)
        daemon = stack.enter_context(Daemon("origin", command, load_core, directory / "origin.out"))
        if not daemon.wait_until(lambda: servers.accepts(origin_address), servers.START_SECONDS):
            raise RuntimeError("the origin does not accept connections")
        counter = origin.RequestCounter(origin_address)
        for number in range(1, arguments.rounds + 1):
            for server in found:
                print(f"round {number} of {arguments.rounds}: {server.name}", flush=True)
                runs += measure_server(server, number, bench, counter, arguments)
    return runs


def measure_server(server: servers.Server, number: int, bench: servers.Bench,
                   counter: origin.RequestCounter, arguments: argparse.Namespace) -> list[Run]:
    """All cases of one server, freshly started; its failure spoils its own runs only."""
    cases = [case for case in arguments.cases if server.can(case)]
    runs = [Run(case.name, server.name, number) for case in cases]
    done = 0
    try:
        with server.start(bench) as daemon:
            for run, case in zip(runs, cases):
                measure(run, case, daemon, bench, counter, arguments.seconds)
                done += 1
    except (OSError, RuntimeError, HTTPException, subprocess.SubprocessError) as error:
        for run in runs[done:]:
            run.problems.append(f"{type(error).__name__}: {error}")
    return runs


def pick_cores() -> tuple[int, int]:
    """(the server's core, that of wrk and the origin)"""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        print("one core only: wrk and the origin share it with the server; only CPU per request counts")
    return cores[0], cores[-1]


def temporary_directory(stack: ExitStack, parent: str | None) -> Path:
    path = stack.enter_context(
        tempfile.TemporaryDirectory(prefix="lakh-bench-", dir=parent, ignore_cleanup_errors=True)
    )
    return Path(path)


def write_files(found: list[servers.Server], skipped: dict[str, str], arguments: argparse.Namespace,
                summary: report.Summary, ratios: list[report.Ratio], runs: list[Run]) -> None:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    about = {
        "measured_at": now,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "seconds": arguments.seconds,
        "rounds": arguments.rounds,
        "connections": CONNECTIONS,
        "versions": {server.name: server.version for server in found},
        "skipped": skipped,
    }
    OUTPUT.mkdir(parents=True, exist_ok=True)
    report.write_json(OUTPUT / "load.json", about, summary, ratios, runs)
    subtitle = (f"one core, {CONNECTIONS} connections, HTTP/1.1, "
                f"median of {arguments.rounds} × {arguments.seconds} s, {now[:10]}")
    chart.write_svg(OUTPUT / "load.svg", summary, subtitle)
    print(f"\nwritten: {OUTPUT / 'load.json'}, {OUTPUT / 'load.svg'}")


if __name__ == "__main__":
    sys.exit(main())
