"""What all pictures have in common: axes, marks, numbers at ticks, and letters that can be drawn.

Text from data passes through `drawable`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from metalearners._typing import Floats
from metalearners.evaluation.means import Estimate
from metalearners.plots.styles import FAINT, INK, PALE, Style, arm_style, learner_styles

Where = Axes | Figure | None
"""Where a picture is drawn: on axes, in an empty figure, or in a new one of pyplot's.

A figure gets the size that suits the picture. Threads share pyplot's registry of open figures; so
threads pass figures.
"""

Styles = Mapping[str, Style] | None
SMALL = 8.5
_WIDEST = 12  # times the shortest interval of a picture


def panel(where: Where, x_label: str, y_label: str) -> Axes:
    """Axes of a small picture."""
    axes = _axes(where, 3.4, 2.6, left=0.72)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(tick))
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    return axes


def bars(
    where: Where,
    labels: Sequence[str],
    x_label: str,
    unit: float = 0.34,
    width: float = 4.3,
    most: int = 20,
) -> Axes:
    """Axes with a row of `unit` inches for each label, which has at most `most` characters."""
    shown = [drawable(label, most) for label in labels]
    left = 0.2 + 0.078 * max(map(len, shown), default=0)
    axes = _axes(where, width, 0.75 + unit * max(len(labels), 2), left)
    axes.set_xlabel(x_label)
    axes.set_yticks(np.arange(len(labels)), shown)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    return axes


def _axes(where: Where, width: float, height: float, left: float) -> Axes:
    """Those given, or new ones with margins in inches, as measuring texts would take time."""
    axes = where if isinstance(where, Axes) else _placed(where, width, height, left)
    dress(axes)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(tick))
    return axes


def _placed(figure: Figure | None, width: float, height: float, left: float) -> Axes:
    if figure is None:
        from matplotlib import pyplot  # it is global state, which threads of a run don't touch

        figure = pyplot.figure()
    figure.set_size_inches(width, height)
    bottom, right, top = 0.5, 0.24, 0.1
    size = (width - left - right) / width, (height - bottom - top) / height
    return figure.add_axes((left / width, bottom / height, *size))


def dress(axes: Axes) -> None:
    """Give axes the lines and letters of every picture."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(labelsize=SMALL, color=FAINT, labelcolor=INK, length=3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(size=SMALL + 0.5, color=INK)
    axes.set_axisbelow(True)


def zero(axes: Axes, value: float = 0.0, upright: bool = True) -> None:
    """A faint line where there is no effect."""
    (axes.axvline if upright else axes.axhline)(value, color=FAINT, linewidth=0.8)


def interval(
    axes: Axes, found: Estimate, at: float, style: Style, raw: bool = False, upright: bool = False
) -> None:
    """A marker with its interval; hollow and grey for a raw figure."""
    colour = FAINT if raw else style.colour
    ends, both = [found.ci_low, found.ci_high], [at, at]
    x, y = (both, ends) if upright else (ends, both)
    axes.plot(x, y, color=colour, linewidth=1.4)
    point = (at, found.estimate) if upright else (found.estimate, at)
    size = 8 if style.marker == "*" else 5  # a star fills little of its square
    axes.plot(*point, style.marker, color=colour, markersize=size, mfc="white" if raw else colour)


def ends_beyond(axes: Axes, ends: tuple[float, float], at: float, style: Style) -> None:
    """A thin line with ends of its own, for an interval behind a marker's usual one."""
    axes.plot(ends, (at, at), color=style.colour, linewidth=0.7, marker="|", markersize=6)


def limit(axes: Axes, found: Iterable[Estimate], upright: bool = False) -> None:
    """Leave room for intervals, but not for one that is far wider than others: it is cut off."""
    ends = np.array([[one.ci_low, one.ci_high] for one in found], dtype=float).reshape(-1, 2)
    lengths = ends[:, 1] - ends[:, 0]
    shortest = lengths.min(initial=np.inf, where=lengths > 0)  # a difference to itself has none
    usual = ends[lengths <= _WIDEST * shortest]
    if len(usual) == len(ends):
        return
    low, high = min(0.0, usual.min()), max(0.0, usual.max())
    room = 0.08 * (high - low)
    (axes.set_ylim if upright else axes.set_xlim)(low - room, high + room)


def line(style: Style) -> dict[str, Any]:
    """A style as matplotlib has that of a curve."""
    return {"color": style.colour, "linewidth": 1.6, "linestyle": dash(style)}


def band(axes: Axes, x: Floats, low: Floats, high: Floats, style: Style) -> None:
    """What a curve's band holds."""
    axes.fill_between(x, low, high, color=style.colour, alpha=0.16, linewidth=0)


def dash(style: Style) -> Any:
    """A style's dashes, as matplotlib has them."""
    return (0, [float(part) for part in style.dash.split()]) if style.dash else "-"


def tick(value: float, position: int | None = None) -> str:
    """A number at a tick."""
    return f"{round(value, 12) + 0.0:,.10g}" if abs(value) < 1e5 else f"{value:.4g}"


def drawable(text: str, most: int) -> str:
    """A label that can be drawn: one line, not too long, no formula, no missing glyph."""
    line = " ".join(text.split())
    # The middle is cut: names of columns often begin alike, and differ at the end.
    tail = most // 3
    short = line if len(line) <= most else f"{line[: most - tail - 1]}…{line[-tail:]}"
    font = get_font(findfont("DejaVu Sans"))
    signs = (c if font.get_char_index(ord(c)) else "\N{WHITE SQUARE}" for c in short)
    return "".join(signs).replace("$", r"\$")


def by_name(shown: Any) -> Mapping[str, Any]:
    """What is drawn, by name; a single one has no name."""
    return shown if isinstance(shown, Mapping) else {"": shown}


def styles_of(names: Iterable[str], styles: Styles) -> dict[str, Style]:
    """How each is drawn: as asked for, as a learner, or as an arm where there is only one."""
    named = list(names)
    if styles is not None:
        return {name: styles[name] for name in named}
    return learner_styles(named) if len(named) > 1 else dict.fromkeys(named, arm_style(1))


def legend(axes: Axes, styles: Mapping[str, Style], shown: bool) -> None:
    """Names with their lines and marks, where there are several."""
    if not shown or len(styles) < 2:
        return
    marks = [
        Line2D([], [], label=drawable(name, 24), marker=style.marker, **line(style))
        for name, style in styles.items()
    ]
    axes.legend(handles=marks, fontsize=SMALL, frameon=False)
