"""From runs to figures: medians, ratios, the printed tables and the JSON file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from measure import CASES, Run
from servers import TELLING

UNSATURATED_IDLE = 0.05
SHARED_CORE = 0.10


@dataclass(frozen=True)
class Figures:
    """Over the valid runs of one server in one case: medians, and how far the CPU per request spread.

    Errors are summed over all runs.
    """

    cpu_us_per_request: float
    cpu_us_lowest: float
    cpu_us_highest: float
    requests_per_second: float
    p99_ms: float
    memory_mib: float
    server_share_of_core: float
    idle_share_of_core: float
    errors: int
    valid_runs: int
    runs: int


@dataclass(frozen=True)
class Ratio:
    """Lakh's CPU per request over a peer's: below 1 Lakh is cheaper. With itself as the peer: what telling costs."""

    case: str
    peer: str
    ratio: float


Summary = dict[str, dict[str, Figures | None]]


def summarise(runs: list[Run]) -> Summary:
    """Case → server → figures, or None where no run was valid."""
    summary: Summary = {}
    for case in CASES:
        of_case = [run for run in runs if run.case == case.name]
        names = dict.fromkeys(run.server for run in of_case)
        if names:
            summary[case.name] = {
                name: _figures([run for run in of_case if run.server == name]) for name in names
            }
    return summary


def _figures(runs: list[Run]) -> Figures | None:
    valid = [run for run in runs if not run.problems]
    if not valid:
        return None
    costs = [run.cpu_us_per_request for run in valid]
    return Figures(
        cpu_us_per_request=median(costs),
        cpu_us_lowest=min(costs),
        cpu_us_highest=max(costs),
        requests_per_second=median(run.requests_per_second for run in valid),
        p99_ms=median(run.p99_ms for run in valid),
        memory_mib=median(run.memory_mib for run in valid),
        server_share_of_core=median(run.server_share_of_core for run in valid),
        idle_share_of_core=median(run.idle_share_of_core for run in valid),
        errors=sum(run.errors for run in runs),
        valid_runs=len(valid),
        runs=len(runs),
    )


def ratios(summary: Summary) -> list[Ratio]:
    """Hits against the best peer, proxied against bare pingora-proxy and nginx."""
    found = []
    for case in CASES:
        costs = {
            name: figures.cpu_us_per_request
            for name, figures in summary.get(case.name, {}).items()
            if figures
        }
        lakh, telling = costs.pop("lakh", None), costs.pop(TELLING, None)
        if lakh and telling:
            found.append(Ratio(case.name, TELLING, telling / lakh))
        if lakh is None or not costs:
            continue
        peers = [min(costs, key=costs.get)] if case.is_hit else ["bare-proxy", "nginx"]
        found += [Ratio(case.name, peer, lakh / costs[peer]) for peer in peers if peer in costs]
    return found


def print_report(summary: Summary, found: list[Ratio], runs: list[Run]) -> None:
    for case in CASES:
        if case.name in summary:
            _print_case(case.title, summary[case.name])
    print("\nLakh's CPU per request over its peer's (below 1: Lakh is cheaper)")
    for ratio in found:
        title = next(case.title for case in CASES if case.name == ratio.case)
        if ratio.peer == TELLING:
            print(f"  {title:<14} {ratio.ratio:5.2f} × of itself, with a log and traces")
            continue
        best = "" if ratio.case.startswith("proxied") else "the best peer, "
        print(f"  {title:<14} {ratio.ratio:5.2f} × {best}{ratio.peer}")
    if not found:
        print("  none: Lakh and a peer have to be measured in the same run")
    for run in runs:
        for problem in run.problems:
            print(f"INVALID: {run.case}, {run.server}, round {run.round}: {problem}")


def _print_case(title: str, servers: dict[str, Figures | None]) -> None:
    print(f"\n{title:<14}{'CPU µs/req':>11}{'low–high':>14}{'req/s':>10}{'p99 ms':>9}{'MiB':>8}{'errors':>8}"
          f"{'server %':>10}{'idle %':>8}")
    for name, figures in servers.items():
        if figures is None:
            print(f"  {name:<12}{'no valid run':>22}")
            continue
        spread = f"{figures.cpu_us_lowest:.1f}–{figures.cpu_us_highest:.1f}"
        print(f"  {name:<12}{figures.cpu_us_per_request:>11.2f}{spread:>14}{figures.requests_per_second:>10.0f}"
              f"{figures.p99_ms:>9.2f}{figures.memory_mib:>8.1f}{figures.errors:>8}"
              f"{figures.server_share_of_core * 100:>10.0f}{figures.idle_share_of_core * 100:>8.0f}"
              f"{_note(figures)}")


def _note(figures: Figures) -> str:
    """Why requests/s and p99 may say little; the CPU per request stands in both cases."""
    others = 1 - figures.idle_share_of_core - figures.server_share_of_core
    if figures.idle_share_of_core > UNSATURATED_IDLE:
        return "  its core was not saturated: wrk or the origin was the limit"
    if others > SHARED_CORE:
        return "  its core was shared with other work"
    return ""


def write_json(path: Path, about: dict, summary: Summary, found: list[Ratio], runs: list[Run]) -> None:
    figures = {
        case: {name: asdict(each) if each else None for name, each in servers.items()}
        for case, servers in summary.items()
    }
    document = {
        **about,
        "figures": figures,
        "ratios": [asdict(ratio) for ratio in found],
        "runs": [asdict(run) for run in runs],
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
