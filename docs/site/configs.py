"""The reference of configs, made from the classes that check them."""

import json
import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from flows.config.form import Section
from flows.config.sections import Config, PruneConfig
from flows.config.values import Label

WORDS = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    type(None): "null",
    Any: "anything",
}
BOUNDS = {Ge: "at least", Gt: "above", Le: "at most", Lt: "below"}


def config_page() -> str:
    """Return the page: every key of a config, its type, default and meaning."""
    lines = [
        "# Keys of a config",
        "",
        "Made from the classes that check configs. [The page on configs](../config.md) shows them",
        "in a file, and says which page explains which. `<name>` stands for any name. A label is",
        "a text, a number, or true or false, as in the data.",
        "",
    ]
    for key, field in Config.model_fields.items():
        lines += [f"## `{key}`", "", about(field), "", meaning(field), ""]
        lines += inner(key, field)
    lines += ["## Arguments of `cache-prune`", "", described(PruneConfig), ""]
    for key, field in PruneConfig.model_fields.items():
        lines += entries(key, field)
    return "\n".join(lines)


def inner(key: str, field: FieldInfo) -> Iterator[str]:
    """Lines of the keys of the section that a key holds."""
    for place, section in sections(field.annotation, key).items():
        for name, within in section.model_fields.items():
            yield from entries(f"{place}.{name}", within)


def entries(key: str, field: FieldInfo) -> Iterator[str]:
    """Lines of a key, and of the keys within it."""
    yield from [f"`{key}`", f": {about(field)}", "", f"  {meaning(field)}", ""]
    yield from inner(key, field)


def meaning(field: FieldInfo) -> str:
    """What a key is for."""
    words = field.description or described(*sections(field.annotation, "").values())
    return words if words.endswith((".", "}")) else f"{words}."


def about(field: FieldInfo) -> str:
    """The type of a key and its default."""
    bounds = [
        f"{BOUNDS[type(rule)]} {next(iter(vars_of(rule).values())):g}"
        for rule in field.metadata
        if type(rule) in BOUNDS
    ]
    kind = ", ".join([worded(field.annotation), *bounds])
    if field.is_required():
        return f"*{kind}*; required"
    return f"*{kind}*; default `{default(field)}`"


def vars_of(rule: Any) -> dict[str, Any]:
    """The values of a rule of a type, by name."""
    return {name: getattr(rule, name) for name in rule.__dataclass_fields__}


def default(field: FieldInfo) -> str:
    """The default as YAML on one line."""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Section):
        value = value.model_dump()
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def worded(kind: Any) -> str:
    """A type in words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return worded(parts[0])
    if origin is Literal:
        return either(f"`{part if part.strip() else json.dumps(part)}`" for part in parts)
    if origin in (Union, types.UnionType):
        words, label = list(map(worded, parts)), list(map(worded, get_args(Label)))
        if set(label) <= set(words):
            words = ["label", *(word for word in words if word not in label)]
        return either(words)
    if origin is list:
        return f"list of {worded(parts[0])}"
    if origin is dict:
        return f"map from {worded(parts[0])} to {worded(parts[1])}"
    return "section" if is_section(kind) else WORDS.get(kind, str(kind))


def either(words: Iterable[str]) -> str:
    """Words that stand for one another: a, b or c."""
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} or {last}" if first else last


def is_section(kind: Any) -> bool:
    """Whether a type is a section of a config."""
    return isinstance(kind, type) and issubclass(kind, Section)


def sections(kind: Any, key: str) -> dict[str, type[Section]]:
    """Sections within a type, by the key that leads to each."""
    if is_section(kind):
        return {key: kind}
    if get_origin(kind) is Literal:
        return {}
    deeper = f"{key}.<name>" if get_origin(kind) is dict else key
    return {
        place: section
        for part in get_args(kind)
        for place, section in sections(part, deeper).items()
    }


def described(section: type[Section]) -> str:
    """The first line of a section's docstring."""
    return (section.__doc__ or "").partition("\n")[0]
