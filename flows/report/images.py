"""The way of a figure into a page.

Figures of reports don't use pyplot: threads would share its registry of open figures. Legends
belong to the page, where they wrap and can be read aloud.
"""

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure


def image_of(drawn: Figure | Axes, alt: str) -> Markup:
    """An ``<img>`` that holds the figure as SVG."""
    # An image, no inline SVG: so ids of one picture never clash with another's.
    figure = drawn.get_figure(root=True) if isinstance(drawn, Axes) else drawn
    assert figure is not None
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)  # type: ignore[no-untyped-call]
    content = base64.b64encode(buffer.getvalue()).decode()
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    source = Markup("data:image/svg+xml;base64,") + Markup(content)
    return Markup('<img src="{}" alt="{}" width="{}" height="{}">').format(
        source, escape(alt), width, height
    )


def pairs(names: Sequence[str], values: Iterable[Any]) -> str:
    """Names with their values, for those who hear a picture."""
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))
