"""Words for what is wrong with a config: what was expected, what was found."""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from flows.messages.limits import shown

# Tags of a value for all outcomes, and of one for each.
ONE, EACH = "(one)", "(each)"
# Names that pydantic gives to the forms of a value.
_FORMS = {
    "ParallelismConfig",
    "PromotionConfig",
    "TargetingConfig",
    "bool",
    "int",
    "float",
    "constrained-float",
    "str",
    ONE,
    EACH,
}
_FORM = re.compile(r"literal\['(auto|manual|none)'\]|(dict|function-after)\[.*\]|\[key\]")
_TYPES = {
    "string_type": "a text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a map",
    "invalid_key": "a text as key",
}


def explain(model: type[BaseModel], problems: Sequence[Any]) -> str:
    """A line about the problems of a place: where, what was expected, what was found."""
    first = problems[0]
    place = place_of(first)
    where = shown(".".join(place)) or "all of it"
    if first["type"] == "extra_forbidden":
        valid = _keys_at(model, place[:-1])
        return f"{where}: unknown key. {nearest(place[-1], valid)}Valid here: {', '.join(valid)}."
    if first["type"] == "missing":
        return f"{where}: expected a value, found none. Add the key."
    if first["type"] == "value_error":
        return f"{where}: {first['ctx']['error']}"
    found = shown(repr(first["input"]))
    expected = list(dict.fromkeys(_expected(model, problem) for problem in problems))
    hint = nearest(found.strip("'"), re.findall(r"'([^']+)'", " ".join(expected)))
    return f"{where}: expected {' or '.join(expected)}; found {found}. {hint}".rstrip()


def place_of(problem: Any) -> list[str]:
    """Keys on the way to a problem, without pydantic's names for the forms of a value."""
    loc = problem["loc"]
    if problem["type"] in ("extra_forbidden", "missing"):  # then the last is a key
        return [*(str(part) for part in loc[:-1] if not _is_form(part)), str(loc[-1])]
    return [str(part) for part in loc if not _is_form(part)]


def _is_form(part: Any) -> bool:
    return isinstance(part, str) and (part in _FORMS or _FORM.fullmatch(part) is not None)


def _expected(model: type[BaseModel], problem: Any) -> str:
    if problem["type"] in ("model_type", "model_attributes_type"):
        return f"a map with {', '.join(_keys_at(model, place_of(problem)))}"
    said = problem["msg"].removeprefix("Input should be ")
    said = f"a number {said}" if said.startswith(("greater", "less")) else said
    return _TYPES.get(problem["type"], said)


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    found: Any = model
    for key in location:
        field = getattr(found, "model_fields", {}).get(key)
        if field is None:  # a key of a map, whose values are sections
            continue
        models = (form for form in _forms(field.annotation) if issubclass(form, BaseModel))
        found = next(models, None)
    return list(found.model_fields) if found else []


def _forms(annotation: Any) -> Iterator[type]:
    """The classes in a type, such as those of a union, in order."""
    if isinstance(annotation, type):
        yield annotation
    for part in get_args(annotation):
        yield from _forms(part)


def nearest(word: str, valid: Iterable[str]) -> str:
    """A hint at the valid word that the user probably meant; empty if none is close."""
    close = nearest_of(word, valid)
    return f"Did you mean {close!r}? " if close else ""


def nearest_of(word: str, valid: Iterable[str]) -> str:
    """The valid word that the user probably meant; empty if none is close."""
    return next(iter(difflib.get_close_matches(shown(word), list(valid), n=1)), "")
