"""The table of all designs: each figure beside its bound."""

from collections.abc import Mapping
from statistics import median

from benchmarks.simulate.designs import DESIGNS
from benchmarks.simulate.figures import SPREAD, Columns, Figure

Results = Mapping[str, Columns]
BEGIN, END = "<!-- simulations: begin -->", "<!-- simulations: end -->"
MEDIAN = Figure("sd over raw", lambda d: 0.0, most=0.85)


def lines(results: Results) -> list[str]:
    """The table in Markdown."""
    made = ["| design | draws | figures (bounds) | |", "|---|---|---|---|"]
    for name, draws, figures in _all(results):
        shown = "; ".join(figure.shown(value) for figure, value in figures)
        kept = all(figure.keeps(value) for figure, value in figures)
        made.append(f"| {name} | {draws} | {shown} | {'pass' if kept else 'MISS'} |")
    return made


def misses(results: Results) -> list[str]:
    """Designs with a figure beyond its bound."""
    return [name for name, _, figures in _all(results) if not all(f.keeps(v) for f, v in figures)]


def written(text: str, table: list[str]) -> str:
    """A text with the table between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([before + BEGIN, "", *table, "", END]) + after


def _all(results: Results) -> list[tuple[str, int, list[tuple[Figure, float]]]]:
    """Name, draws and figures of each design, and of the median one of the declared."""
    made = []
    ratios: dict[str, float] = {}
    for name, found in results.items():
        own = [(figure, figure.of(found)) for figure in DESIGNS[name].figures]
        ratios |= {name: value for figure, value in own if figure is SPREAD}
        made.append((name, len(next(iter(found.values()))), own))
    if ratios:
        made.append(
            ("the median of the randomised", len(ratios), [(MEDIAN, median(ratios.values()))])
        )
    return made
