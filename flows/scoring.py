"""Scores new rows with a stored model, and signs models."""

import io
import json
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from flows.config.data import DataConfig
from flows.config.files import check_file
from flows.config.reading import parse
from flows.errors import InputError
from flows.fitting.cache import KEY_VARIABLE, signing_key
from flows.inputs.columns import known_propensity, read_strata
from flows.inputs.formats.text_files import Asked, Habits
from flows.inputs.places import find_files
from flows.inputs.source import IN_MEMORY, Source, open_source
from flows.messages.progress import Steps
from flows.messages.secrets import check_address
from metalearners._typing import Floats
from metalearners.bundle import Bundle, BundleError, sign
from metalearners.cache.regular_files import write_whole
from metalearners.data.schema import DATE, Feature
from metalearners.evaluation.design import ArmShares
from metalearners.metalearner import PROPENSITY_MODEL

_BLOCK = 200_000  # rows that are scored at a time
_LOCAL = ("file://", "local://")  # URLs of files of this machine


def _in_blocks(write: Callable[..., object], frame: pd.DataFrame, file: io.BytesIO) -> None:
    """Write rows as text, which takes a while; they are counted for those who listen."""
    steps = Steps("write", len(frame))
    for begin in range(0, len(frame), _BLOCK):
        part = frame[begin : begin + _BLOCK]
        write(part, file, begin == 0)
        steps.count(len(part))


def _write_csv(part: pd.DataFrame, file: io.BytesIO, is_first: bool) -> None:
    part.to_csv(file, index=False, header=is_first)


def _write_json(part: pd.DataFrame, file: io.BytesIO, is_first: bool) -> None:
    """Write a row a line: floats that read back to the same bits, dates as ISO 8601.

    `DataFrame.to_json` cuts floats to 15 digits at most.
    """
    rows = part.astype(object).where(part.notna(), None).to_dict("records")
    lines = (json.dumps(row, default=_as_text, separators=(",", ":")) for row in rows)
    file.write("".join(f"{line}\n" for line in lines).encode())


