"""The plot: CPU per request as horizontal bars, one panel per case, in hand-made SVG."""

from pathlib import Path
from xml.sax.saxutils import escape

from measure import CASES
from report import Summary

WIDTH = 760
LABELS = 120
VALUES = 90
BAR = 22
GAP = 8
PANEL_HEAD = 52
TITLE = 64
LAKH, PEER, TEXT, FAINT = "#c2410c", "#94a3b8", "#0f172a", "#64748b"


def write_svg(path: Path, summary: Summary, subtitle: str) -> None:
    parts, y = [], TITLE
    for case in CASES:
        costs = {
            name: figures.cpu_us_per_request
            for name, figures in summary.get(case.name, {}).items()
            if figures
        }
        if costs:
            parts += _panel(case.title, costs, y)
            y += PANEL_HEAD + len(costs) * (BAR + GAP)
    height = y + 24
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="14">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(24, 34, "CPU per request, microseconds (shorter is better)", size=18, weight="bold"),
        _text(24, 56, subtitle, fill=FAINT, size=12),
    ]
    path.write_text("\n".join([*head, *parts, "</svg>\n"]))


def _panel(title: str, costs: dict[str, float], top: int) -> list[str]:
    parts = [_text(24, top + 36, title, weight="bold")]
    scale = (WIDTH - LABELS - VALUES) / max(costs.values())
    y = top + PANEL_HEAD
    for name, cost in sorted(costs.items(), key=lambda item: item[1]):
        width = cost * scale
        colour = LAKH if name.startswith("lakh") else PEER
        parts += [
            _text(LABELS - 10, y + 16, name, anchor="end"),
            f'<rect x="{LABELS}" y="{y}" width="{width:.1f}" height="{BAR}" rx="3" fill="{colour}"/>',
            _text(LABELS + width + 8, y + 16, f"{cost:.1f}"),
        ]
        y += BAR + GAP
    return parts


def _text(x: float, y: float, text: str, fill: str = TEXT, size: int = 14, weight: str = "normal",
          anchor: str = "start") -> str:
    return (f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size}" font-weight="{weight}" '
            f'text-anchor="{anchor}">{escape(text)}</text>')
