"""What the pictures of reports have in common: styles, axes, marks, and the way into a page.

Figures don't use pyplot: threads would share its registry of open figures. Text from data passes
through `drawable`. Legends belong to the page, where they wrap and can be read aloud.
"""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import FuncFormatter, MaxNLocator

from metalearners.evaluation.means import Estimate
from metalearners.registry import REGISTRY


@dataclass(frozen=True)
class Style:
    """How an arm or a learner is drawn, in every picture: never by its colour alone."""

    colour: str
    marker: str = "o"
    dash: str = ""


# Okabe and Ito's palette, without the colours that are faint on white; grey is the control.
ARMS = [
    Style("#6b7280", "o"),
    Style("#0072b2", "o"),
    Style("#d55e00", "s"),
    Style("#009e73", "^"),
    Style("#aa4499", "D"),
    Style("#b07d00", "v"),
    Style("#56b4e9", "P"),
    Style("#332288", "X"),
]
# Markers and dashes of candidates, which no learner has.
_CANDIDATES = [("p", "3 1"), ("h", "1 1"), ("*", "5 1 1 1"), ("<", "2 4"), (">", "10 1")]
INK, FAINT, PALE = "#1f2933", "#6b7280", "#d9dde3"
SMALL = 8.5


def arm_style(code: int) -> Style:
    """How the arm of a code is drawn; 0 is the control."""
    return ARMS[code] if code < len(ARMS) else ARMS[1 + (code - 1) % (len(ARMS) - 1)]


def learner_style(name: str, candidates: Sequence[str] = ()) -> Style:
    """How a learner is drawn where several share a picture, or one of these candidates."""
    if name not in REGISTRY:
        at = candidates.index(name)
        arm, pattern = ARMS[1 + at % (len(ARMS) - 1)], _CANDIDATES[at % len(_CANDIDATES)]
        return Style(arm.colour, *pattern)
    entry = REGISTRY[name]
    return Style(entry.colour, entry.marker, entry.dash)


def learner_styles(names: Iterable[str]) -> dict[str, Style]:
    """How the learners and candidates of a picture are drawn."""
    named = list(names)
    candidates = [name for name in named if name not in REGISTRY]
    return {name: learner_style(name, candidates) for name in named}


def image_of(figure: Figure, alt: str) -> Markup:
    """An ``<img>`` that holds the figure as SVG."""
    # An image, no inline SVG: so ids of one picture never clash with another's.
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)  # type: ignore[no-untyped-call]
    content = base64.b64encode(buffer.getvalue()).decode()
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    source = Markup("data:image/svg+xml;base64,") + Markup(content)
    return Markup('<img src="{}" alt="{}" width="{}" height="{}">').format(
        source, escape(alt), width, height
    )


def panel(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """One of several small pictures side by side."""
    figure, axes = _axes(3.4, 2.6, left=0.72)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(tick))
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    return figure, axes


def bars(
    labels: Sequence[str], x_label: str, unit: float = 0.34, width: float = 4.3, most: int = 20
) -> tuple[Figure, Axes]:
    """A row of `unit` inches for each label, which has at most `most` characters."""
    shown = [drawable(label, most) for label in labels]
    left = 0.2 + 0.078 * max(map(len, shown), default=0)
    figure, axes = _axes(width, 0.75 + unit * max(len(labels), 2), left)
    axes.set_xlabel(x_label)
    axes.set_yticks(np.arange(len(labels)), shown)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    return figure, axes


def _axes(width: float, height: float, left: float) -> tuple[Figure, Axes]:
    """Axes with fixed margins in inches, as measuring texts would take time."""
    figure = Figure(figsize=(width, height))
    bottom, right, top = 0.5, 0.24, 0.1
    size = (width - left - right) / width, (height - bottom - top) / height
    axes = figure.add_axes((left / width, bottom / height, *size))
    dress(axes)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(tick))
    return figure, axes


def dress(axes: Axes) -> None:
    """Give axes the lines and letters of every picture."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(labelsize=SMALL, color=FAINT, labelcolor=INK, length=3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(size=SMALL + 0.5, color=INK)
    axes.set_axisbelow(True)


def interval(
    axes: Axes, found: Estimate, at: float, style: Style, raw: bool = False, upright: bool = False
) -> None:
    """A marker with its interval; hollow and grey for a raw figure."""
    colour = FAINT if raw else style.colour
    ends, both = [found.ci_low, found.ci_high], [at, at]
    x, y = (both, ends) if upright else (ends, both)
    axes.plot(x, y, color=colour, linewidth=1.4)
    point = (at, found.estimate) if upright else (found.estimate, at)
    axes.plot(*point, style.marker, color=colour, markersize=5, mfc="white" if raw else colour)


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


def pairs(names: Sequence[str], values: Iterable[Any]) -> str:
    """Names with their values, for those who hear a picture."""
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))
