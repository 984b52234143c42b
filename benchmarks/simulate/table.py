"""The table of all designs: each figure beside its bound."""

from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.simulate.designs import DESIGNS
from benchmarks.simulate.figures import MEDIAN, SPREAD, Columns, Figure

Results = Mapping[str, Columns]
BEGIN, END = "<!-- simulations: begin -->", "<!-- simulations: end -->"


def lines(results: Results) -> list[str]:
    """The table in Markdown."""
    made = ["| design | draws | figures (bounds) | |", "|---|---|---|---|"]
    for name, draws, found in _found(results):
        shown = "; ".join(figure.shown(value) for figure, value in found.items())
        made.append(f"| {name} | {draws} | {shown} | {'pass' if _kept(found) else 'miss'} |")
    return made


def misses(results: Results) -> list[str]:
    """Designs with a figure beyond its bound."""
    return [name for name, _, found in _found(results) if not _kept(found)]


def written(text: str, table: list[str]) -> str:
    """A text with the table between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([before + BEGIN, "", *table, "", END]) + after


def _found(results: Results) -> Iterator[tuple[str, int, dict[Figure, float]]]:
    """Name, draws and figures of each design; at last of all randomised settings together."""
    for name, columns in results.items():
        found = {figure: figure.of(columns) for figure in DESIGNS[name].figures}
        yield name, len(next(iter(columns.values()))), found
    ratios = [SPREAD.of(d) for name, d in results.items() if SPREAD in DESIGNS[name].figures]
    if ratios:
        median = MEDIAN.of({"ratios": np.array(ratios)})
        yield "the median randomised setting", len(ratios), {MEDIAN: median}


def _kept(found: Mapping[Figure, float]) -> bool:
    return all(figure.keeps(value) for figure, value in found.items())
