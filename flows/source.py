"""Tabular data in: Parquet, CSV or Feather; a file, a folder, a glob or an fsspec URL."""

import os
from collections.abc import Sequence
from pathlib import Path

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.fs
from fsspec import AbstractFileSystem

from flows.errors import InputError

ROOTS_VARIABLE = "UPLIFT_DATA_ROOTS"
_FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".feather": "feather",
    ".arrow": "feather",
}


def open_source(source: str) -> pa.dataset.Dataset:
    """The data set at a place, its schema read and no rows yet.

    Raises
    ------
    InputError
        If there is nothing that can be read, or the process may not read there.
    """
    check_allowed(source)
    filesystem, files = _files(source)
    try:
        return pa.dataset.dataset(
            files,
            format=_format(files, source),
            filesystem=pa.fs.PyFileSystem(pa.fs.FSSpecHandler(filesystem)),
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(source, error) from None


def read_rows(dataset: pa.dataset.Dataset, columns: Sequence[str], source: str) -> pd.DataFrame:
    """Some columns of all rows, in the order of the files and of the rows in them."""
    try:
        table = dataset.to_table(columns=list(columns))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(source, error) from None
    if not table.num_rows:
        raise InputError(f"Expected rows in {source}; found none.")
    frame = table.to_pandas(ignore_metadata=True)
    if isinstance(dataset.format, pa.dataset.CsvFileFormat):
        # In a CSV an empty field is all there is to say that a value is missing.
        texts = frame.select_dtypes("str")
        frame = frame.assign(**{name: texts[name].mask(texts[name] == "") for name in texts})
    return frame


def check_allowed(place: str) -> None:
    """Refuse a place outside the folders and URLs that the process is limited to.

    They are named by an environment variable, separated as paths are; a process that hasn't got
    it may use what its user may.
    """
    roots = [root for root in os.environ.get(ROOTS_VARIABLE, "").split(os.pathsep) if root]
    if not roots:
        return
    if "://" in place or "::" in place:
        inside = any("://" in r and place.startswith(r.rstrip("/") + "/") for r in roots)
        inside = inside and ".." not in place.split("/") and "::" not in place
    else:
        path = Path(place).resolve()
        inside = any(path.is_relative_to(Path(r).resolve()) for r in roots if "://" not in r)
    if not inside:
        raise InputError(
            f"Expected a place inside {', '.join(roots)}, which this deployment is limited to; "
            f"found {place!r}. Whoever runs it can add to {ROOTS_VARIABLE}."
        )


def _files(source: str) -> tuple[AbstractFileSystem, list[str]]:
    try:
        filesystem, path = fsspec.core.url_to_fs(source)
        if filesystem.isdir(path):
            found = filesystem.find(path)
            files = [f for f in found if _known(f) and not _hidden(f, path)]
        else:
            files = filesystem.glob(path) if any(c in path for c in "*?[") else [path]
        missing = not files or not all(filesystem.exists(f) for f in files)
    except (OSError, ValueError, ImportError) as error:
        raise _unreadable(source, error) from None
    if missing:
        raise InputError(
            f"Expected data at {source}; found no such file, folder or match. Relative paths "
            f"start from {Path.cwd()}."
        )
    for file in files:
        if filesystem.size(file) == 0:
            raise InputError(f"Expected rows in {file}; the file is empty.")
    return filesystem, sorted(files)


def _known(file: str) -> bool:
    return Path(file).suffix.lower() in _FORMATS


def _hidden(file: str, folder: str) -> bool:
    inner = file.removeprefix(folder).strip("/").split("/")
    return any(part.startswith((".", "_")) for part in inner)


def _format(files: Sequence[str], source: str) -> "str | pa.dataset.FileFormat":
    found = {Path(file).suffix.lower() for file in files}
    formats = {_FORMATS.get(suffix) for suffix in found}
    if len(formats) > 1 or None in formats:
        raise InputError(
            f"Expected files of one format, ending in {', '.join(_FORMATS)}, at {source}; found "
            f"{', '.join(sorted(found)) or 'none'}."
        )
    (name,) = formats
    if name != "csv":
        return str(name)
    # Types are inferred from the first block: a large one sees more rows than the default 1 MiB.
    reading = pa.csv.ReadOptions(block_size=1 << 25)
    return pa.dataset.CsvFileFormat(read_options=reading)


def _unreadable(source: str, error: Exception) -> InputError:
    return InputError(
        f"Expected Parquet, CSV or Feather data, as its name says, at {source}; it can't be read: "
        f"{' '.join(str(error).split())[:300]}. Check that the file is whole and of that format."
    )
