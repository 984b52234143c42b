"""The table of all designs: each figure beside its bound."""

from collections.abc import Iterator, Mapping
from itertools import groupby

import numpy as np

from benchmarks.simulate.designs import DESIGNS
from benchmarks.simulate.figures import MEDIAN, SPREAD, Columns, Figure

Results = Mapping[str, Columns]
BEGIN, END = "<!-- simulations: begin -->", "<!-- simulations: end -->"
MEDIAN_OF = "the median randomised setting"
_MANY = 3


def lines(results: Results, before: str = "") -> list[str]:
    """The table in Markdown; designs without results keep their lines in the table before."""
    made = {name: _line(name, draws, found) for name, draws, found in _found(results)}
    kept = {line[2:].partition(" | ")[0]: line for line in before.splitlines() if line[:2] == "| "}
    every = {**kept, **made}
    order = [name for name in (*DESIGNS, MEDIAN_OF) if name in every]
    head = ["| design | draws | figures (bounds) | |", "|---|---|---|---|"]
    return head + [every[name] for name in order]


def _line(name: str, draws: int, found: Mapping[Figure, float]) -> str:
    shown = "; ".join(_shown(found))
    return f"| {name} | {draws} | {shown} | {'pass' if _kept(found) else 'miss'} |"


def _shown(found: Mapping[Figure, float]) -> Iterator[str]:
    """Each figure with its bounds; many in a row that share them have them once."""
    for _, group in groupby(found, key=lambda figure: (figure.least, figure.most)):
        own = list(group)
        if len(own) < _MANY:
            yield from (figure.shown(found[figure]) for figure in own)
        else:
            each = ", ".join(figure.valued(found[figure]) for figure in own)
            yield f"{each}{own[0].bounds(' each')}"


def misses(results: Results) -> list[str]:
    """Designs with a figure beyond its bound."""
    return [name for name, _, found in _found(results) if not _kept(found)]


def written(text: str, table: list[str]) -> str:
    """A text with the table between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([before + BEGIN, "", *table, "", END]) + after


def between(text: str) -> str:
    """The table of a text, which stands between its markers."""
    return text.partition(BEGIN)[2].partition(END)[0]


def _found(results: Results) -> Iterator[tuple[str, int, dict[Figure, float]]]:
    """Name, draws and figures of each design; at last of all randomised settings together."""
    for name, columns in results.items():
        found = {figure: figure.of(columns) for figure in DESIGNS[name].figures}
        yield name, len(next(iter(columns.values()))), found
    ratios = [SPREAD.of(d) for name, d in results.items() if SPREAD in DESIGNS[name].figures]
    if ratios:
        median = MEDIAN.of({"ratios": np.array(ratios)})
        yield MEDIAN_OF, len(ratios), {MEDIAN: median}


def _kept(found: Mapping[Figure, float]) -> bool:
    return all(figure.keeps(value) for figure, value in found.items())
