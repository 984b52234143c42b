"""The way of a figure into a page, in the colours of a light and of a dark page.

Figures of reports don't use pyplot: threads would share its registry of open figures. Legends
belong to the page, where they wrap and can be read aloud.
"""

import base64
import colorsys
import io
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

PAPER, DARK_PAPER = "#ffffff", "#14181d"
_LEAST_CONTRAST = 4.5  # of a colour on paper: WCAG 2's for text, which marks needn't have
_GREY = 0.25  # saturation below which a colour is ink or paper


def image_of(drawn: Figure | Axes, alt: str) -> Markup:
    """An ``<img>`` that holds the figure as SVG."""
    # An image, no inline SVG: so ids of one picture never clash with another's.
    figure = drawn.get_figure(root=True) if isinstance(drawn, Axes) else drawn
    assert figure is not None
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)  # type: ignore[no-untyped-call]
    content = base64.b64encode(_for_both(buffer.getvalue()).encode()).decode()
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    source = Markup("data:image/svg+xml;base64,") + Markup(content)
    return Markup('<img src="{}" alt="{}" width="{}" height="{}">').format(
        source, escape(alt), width, height
    )


def pairs(names: Sequence[str], values: Iterable[Any]) -> str:
    """Names with their values, for those who hear a picture."""
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))


def _for_both(svg: str) -> str:
    """A picture whose colours depend on the reader's preference for light or dark."""
    colours = sorted(set(re.findall(r"(?<=: )#[0-9a-f]{6}\b", svg)))
    light, dark = (
        "".join(f"--c{colour[1:]}:{shown(colour)};" for colour in colours)
        for shown in (str, on_dark)
    )
    svg = re.sub(r"(?<=: )#([0-9a-f]{6})\b", r"var(--c\1)", svg)
    style = f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return svg.replace("</style>", f"{style}</style>", 1)


@cache
def on_dark(colour: str) -> str:
    """A colour as a dark page has it: greys change places, others are as light as it takes."""
    if colour == PAPER:
        return DARK_PAPER
    hue, lightness, saturation = colorsys.rgb_to_hls(*_channels(colour))
    if saturation < _GREY:
        return _colour(hue, 0.98 - 0.885 * lightness, saturation)
    while contrast(_colour(hue, lightness, saturation), DARK_PAPER) < _LEAST_CONTRAST:
        lightness += 0.01
    return _colour(hue, lightness, saturation)


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, from 1 to 21, as WCAG 2 defines it."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _channels(colour)
    ]
    return sum(part * c for part, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return red, green, blue


def _colour(hue: float, lightness: float, saturation: float) -> str:
    channels = colorsys.hls_to_rgb(hue, lightness, saturation)
    return "#" + "".join(f"{round(255 * c):02x}" for c in channels)
