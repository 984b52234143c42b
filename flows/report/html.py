"""Pages that need neither a network nor scripts, from templates that share styles and parts."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from flows.report.elements import number, share, spoken
from flows.report.images import on_dark


def render(template: str, content: Mapping[str, Any]) -> str:
    """A page as HTML, by the name of its template and what that shows."""
    return _environment().get_template(template).render(content)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    count = "{:,}".format
    environment.filters |= {"number": number, "share": share, "count": count, "spoken": spoken}
    environment.filters["on_dark"] = on_dark
    return environment
