"""Pictures of a history: effects and Qini over logical dates, and the fits of each run.

Each arm has a picture of its own, and each learner a strip of its own, so that no colour is needed
to tell them apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from flows.report.images import image_of
from metalearners._typing import Floats
from metalearners.plots.canvas import SMALL, dash, drawable, dress, tick
from metalearners.plots.styles import ARMS, INK, PALE, Style

_WIDTH, _LEFT, _RIGHT, _TOP, _GAP = 3.4, 0.72, 0.24, 0.1, 0.1  # inches; the gap between strips
_LINE = 0.16  # a line of labels below the axis
_APART = 0.38  # of the axis of time, between two labels
_FEW = 25  # runs whose marks have their full size


@dataclass(frozen=True)
class Marked:
    """A figure with its interval, and whether its run claims it."""

    value: float
    ends: tuple[float, float] | None
    claimed: bool


@dataclass(frozen=True)
class Series:
    """Figures of some runs, and where these lie on the axis of time."""

    at: Sequence[int]
    figures: Sequence[Marked]
    style: Style


@dataclass(frozen=True)
class Times:
    """An axis of time.

    Parameters
    ----------
    x : (n,) array
        Where the runs of a history lie.
    labels : list of str
        Their dates.
    room : float
        Least length of the axis before the first and after the last.
    marked : list of int
        The runs that have events.
    """

    x: Floats
    labels: Sequence[str]
    room: float = 1.0
    marked: Sequence[int] = ()

    @classmethod
    def by_date(cls, moments: Sequence[datetime], marked: Sequence[int] = ()) -> "Times":
        """Runs where their dates lie."""
        first = min(moments)
        x = np.array([(moment - first).total_seconds() for moment in moments])
        return cls(x, _texts(moments), marked=marked)

    @classmethod
    def by_run(cls, moments: Sequence[datetime]) -> "Times":
        """Runs side by side."""
        return cls(np.arange(len(moments), dtype=float), _texts(moments), room=0.6)

    @property
    def ends(self) -> tuple[float, float]:
        """Ends of the axis, with some room beside the runs."""
        first, last = float(self.x.min()), float(self.x.max())
        room = max(0.06 * (last - first), self.room)
        return first - room, last + room

    @property
    def labelled(self) -> list[int]:
        """Runs whose labels don't overlap: the first, the last, and one between them."""
        length = self.ends[1] - self.ends[0]
        first, last = self.x.min(), self.x.max()
        chosen: list[int] = []
        for place in (first, last, (first + last) / 2):
            k = int(np.abs(self.x - place).argmin())
            if all(abs(self.x[k] - self.x[j]) > _APART * length for j in chosen):
                chosen.append(k)
        return chosen


def _texts(moments: Sequence[datetime]) -> list[str]:
    """Days; with the times of day below them where days are shared."""
    days = {moment.date() for moment in moments}
    shared = len(days) < len(set(moments))
    return [f"{one:%Y-%m-%d}\n{one:%H:%M}" if shared else f"{one:%Y-%m-%d}" for one in moments]


def effects(series: Series, times: Times, outcome: str, label: str) -> Markup:
    """Average effects of an arm over time, with the intervals that decide what is claimed."""
    figure, (axes,) = _strips([""], times, 2.0)
    axes.set_ylabel(f"Effect on {drawable(outcome, 18)}")
    _draw(axes, series, times)
    about = f"Average effects of {label} with joint 95 % intervals"
    return image_of(figure, f"{about}: {_told(series, times)}.")


