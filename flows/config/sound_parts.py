"""What of a refused config can be judged all the same: the parts in which there was no mistake."""

from typing import Any

from pydantic import BaseModel

from flows.config.data import DataConfig
from flows.config.problems import nearest_of
from flows.config.reading import ConfigError, Problem, parse
from flows.config.sections import Config
from flows.errors import Faults

_ROUNDS = 3  # checks of a section as a whole are made once its values are right
_QUERY = ("sql", "url")
_SECTIONS = {
    name: field.annotation
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}


def sound_parts(refused: ConfigError) -> tuple[Config, Faults] | None:
    """A refused config without its mistakes, which are the faults; None if that leaves none."""
    if not isinstance(refused.content, dict):
        return None
    faults = Faults()
    content = {k: dict(v) if isinstance(v, dict) else v for k, v in refused.content.items()}
    for _ in range(_ROUNDS):
        for problem in refused.problems:
            _take_out(problem, content, faults)
        try:
            return parse(Config, content, refused.where), faults
        except ConfigError as error:
            refused = error
    return None


def _take_out(problem: Problem, content: dict[str, Any], faults: Faults) -> None:
    first, *others = problem.place
    section, within = _SECTIONS.get(first), content.get(first)
    if section is None or not others or not isinstance(within, dict):
        key, holder, at, known = first, content, "", list(Config.model_fields)
    else:
        key, holder, at, known = others[0], within, f"{first}.", list(section.model_fields)
    holder.pop(key, None)
    places = [key]
    if at == "data." and key in _QUERY:  # neither half says where the rows are
        places.append("source")
        for half in _QUERY:
            holder.pop(half, None)
    if problem.unknown_key and key not in known:
        close = nearest_of(key, known)  # what it may have been meant for isn't known then
        places = [name for name in ([close] if close else known) if name not in holder]
    faults.note(problem.line, *(f"{at}{place}" for place in places))
    _fill(content)


def _fill(content: dict[str, Any]) -> None:
    """Stand-ins for what a config can't be without; they are unknown, and so not looked at."""
    data = content.setdefault("data", {})
    for name, field in DataConfig.model_fields.items():
        if field.is_required() and not (name == "source" and data.get("url")):
            data.setdefault(name, f"({name})")
