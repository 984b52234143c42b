"""Small log-log panels, with a name at the end of each curve."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

COLUMNS = 3
# Curves differ in marker and dash too, so that nobody needs to tell colours apart.
STYLES = {
    "library": {"color": "#0b4f8a", "marker": "o", "linewidth": 2},
    "loop": {"color": "#c2571a", "marker": "s", "markerfacecolor": "white", "linestyle": "-."},
    "fits": {"color": "#555555", "marker": "^", "markersize": 5, "linestyle": ":"},
    "proportional": {"color": "#767676", "linestyle": "--", "linewidth": 1},
}
NAMES = {"va": "center", "fontsize": 9}
APART = 0.08  # of the height, between names


@dataclass(frozen=True)
class Panel:
    """Curves of one factor: by name of `STYLES`, what was measured at each value."""

    factor: str
    curves: Mapping[str, Mapping[int, float]]


def draw(panels: Sequence[Panel], ylabel: str, file: Path) -> None:
    """Draw panels side by side, on the same vertical axis."""
    n_rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(9.6, 2.9 * n_rows), layout="constrained")
    grid = figure.subplots(n_rows, COLUMNS, sharey=True, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw_curves(axes, panel)
        axes.set_ylabel(ylabel)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _name_curves(axes, panel)  # once all panels have set the limits
    figure.savefig(file, dpi=120)


def _draw_curves(axes: Axes, panel: Panel) -> None:
    for name, points in _lines(panel):
        axes.plot([x for x, _ in points], [y for _, y in points], **STYLES[name])
    _scale(axes, list(panel.curves["library"]))
    axes.set_xlabel(panel.factor)
    axes.spines[["top", "right"]].set_visible(False)


def _lines(panel: Panel) -> Iterator[tuple[str, list[tuple[int, float]]]]:
    """Points of each curve that was measured at two values or more."""
    for name, curve in panel.curves.items():
        points = [(x, y) for x, y in curve.items() if isfinite(y)]
        if len(points) > 1:
            yield name, points


def _scale(axes: Axes, values: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(values, [f"{n // 1000}k" if n > 1999 else str(n) for n in values])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.tick_params(labelleft=True)


def _name_curves(axes: Axes, panel: Panel) -> None:
    """Write each curve's name right of its last point, at least so far from the next name."""
    last = {name: points[-1] for name, points in _lines(panel)}
    to_height = axes.transScale + axes.transLimits
    heights = {name: to_height.transform(point)[1] for name, point in last.items()}
    for name, height in spread(heights, APART).items():
        axes.text(
            1.04, height, name, transform=axes.transAxes, **NAMES, color=STYLES[name]["color"]
        )


def spread(heights: Mapping[str, float], apart: float) -> dict[str, float]:
    """Heights that are apart: each is moved up from the one below, then all to the same mean."""
    found: dict[str, float] = {}
    for name, height in sorted(heights.items(), key=lambda one: one[1]):
        found[name] = max([height, *(own + apart for own in found.values())])
    moved = mean(found.values()) - mean(heights.values())
    return {name: height - moved for name, height in found.items()}