def qini(by_learner: Mapping[str, Series], times: Times, label: str) -> Markup:
    """Qini of each learner for an arm over time, with 1.96 standard errors on both sides."""
    several = len(by_learner) > 1
    names = list(by_learner) if several else [""]
    figure, strips = _strips(names, times, 0.95 if several else 2.0)
    for axes, series in zip(strips, by_learner.values(), strict=True):
        _draw(axes, series, times)
    strips[len(strips) // 2].set_ylabel("Qini" if several else f"Qini of {next(iter(by_learner))}")
    limits = np.array([axes.get_ylim() for axes in strips])
    bottom, top = limits.min(), limits.max()
    for axes in strips:  # one scale; with room for the learners' names
        axes.set_ylim(bottom, top + (0.2 * (top - bottom) if several else 0))
    told = "; ".join(f"{name}: {_told(series, times)}" for name, series in by_learner.items())
    return image_of(figure, f"Qini for {label}, with 1.96 standard errors on both sides. {told}.")


def fits(executed: Sequence[int], reused: Sequence[int], times: Times) -> Markup:
    """Bars of the fits of each run: those that were executed below, lighter those reused."""
    figure, (axes,) = _strips([""], times, 2.0)
    axes.set_ylabel("Fits")
    begin, end = times.ends
    width = 0.8 * 72 * (_WIDTH - _LEFT - _RIGHT) / max(end - begin, 2.0)  # points
    floor, below = np.zeros(len(executed)), np.array(executed, dtype=float)
    style: dict[str, Any] = {"color": ARMS[1].colour, "linewidth": width, "solid_capstyle": "butt"}
    _bars(axes, times.x, floor, below, **style)
    _bars(axes, times.x, below, below + reused, alpha=0.4, **style)
    axes.set_ylim(0, 1.08 * float((below + reused).max()) or 1)
    last = f"the last executed {executed[-1]:,} and reused {reused[-1]:,}"
    return image_of(figure, f"Fits of {len(executed)} runs, {_span(times.labels)}; {last}.")


def _strips(names: Sequence[str], times: Times, strip: float) -> tuple[Figure, list[Axes]]:
    """Axes one above another, a strip for each name, over the same axis of time."""
    bottom = 0.18 + _LINE * (1 + max(label.count("\n") for label in times.labels))
    height = bottom + _TOP + len(names) * strip + (len(names) - 1) * _GAP
    figure = Figure(figsize=(_WIDTH, height))
    across = 1 - (_LEFT + _RIGHT) / _WIDTH
    found = []
    for row, name in enumerate(names):
        base = bottom + (len(names) - 1 - row) * (strip + _GAP)
        axes = figure.add_axes((_LEFT / _WIDTH, base / height, across, strip / height))
        _prepare(axes, times)
        axes.yaxis.set_major_locator(MaxNLocator(5 if strip > 1 else 3, steps=[1, 2, 5, 10]))
        axes.set_title(name, fontsize=SMALL, color=INK, loc="right", y=1, pad=-SMALL)
        found.append(axes)
    for axes in found[:-1]:
        axes.tick_params(axis="x", length=0, labelbottom=False)
    return figure, found


def _prepare(axes: Axes, times: Times) -> None:
    dress(axes)
    axes.yaxis.set_major_formatter(FuncFormatter(tick))
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_xlim(times.ends)
    axes.set_xticks(times.x[times.labelled], [times.labels[k] for k in times.labelled])
    for place in times.x[list(times.marked)]:
        axes.axvline(place, color=INK, linewidth=0.7, linestyle=":", zorder=0)


def _draw(axes: Axes, series: Series, times: Times) -> None:
    """A mark with its interval for each run, filled where the run claims its figure."""
    x, colour = times.x[list(series.at)], series.style.colour
    many = len(times.x) > _FEW
    values = np.array([one.value for one in series.figures])
    axes.plot(x, values, color=colour, linewidth=0.8, alpha=0.55, linestyle=dash(series.style))
    known = [(place, *one.ends) for place, one in zip(x, series.figures, strict=True) if one.ends]
    faint: dict[str, Any] = {"linewidth": 0.7, "alpha": 0.6} if many else {"linewidth": 1.4}
    _bars(axes, *np.array(known).reshape(-1, 3).T, color=colour, **faint)
    claimed = np.array([one.claimed for one in series.figures], dtype=bool)
    for filled, which in ((True, claimed), (False, ~claimed)):
        axes.plot(
            x[which],
            values[which],
            series.style.marker,
            color=colour,
            markersize=2.4 if many else 5,
            markeredgewidth=0.6 if many else 1,
            mfc=colour if filled else "white",
        )
    bottom, top = axes.get_ylim()
    if bottom - (top - bottom) <= 0 <= top + (top - bottom):  # else figures would be squeezed
        axes.axhline(0, color=INK, linewidth=0.9, dashes=(4, 3))


def _bars(axes: Axes, x: Floats, low: Floats, high: Floats, **style: Any) -> None:
    """Upright lines: one path with gaps, as a path for each takes most of a picture's time."""
    gaps = np.full(len(x), np.nan)
    axes.plot(np.repeat(x, 3), np.column_stack([low, high, gaps]).ravel(), **style)


def _told(series: Series, times: Times) -> str:
    """The first and the last figure, for those who hear a picture."""
    if not series.figures:
        return "none"
    labels = [times.labels[k] for k in series.at]
    claims = sum(one.claimed for one in series.figures)
    first, last = (_spoken(series.figures[k]) for k in (0, -1))
    if len(labels) == 1:
        return f"{last} at {_span(labels)}"
    runs = f"{len(labels)} runs, {_span(labels)}"
    return f"{runs}, first {first}, last {last}; {claims} claimed"


def _spoken(one: Marked) -> str:
    interval = " ({:.3g} to {:.3g})".format(*one.ends) if one.ends else ""
    return f"{one.value:.3g}{interval}"


def _span(labels: Sequence[str]) -> str:
    first, last = (label.replace("\n", " ") for label in (labels[0], labels[-1]))
    return first if first == last else f"{first} to {last}"
