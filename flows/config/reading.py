"""Reads a config from a file, a form or plain values, or refuses it in one message."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from flows.config.names import name_of_file
from flows.config.problems import explain, place_of
from flows.config.sections import Config
from flows.config.yaml_text import read_yaml
from flows.errors import Faults, InputError, as_it_is
from flows.messages.limits import MOST_BYTES, TooLargeError, check_size, shown

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Problem:
    """A mistake in a config.

    Parameters
    ----------
    place : list of str
        Keys on the way to it.
    line : str
        What was expected, what was found, and a remedy.
    unknown_key : bool
        Whether the last key is one that the config has not.
    """

    place: list[str]
    line: str
    unknown_key: bool


class ConfigError(InputError):
    """A config that was refused; its data weren't looked at.

    Parameters
    ----------
    where : str
        Begins the message.
    content : mapping
        The config as plain values.
    problems : sequence of Problem
        Each of its mistakes.
    """

    def __init__(self, where: str, content: Any, problems: Sequence[Problem]) -> None:
        super().__init__(where + Faults(problem.line for problem in problems).message())
        self.where, self.content, self.problems = where, content, problems

    def __reduce__(self) -> tuple[Any, ...]:
        return as_it_is(self)


def load_config(path: Path, changes: Iterable[str] = (), output: str | None = None) -> Config:
    """The config in a YAML file, which names it where its `name` doesn't.

    Parameters
    ----------
    changes : iterable of str
        ``key.path=value``, the value read as YAML.
    output : str or None
        Replaces the config's own.

    Raises InputError if the file or anything in it is wrong.
    """
    content = read_mapping(path, changes)
    if output is not None:
        content["output"] = output
    return parse_config(content, str(path))


def parse_config(content: Mapping[str, Any], where: str = "config") -> Config:
    """A config from plain values; a ConfigError has a line for each mistake in them."""
    return parse(Config, content, f"{where}: ")


def as_run(config: Config, tell: Callable[[str], object]) -> Config:
    """The config of a run, without what is for comparisons alone, which is told."""
    if config.compare is not None:
        tell(
            "The section compare is for `uplift compare` and the flow uplift-compare: a run fits "
            "the learners alone."
        )
    return config.model_copy(update={"compare": None})


def config_among(arguments: Mapping[str, Any]) -> Config:
    """`parse_config` for the arguments of a flow, which may have other arguments too."""
    return parse_config({name: arguments[name] for name in Config.model_fields})


def parse(model: type[M], content: Any, where: str, within: str = "") -> M:
    """A section of the config from plain values; `where` begins the message, `within` its lines."""
    try:
        check_size(content)
        return model.model_validate(content)
    except TooLargeError as error:
        raise InputError(f"{where}{within}{error}") from None
    except RecursionError:
        raise InputError(f"{where}{within}expected values that don't contain themselves.") from None
    except ValidationError as error:
        by_place: dict[str, list[Any]] = {}
        for problem in error.errors():
            by_place.setdefault(".".join(place_of(problem)), []).append(problem)
        # Problems inside one form of a value hide that the value isn't another form.
        entered = {place[: dot.start()] for place in by_place for dot in re.finditer(r"\.", place)}
        told = [by_place[place] for place in by_place if place not in entered]
        problems = [
            Problem(
                place_of(first := problems[0]),
                f"{within}{explain(model, problems)}",
                first["type"] == "extra_forbidden",
            )
            for problems in told
        ]
        raise ConfigError(where, content, problems) from None


def read_mapping(path: Path, changes: Iterable[str] = ()) -> dict[str, Any]:
    """The content of a config file with changes and a name, before it is checked."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode()
    except FileNotFoundError:
        raise InputError(
            f"Expected a config file; {path} doesn't exist. `uplift init DATA` writes one."
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"Expected a readable config file; {path}: {error}.") from None
    if len(content) > MOST_BYTES:
        raise InputError(
            f"Expected a config of at most {MOST_BYTES:,} bytes; {path} has more. Leave out what "
            "the run doesn't need: `features: null` takes every column without a role."
        )
    content = read_yaml(text, str(path))
    if not isinstance(content, dict) or not content:
        found = "nothing" if content is None else shown(repr(content), 50)
        raise InputError(
            f"Expected a mapping with the key `data` in {path}; found {found}. "
            "`uplift init DATA` writes a config to start from."
        )
    for change in changes:
        _apply(content, change)
    if content.get("name") is None:
        content["name"] = name_of_file(path.stem)
    return content


def _apply(content: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise InputError(f"Expected --set key.path=value; found {shown(repr(change))}.")
    value = read_yaml(text, f"--set {shown(repr(change))}")
    for key in keys[:-1]:
        if content.get(key) in (None, "auto"):
            content[key] = {}
        content = content[key]
        if not isinstance(content, dict):
            raise InputError(
                f"Expected a mapping at {key!r} for --set {shown(repr(change))}; the config has "
                f"{shown(repr(content))} there. Set it as a whole."
            )
    content[keys[-1]] = value
