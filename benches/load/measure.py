"""One measurement: check the answers, warm up, load with wrk, read the costs."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from origin import BODIES, HERE, RequestCounter, fetch
from processes import Daemon, core_times
from servers import Bench

CONNECTIONS = 64
WARM_UP_SECONDS = 1
WRK_GRACE_SECONDS = 30
CHECKED_REQUESTS = 5


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    path: str
    is_hit: bool
    is_secure: bool = False
    # A connection for each request: what is measured is mostly its handshake.
    closes: bool = False

    @property
    def body(self) -> bytes:
        return BODIES[self.path.removeprefix("/cached")]


CASES = [
    Case("proxied_1k", "proxied 1 KiB", "/1k", is_hit=False),
    Case("hit_1k", "hit 1 KiB", "/cached/1k", is_hit=True),
    Case("hit_64k", "hit 64 KiB", "/cached/64k", is_hit=True),
    Case("tls_hit_1k", "TLS hit 1 KiB", "/cached/1k", is_hit=True, is_secure=True),
    Case("tls_hit_64k", "TLS hit 64 KiB", "/cached/64k", is_hit=True, is_secure=True),
    Case("tls_handshake", "handshake", "/cached/1k", is_hit=True, is_secure=True, closes=True),
]


@dataclass
class Run:
    """What one server did in one case of one round. It counts only when `problems` is empty."""

    case: str
    server: str
    round: int
    cpu_us_per_request: float = 0.0
    requests_per_second: float = 0.0
    p99_ms: float = 0.0
    memory_mib: float = 0.0
    errors: int = 0
    server_share_of_core: float = 0.0
    idle_share_of_core: float = 0.0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Reading:
    """The counters that a measurement is the difference of."""

    clock: float
    cpu_seconds: float
    core_idle: int
    core_total: int
    origin_requests: int

    @classmethod
    def take(cls, daemon: Daemon, bench: Bench, counter: RequestCounter) -> "_Reading":
        seen = counter.read()
        return cls(time.monotonic(), daemon.cpu_seconds(), *core_times(bench.core), seen)


def measure(run: Run, case: Case, daemon: Daemon, bench: Bench, counter: RequestCounter,
            seconds: int) -> None:
    """Fills `run` in; whatever makes it worthless goes to its problems."""
    address = bench.secure if case.is_secure else bench.listen
    run.problems += _check_answers(case, address, counter)
    if run.problems:
        return

    def read_memory() -> None:
        run.memory_mib = daemon.memory_mib()

    _load(case, address, WARM_UP_SECONDS)
    before = _Reading.take(daemon, bench, counter)
    wrk = _load(case, address, seconds, halfway=read_memory)
    after = _Reading.take(daemon, bench, counter)

    cpu_seconds = after.cpu_seconds - before.cpu_seconds
    core_ticks = max(after.core_total - before.core_total, 1)
    run.cpu_us_per_request = cpu_seconds * 1e6 / max(wrk["requests"], 1)
    run.requests_per_second = wrk["requests"] / (wrk["microseconds"] / 1e6)
    run.p99_ms = wrk["p99"] / 1000
    run.errors = sum(wrk["errors"].values())
    run.server_share_of_core = cpu_seconds / (after.clock - before.clock)
    run.idle_share_of_core = (after.core_idle - before.core_idle) / core_ticks
    run.problems += _check_load(case, wrk, after.origin_requests - before.origin_requests)


def _check_answers(case: Case, address: str, counter: RequestCounter) -> list[str]:
    """Status, body, and who answers: the origin for proxied requests, only the cache for hits."""
    if case.is_hit:
        fetch(address, case.path, case.is_secure)
    seen = counter.read()
    for _ in range(CHECKED_REQUESTS):
        status, body = fetch(address, case.path, case.is_secure)
        if status != 200 or body != case.body:
            return [f"wrong answer: status {status}, {len(body)} bytes"]
    seen = counter.read() - seen
    expected = 0 if case.is_hit else CHECKED_REQUESTS
    if seen != expected:
        return [f"the origin saw {seen} of {CHECKED_REQUESTS} requests, expected {expected}"]
    return []


def _check_load(case: Case, wrk: dict, seen: int) -> list[str]:
    requests = wrk["requests"]
    problems = [f"{count} {kind} errors" for kind, count in wrk["errors"].items() if count]
    if requests == 0:
        problems.append("no request was answered")
    if wrk["bytes"] < requests * len(case.body):
        problems.append(f"short answers: {wrk['bytes']} bytes for {requests} requests")
    if case.is_hit and seen > 0:
        problems.append(f"not all hits: the origin saw {seen} requests")
    if not case.is_hit and seen < requests:
        problems.append(f"not all proxied: the origin saw {seen} of {requests} requests")
    return problems


def _load(case: Case, address: str, seconds: int, halfway: Callable[[], None] = lambda: None) -> dict:
    """wrk's report, as wrk.lua writes it; `halfway` is called while the connections are open."""
    load = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "--script", str(HERE / "wrk.lua")]
    if case.closes:
        load += ["--header", "Connection: close"]
    scheme = "https" if case.is_secure else "http"
    wrk = subprocess.Popen(["wrk", *load, f"{scheme}://{address}{case.path}"], stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(seconds / 2)
        halfway()
        output, _ = wrk.communicate(timeout=seconds + WRK_GRACE_SECONDS)
    finally:
        wrk.kill()
        wrk.wait()
    if wrk.returncode != 0:
        raise RuntimeError(f"wrk exited with {wrk.returncode}")
    return json.loads(output.splitlines()[-1])
