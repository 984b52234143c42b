"""Runs from Python code: of a data frame, a file or a config, with keywords for a config's keys."""

import inspect
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from pydantic import BaseModel

from flows.config.data import DataConfig
from flows.config.problems import nearest
from flows.config.reading import parse_config, read_mapping
from flows.config.sections import Config
from flows.errors import InputError
from flows.inputs.formats.frames import FRAME, is_frame, no_rows
from flows.inputs.source import IN_MEMORY
from flows.launch.display import progress_display
from flows.launch.result import RunResult
from flows.launch.start import data_told, launch
from flows.messages.limits import shown

_OF_DATA, _AT_TOP = DataConfig.model_fields, Config.model_fields
_KEYS = [*_OF_DATA, *_AT_TOP]


def run(
    first: Any = None, /, *, refresh: bool = False, quiet: bool = False, **keys: Any
) -> RunResult:
    """Run uplift learners once, as the command `uplift run` does: fit, evaluate, report.

    Parameters
    ----------
    first : DataFrame, str, Path, mapping or Config
        A data frame in memory (of pandas, polars or pyarrow), a data file, or a config: its file
        (``.yaml``), the content of one, or a validated one. ``data=`` may name rows too.
    refresh : bool
        Whether to fit again what the cache has.
    quiet : bool
        Whether to print neither progress nor warnings.
    **keys
        Keys of a config, which override those of `first`: all keys of its section ``data`` by name
        (``outcome``, ``treatment`` and ``control``, which every run needs, and ``features``,
        ``arms``, ``weight``, ``group``, ``row_id``, ...), and those beside it (``learners``,
        ``models``, ``folds``, ``evaluation``, ``output``, ...). Of a section such as ``folds``, a
        mapping overrides the keys that it has. ``source`` may be a data frame, for a config that
        was run on one.

    Returns
    -------
    RunResult
        What the run wrote.

    Raises
    ------
    InputError
        If the data, the config or a keyword are wrong; nothing has been fitted then.
    LearnersFailedError
        If some learners failed; the folder, which the message names, has the others' results.

    Notes
    -----
    A data frame is read by the rules of a file. A Parquet file with the same values and types
    gives the same estimates, and reuses the same fits.
    """
    return _made(first, keys, refresh, quiet)


def compare(
    first: Any = None, /, *, refresh: bool = False, quiet: bool = False, **keys: Any
) -> RunResult:
    """Run learners and candidates and judge them, as the command `uplift compare` does.

    Parameters
    ----------
    first, refresh, quiet, **keys
        As for `run`. Of ``compare``, ``candidates`` names what is judged beside the learners, and
        ``stack`` asks for a mixture of all.

    Returns
    -------
    RunResult
        What the run wrote; `RunResult.comparison` is the ranked table.

    Raises
    ------
    InputError
        As for `run`, and if no rows are held out.
    LearnersFailedError
        As for `run`.
    """
    return _made(first, keys, refresh, quiet, comparing=True)


def _made(
    first: Any, keys: Mapping[str, Any], refresh: bool, quiet: bool, comparing: bool = False
) -> RunResult:
    config, frame = config_and_frame(first, keys)
    with progress_display(quiet):
        folder = launch(config, refresh, quiet, frame, comparing)
    return RunResult(folder.absolute(), getattr(frame, "index", None))


# For the help and the completion of notebooks: the keys stand in the models of a config alone.
_SIGNATURE = inspect.Signature(
    [
        inspect.Parameter("first", inspect.Parameter.POSITIONAL_ONLY, default=None),
        *(inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY) for key in _KEYS),
        *(
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=False)
            for option in ("refresh", "quiet")
        ),
    ],
    return_annotation=RunResult,
)
run.__signature__ = compare.__signature__ = _SIGNATURE  # type: ignore[attr-defined]


