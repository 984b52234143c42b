"""The config of a run: its sections, their checks, and its form as YAML.

Names are imported when they are first asked for: most commands that print need none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.config.reading import load_config, parse_config
    from flows.config.sections import Config

__all__ = ["Config", "load_config", "parse_config"]

_MODULES = {"Config": "sections", "load_config": "reading", "parse_config": "reading"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
