"""Scores new rows with a stored model."""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from flows.config import DataConfig
from flows.errors import InputError
from flows.source import open_source, read_rows
from flows.study import known_propensity
from metalearners.bundle import Bundle, BundleError
from metalearners.schema import SchemaError
from metalearners.store import write_whole


def score_file(model: Path, source: str, output: Path) -> int:
    """Write the estimates for the rows of a source to a Parquet file, whole.

    Returns
    -------
    Number of rows

    Raises
    ------
    InputError
        If the model is damaged, the rows don't fit it, or the file can't be written.
    """
    try:
        bundle = Bundle.load(model)
        estimates = _estimates(bundle, source)
    except (BundleError, SchemaError) as error:
        raise InputError(str(error)) from None
    sink = pa.BufferOutputStream()
    estimates.to_parquet(sink, index=False)
    try:
        write_whole(output, sink.getvalue().to_pybytes())
    except OSError as error:
        raise InputError(
            f"--output: expected a file that can be written; {output}: {error.strerror}."
        ) from None
    return len(estimates)


def _estimates(bundle: Bundle, source: str) -> pd.DataFrame:
    data = DataConfig.model_validate(bundle.about["config"]["data"])
    dataset = open_source(source)
    designed = [c for role, c in data.roles.items() if role.startswith("propensity of ")]
    wanted = [*bundle.schema.names, *designed, *([data.row_id] if data.row_id else [])]
    present = [name for name in dict.fromkeys(wanted) if name in dataset.schema.names]
    frame = read_rows(dataset, present, source) if present else pd.DataFrame()
    absent = [name for name in designed if name not in present]
    if absent:
        raise InputError(f"Expected the propensity columns {absent} in {source}; add them.")
    estimates = bundle.predict(frame, known_propensity(frame, data, bundle.arms))
    name, ids = "row", pd.RangeIndex(len(frame))
    if data.row_id in present:
        name, ids = data.row_id, frame[data.row_id]
    estimates.insert(0, name, ids)
    return estimates
