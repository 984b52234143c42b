"""Reads and writes YAML: plain values only, each as it is written."""

import re
from collections.abc import Hashable
from math import isinf
from typing import Any

import yaml

from flows.errors import InputError
from flows.messages.limits import (
    MOST_LEVELS,
    MOST_VALUES,
    TooLargeError,
    check_digits,
    check_size,
    shown,
    too_many,
)

# YAML 1.1 reads 1e-3 as a text and 2020-01-01 as a date; people mean a number and a text.
_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_SCIENTIFIC = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
_DATE = "tag:yaml.org,2002:timestamp"
_RESOLVERS = {
    first: [*(rule for rule in rules if rule[0] != _DATE), (_FLOAT, _SCIENTIFIC)]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def to_yaml(value: Any, **style: Any) -> str:
    """A plain value as YAML, which `read_yaml` reads as the same value."""
    return str(yaml.dump(value, Dumper=_Dumper, allow_unicode=True, **style))


class _Dumper(yaml.SafeDumper):
    """Writes what the loader reads."""

    yaml_implicit_resolvers = _RESOLVERS

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # Else PyYAML breaks the line at a line end, and loses those of Unicode.
        style = '"' if {"\n", "\x85", "\u2028", "\u2029"} & set(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)


class _Loader(yaml.SafeLoader):
    """A safe loader of bounded values that keeps numbers as written and refuses equal keys.

    PyYAML's loader repeats an alias as often as a text says, which a few lines can make very often,
    reads a number such as 1e400 as infinity, and keeps the last of equal keys.
    """

    yaml_implicit_resolvers = _RESOLVERS

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._levels = self._values = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        before, is_alias = self._values, self.check_event(yaml.AliasEvent)
        self._levels += 1
        if self._levels > MOST_LEVELS:
            raise TooLargeError(too_many("levels"))
        node = super().compose_node(parent, index)  # type: ignore[no-untyped-call]
        self._levels -= 1
        # An alias inside its own value has no size yet.
        self._values += self._sizes.get(id(node), 1) if is_alias else 1
        if self._values > MOST_VALUES:
            raise TooLargeError(too_many("values"))
        self._sizes.setdefault(id(node), self._values - before)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)  # type: ignore[no-untyped-call]
        except (LookupError, AttributeError):  # so PyYAML refuses `!!bool maybe`
            problem = f"no value of the tag {shown(node.tag)}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if not isinstance(key, Hashable):
                break  # refused below
            if key in seen:
                mark = key_node.start_mark
                problem = f"key {shown(repr(key))} twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        check_digits(node.value, f"line {node.start_mark.line + 1}")
        if node.tag == _INT:
            return int(self.construct_yaml_int(node))
        number = float(self.construct_yaml_float(node))
        digits = re.sub(r"[eE].*", "", node.value)
        if (isinf(number) or not number) and re.search("[1-9]", digits):
            problem = f"a number beyond what floats can hold, {node.value}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return number


def read_yaml(text: str, where: str) -> Any:
    """The plain values in a text of YAML; an InputError that names the place where it is none."""
    try:
        value = yaml.load(text, Loader=_Loader)  # a subclass of the safe loader
        check_size(value)
    except TooLargeError as error:
        bound = str(error).removeprefix("expected ")
        raise InputError(f"Expected valid YAML in {where}, and {bound}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = " ".join(str(error).split()).replace('in "<unicode string>", ', "at ")
        raise InputError(f"Expected valid YAML in {where}; found: {shown(problem, 500)}.") from None
    return value


_Dumper.add_representer(str, _Dumper.represent_str)
for _tag in (_INT, _FLOAT):
    _Loader.add_constructor(_tag, _Loader.construct_number)
