"""What a hit costs with few objects and with many: Lakh alone, on one core.

    python3 benches/load/objects.py [--lakh PATH] [--seconds 5] [--objects 1000,1000000]

Each number of objects is filled through the edge, then asked for at random, each as often as any
other: the hardest order for a processor's caches. A server that takes more than one memory access
for a look-up shows it here.
"""

import argparse
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import origin
import servers
from measure import CONNECTIONS
from processes import Daemon
from run import pick_cores, temporary_directory

TURN_SECONDS = 10
MOST_TURNS = 60


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lakh", type=Path, default=servers.LAKH, metavar="PATH")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--objects", default="1000,1000000")
    arguments = parser.parse_args()
    counts = [int(count) for count in arguments.objects.split(",")]
    costs: dict[int, list[float]] = {count: [] for count in counts}

    server_core, load_core = pick_cores()
    os.sched_setaffinity(0, {load_core})
    with ExitStack() as stack:
        directory = temporary_directory(stack, None)
        origin_address, *addresses = servers.free_addresses(1 + 3 * len(counts))
        command = origin.command(origin_address, directory)
        daemon = stack.enter_context(Daemon("origin", command, load_core, directory / "origin.out"))
        daemon.wait_until(lambda: servers.accepts(origin_address), servers.START_SECONDS)
        edges = {}
        for count, listen, secure, admin in zip(counts, addresses[::3], addresses[1::3], addresses[2::3]):
            own = directory / str(count)
            own.mkdir()
            servers.make_certificate(own)
            bench = servers.Bench(own, own, origin_address, listen, secure, admin, "", server_core)
            edges[count] = (start(arguments.lakh, bench, stack), bench)
            all_in_turn(bench, count)  # fills them
            all_in_turn(bench, count)  # the first hit of each writes its head for all that follow
        for _ in range(arguments.rounds):
            for count, (edge, bench) in edges.items():
                costs[count].append(hit_cost(edge, bench, count, arguments.seconds))
        for count, (edge, _) in edges.items():
            print(f"{count:>9} objects: {median(costs[count]):6.2f} µs a hit, {edge.memory_mib():.0f} MiB")
    first, last = median(costs[counts[0]]), median(costs[counts[-1]])
    print(f"{counts[-1]} beside {counts[0]}: {last / first:.2f}")
    return 0


def start(lakh: Path, bench: servers.Bench, stack: ExitStack) -> Daemon:
    """With memory for all of them."""
    path = Path(bench.config("lakh.yaml", LOG="none", OTLP="null"))
    path.write_text(path.read_text().replace("256MiB", "6GiB"))
    server = servers.Server("lakh", "", lambda _: [str(lakh), "run", "--config", str(path)], has_readyz=True)
    return stack.enter_context(server.start(bench))


def all_in_turn(bench: servers.Bench, count: int) -> None:
    done = 0
    for _ in range(MOST_TURNS):
        done += load(bench, count, TURN_SECONDS if count > 10_000 else 1, "in turn", done)["requests"]
        if done >= count:
            return
    raise RuntimeError(f"only {done} of {count} objects were asked for")


def hit_cost(edge: Daemon, bench: servers.Bench, count: int, seconds: int) -> float:
    """CPU µs of a request, once all have been asked for."""
    load(bench, count, 1, "random", 0)
    before = edge.cpu_seconds()
    report = load(bench, count, seconds, "random", 0)
    return (edge.cpu_seconds() - before) * 1e6 / report["requests"]


def load(bench: servers.Bench, count: int, seconds: int, order: str, first: int) -> dict:
    script = str(servers.HERE / "objects.lua")
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "--script", script]
    environment = {**os.environ, "OBJECTS": str(count), "START": str(first % count), "ORDER": order}
    output = subprocess.run([*command, f"http://{bench.listen}"], env=environment, timeout=seconds + 30,
                            stdout=subprocess.PIPE, text=True, check=True).stdout
    report = json.loads(output.splitlines()[-1])
    errors = sum(report["errors"].values())
    if errors:
        raise RuntimeError(f"{errors} errors")
    return report


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    sys.exit(main())
