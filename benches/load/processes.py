"""Processes pinned to a core: started, looked at through /proc, and always stopped.

Everything here goes by process id; nothing is ever found or ended by name.
"""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 10


class Daemon:
    """A server running in the foreground as our child, on one core, its output in a log file."""

    def __init__(self, name: str, command: list[str], core: int, log: Path):
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["taskset", "--cpu-list", str(core), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches us alone; we stop the children in order.
                start_new_session=True,
            )

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def wait_until(self, ready, seconds: float) -> bool:
        """Whether `ready()` came true in time; an exit of the process is an error."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} exited with {self._process.returncode}: {self._log_tail()}")
            if ready():
                return True
            time.sleep(0.02)
        return False

    def cpu_seconds(self) -> float:
        """User + system time so far, of the whole process tree."""
        return sum(process.cpu_seconds for process in self._tree())

    def memory_mib(self) -> float:
        """Memory of the whole process tree, shared pages counted once."""
        return sum(_memory_kib(process.pid) for process in self._tree()) / 1024

    def stop(self) -> None:
        tree = self._tree()
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        running = _all_processes()
        for process in tree:
            # The start time tells an orphan of ours from a later process with its id.
            if process.pid in running and running[process.pid].started == process.started:
                _kill(process.pid)

    def _tree(self) -> list["_Process"]:
        processes = _all_processes()
        tree = [processes[self._process.pid]] if self._process.pid in processes else []
        for parent in tree:  # grows while it is walked: children follow their parents
            tree.extend(child for child in processes.values() if child.parent == parent.pid)
        return tree

    def _log_tail(self) -> str:
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-5:]) or "(empty log)"


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    started: int
    cpu_seconds: float


def _all_processes() -> dict[int, _Process]:
    found = (_process(int(entry)) for entry in os.listdir("/proc") if entry.isdigit())
    return {process.pid: process for process in found if process}


def _process(pid: int) -> _Process | None:
    """proc(5), `stat`: times are of the whole thread group, dead threads included."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # Fields are counted from behind the command, which may hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    state, parent, utime, stime, started = fields[0], fields[1], fields[11], fields[12], fields[19]
    if state == "Z":
        return None
    return _Process(pid, int(parent), int(started), (int(utime) + int(stime)) / TICKS_PER_SECOND)


def _memory_kib(pid: int) -> int:
    """PSS; RSS where PSS may not be read."""
    for source, field in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            lines = Path(f"/proc/{pid}/{source}").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(field):
                return int(line.split()[1])
    return 0


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        pass


def core_times(core: int) -> tuple[int, int]:
    """(idle, total) ticks of a core since boot, whoever used it; proc(5), `/proc/stat`."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            ticks = [int(field) for field in fields[:8]]
            return ticks[3] + ticks[4], sum(ticks)
    raise RuntimeError(f"/proc/stat does not list core {core}")