def _as_text(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


# By the end of the file's name.
_WRITERS: dict[str, Callable[[pd.DataFrame, io.BytesIO], object]] = {
    ".parquet": lambda frame, file: frame.to_parquet(file, index=False),
    ".csv": partial(_in_blocks, _write_csv),
    ".feather": lambda frame, file: frame.to_feather(file),
    ".jsonl": partial(_in_blocks, _write_json),
}


def score_file(model: Path, source: str, output: Path, strict: bool = False) -> int:
    """Write the estimates for the rows of a source to a file, which appears whole.

    Levels of features that the model hasn't seen count as missing, and rows of such strata get
    the arms' shares over all rows; if strict, both are refused.

    Returns
    -------
    int
        Number of rows.

    Raises InputError if the model is damaged, the rows don't fit it, or the file can't be written.
    """
    check_file(output, "--output")
    write = _WRITERS.get(output.suffix.lower())
    if write is None:
        raise InputError(
            f"--output: expected a file whose name ends in {', '.join(_WRITERS)}; found {output}."
        )
    _check_apart(output, source)
    estimates = score_rows(model, source, strict)
    content = io.BytesIO()
    write(estimates, content)
    write_whole(output, content.getvalue())
    return len(estimates)


def _check_apart(output: Path, source: str) -> None:
    """Refuse to overwrite a file of the rows to score."""
    is_local = "::" not in source and ("://" not in source or source.startswith(_LOCAL))
    if not is_local or not output.exists():
        return
    try:
        files = find_files(source).files
    except (OSError, ValueError):  # told when the rows are read
        return
    if any(output.samefile(file) for file in files):
        raise InputError(
            "--output: expected another file than the rows to score; found "
            f"{output} among those of {source}."
        )


def score_rows(
    model: Path, rows: Any, strict: bool = False, where: str = "--input"
) -> pd.DataFrame:
    """The estimates for the rows of a source, or of a data frame in memory, as `score_file`.

    Those for a pandas data frame have its index. Messages about the source begin with `where`.
    """
    is_place = isinstance(rows, (str, Path))
    source = str(rows) if is_place else IN_MEMORY
    try:
        check_address(source)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    try:
        bundle = Bundle.load(model, signing_key())
        estimates = _estimates(bundle, source, strict, None if is_place else rows)
    except InputError:
        raise
    except ValueError as error:  # of the bundle, the schema, or a model without missing values
        raise InputError(f"{source} can't be scored: {error}") from None
    return estimates.set_axis(rows.index) if isinstance(rows, pd.DataFrame) else estimates


def sign_model(model: Path) -> None:
    """Sign a model with the environment's secret; an InputError if one is missing or damaged."""
    if not signing_key():
        raise InputError(f"Expected a secret in {KEY_VARIABLE}; found none. Set it, and sign then.")
    try:
        sign(model, signing_key())
    except BundleError as error:
        raise InputError(str(error)) from None


def _estimates(bundle: Bundle, source: str, strict: bool, table: Any = None) -> pd.DataFrame:
    if bundle.schema is None or "config" not in bundle.about:
        raise InputError("Expected the model of a run, which knows its features; found another.")
    data = parse(
        DataConfig, bundle.about["config"]["data"], "Expected the model of a run: ", "data."
    )
    asked = Asked(**data.read.model_dump(), usual=Habits.from_json(bundle.about.get("habits", {})))
    rows = open_source(source, asked, table)
    # Other learners have no use for known probabilities of new rows.
    designed = any(PROPENSITY_MODEL in learner.SERVED for learner in bundle.learners.values())
    columns = _design_columns(data) if designed else []
    wanted = [*bundle.schema.names, *columns, *([data.row_id] if data.row_id else [])]
    present = [name for name in dict.fromkeys(wanted) if name in rows.names]
    types = {f.name: _type_of(f) for f in bundle.schema.features}
    frame = _read(rows, present, data.labels, types, source) if present else pd.DataFrame()
    absent = [name for name in columns if name not in present]
    if absent:
        kind = "strata" if absent == [data.strata] else "propensity"
        raise InputError(f"Expected the {kind} columns {absent} in {source}; add them.")
    propensity = _known(bundle, frame, data, strict) if designed else None
    features = bundle.schema.conform(frame, unseen_missing=not strict)
    estimates = _by_blocks(bundle, features, propensity)
    if data.row_id in present:
        estimates.insert(0, str(data.row_id), frame[data.row_id])
    else:
        estimates.insert(0, "row", range(len(frame)))
    return estimates


def _by_blocks(bundle: Bundle, features: pd.DataFrame, propensity: Floats | None) -> pd.DataFrame:
    """Estimates of rows, which are counted for those who listen."""
    steps, parts = Steps("score", len(features)), []
    for begin in range(0, len(features), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        known = None if propensity is None else propensity[rows]
        parts.append(bundle.predict(features[rows], known, details=True, conformed=True))
        steps.count(len(parts[-1]))
    return pd.concat(parts)


def _type_of(feature: Feature) -> str:
    """The type of a feature's values, whatever those of new rows look like."""
    if feature.dtype == DATE:
        return "date"
    texts = feature.levels is not None and isinstance(next(iter(feature.levels), None), str)
    return "text" if texts else "number"


def _read(
    rows: Source, columns: list[str], labels: list[str], types: Mapping[str, str], source: str
) -> pd.DataFrame:
    table = rows.read(columns, labels, types)
    if table.faults:
        told = "; ".join(f"{name!r}: {fault}" for name, fault in table.faults.items())
        raise InputError(
            f"Expected numbers, or dates, in columns of {source} that have such in the model; "
            f"found other fields in {told}. Where such a field is a missing value, leave it empty."
        )
    for note in table.notes:
        warnings.warn(note, stacklevel=2)
    return table.frame


def _design_columns(data: DataConfig) -> list[str]:
    """Columns that say with which probability a new row would receive each arm."""
    strata = [data.strata] if data.design == "randomised" and data.strata else []
    return [c for role, c in data.roles.items() if role.startswith("propensity.")] + strata


def _known(bundle: Bundle, frame: pd.DataFrame, data: DataConfig, strict: bool) -> Floats | None:
    """(n, K) known probabilities of the arms.

    Warns of rows whose strata the model hasn't seen; refuses them if strict.
    """
    if "shares" not in bundle.about:
        return known_propensity(frame, data, bundle.arms)
    shares, strata = ArmShares.from_json(bundle.about["shares"]), read_strata(frame, data)
    unseen = 0 if strata is None else int((~strata.isin(list(shares.by_stratum))).sum())
    found = f"{unseen} of {len(frame)} rows are of strata that the model hasn't seen"
    if unseen and strict:
        raise InputError(
            f"Expected strata that the model has seen; {found}. Leave them out, or score without "
            "strict: they get the arms' shares over all rows then."
        )
    if unseen:
        warnings.warn(f"{found}: they get the arms' shares over all rows.", stacklevel=2)
    return shares.of(len(frame), strata)