def config_and_frame(first: Any, keys: Mapping[str, Any]) -> tuple[Config, Any]:
    """The config of a call, and the data frame that is its source, if one is."""
    _check_keys(keys)
    content, where = _content(first)
    at_top = {key: value for key, value in keys.items() if key in _AT_TOP}
    of_data = {key: value for key, value in keys.items() if key not in _AT_TOP}
    section = keys.get("data", {})
    rows_as_data = not isinstance(section, Mapping)
    inside = set() if rows_as_data else section.keys()
    if _is_rows(first) + rows_as_data + ("source" in keys) + ("source" in inside) > 1:
        raise InputError("flows.run: expected the data once; found them twice. Leave one out.")
    _check_once(inside & of_data.keys())
    if rows_as_data:
        of_data["source"] = at_top.pop("data")
    content = _merged(_merged(content, at_top), {"data": of_data} if of_data else {})
    frame, data = None, content.get("data")
    if isinstance(data, Mapping) and is_frame(data.get("source")):
        frame, content = data["source"], _merged(content, {"data": {"source": IN_MEMORY}})
    try:
        plain = _plain(content)
    except RecursionError:
        raise InputError(
            "flows.run: expected values that a config file can hold; found a list or a mapping "
            "that holds itself, or is nested too deeply. Write it out."
        ) from None
    with data_told(frame):
        return parse_config(plain, where), frame


def _content(first: Any) -> tuple[Mapping[str, Any], str]:
    """What the first argument says, as a config's content, and how messages call it."""
    if first is None:
        return {}, "flows.run"
    if isinstance(first, Config):
        return first.model_dump(), "flows.run"
    if isinstance(first, Mapping):
        return first, "flows.run"
    if _is_rows(first):
        return {"data": {"source": first}}, "flows.run"
    if isinstance(first, (str, Path)):
        return read_mapping(Path(first)), str(first)
    raise no_rows("flows.run", f"{FRAME}, a data file, or a config", first)


def _is_rows(first: Any) -> bool:
    """Whether an argument is rows, or the place of some."""
    if isinstance(first, (str, Path)):
        return Path(first).suffix.lower() not in (".yaml", ".yml")
    return is_frame(first)


def _check_keys(keys: Mapping[str, Any]) -> None:
    lines = [_about_unknown(key) for key in keys if key not in _KEYS]
    if lines:
        valid = f"Valid here: {', '.join(_KEYS)}, refresh, quiet."
        raise InputError("flows.run: " + "\n".join([*lines, valid]))


def _check_once(twice: Set[str]) -> None:
    if twice:
        raise InputError(
            f"flows.run: expected each key once; found {', '.join(map(repr, sorted(twice)))} in "
            "data={...} and as a keyword. Leave one out."
        )


def _about_unknown(key: str) -> str:
    owner = next((name for name, model in _SECTIONS.items() if key in model.model_fields), None)
    hint = nearest(key, _KEYS).rstrip()
    if owner is not None:
        hint = f"It is a key of {owner}: {owner}={{{key!r}: ...}}."
    return f"unknown keyword {shown(repr(key))}. {hint}".rstrip()


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section that is one form of a key's value."""
    forms = (annotation, *get_args(annotation))
    models = (form for form in forms if isinstance(form, type) and issubclass(form, BaseModel))
    return next(models, None)


_SECTIONS = {
    key: section
    for key, field in {**_OF_DATA, **_AT_TOP}.items()
    if (section := _section(field.annotation)) is not None
}


def _merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A config's content with changes, section by section."""
    merged = {**content, **changes}
    for key in _SECTIONS.keys() & content.keys() & changes.keys():
        if isinstance(content[key], Mapping) and isinstance(changes[key], Mapping):
            merged[key] = _merged(content[key], changes[key])
    return merged


def _plain(value: Any) -> Any:
    """A value as a file of YAML would hold it: arrays are lists, and their items Python's own.

    An InputError refuses a set, whose order may differ from process to process.
    """
    if isinstance(value, (np.generic, np.ndarray)):
        value = _from_numpy(value)
    if isinstance(value, (set, frozenset)):
        raise InputError(
            f"flows.run: expected lists, which keep their order; found {shown(repr(value))}. "
            "Write [...], or sorted(...)."
        )
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        items = value.items()
        return {_from_numpy(k) if isinstance(k, np.generic) else k: _plain(v) for k, v in items}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    for method in ("tolist", "to_list"):  # of pandas, pyarrow and polars
        if hasattr(value, method) and not isinstance(value, type):
            return _plain(getattr(value, method)())
    return value


def _from_numpy(value: Any) -> Any:
    """Python's own value or list; of dates and durations pandas', as NumPy has integers there."""
    if value.dtype.kind not in "mM":
        return value.tolist()
    values = pd.Series(np.ravel(value)).tolist()
    return values if value.ndim else values[0]
