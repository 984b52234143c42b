"""Tabular data in: Parquet, CSV or Feather; a file, a folder, a glob or an fsspec URL."""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.fs
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from flows.errors import InputError

DATA_ROOTS_VARIABLE = "UPLIFT_DATA_ROOTS"
_FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".feather": "feather",
    ".arrow": "feather",
}


def open_source(source: str) -> pa.dataset.Dataset:
    """The data set at a place, its schema read and no rows yet.

    Raises InputError if there is nothing that can be read, or the process may not read there.
    """
    check_allowed(source)
    with _reading(source):
        filesystem, files = _files(source)
        dataset = pa.dataset.dataset(
            files,
            format=_format(files, source),
            filesystem=pa.fs.PyFileSystem(pa.fs.FSSpecHandler(filesystem)),
            partitioning="hive",  # a folder named key=value is a column
        )
        dataset.schema.names  # noqa: B018 - fails on names that aren't UTF-8
    return dataset


def read_table(dataset: pa.dataset.Dataset, columns: Sequence[str], source: str) -> pd.DataFrame:
    """Some columns of all rows, in the order of the files and of the rows in them."""
    with _reading(source):
        _check_same_columns(dataset, columns, source)
        table = dataset.to_table(columns=list(columns))
    if not table.num_rows:
        raise InputError(f"Expected rows in {source}; found none.")
    if isinstance(dataset.format, pa.dataset.CsvFileFormat):
        _check_encoding(table, source)
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
    # A separator is none where it begins the "://" of a URL.
    given = re.split(f"{re.escape(os.pathsep)}(?!//)", os.environ.get(DATA_ROOTS_VARIABLE, ""))
    roots = [root for root in given if root]
    if not roots:
        return
    if "://" in place or "::" in place:
        inside = any("://" in r and place.startswith(r.rstrip("/") + "/") for r in roots)
        inside = inside and ".." not in unquote(place).split("/") and "::" not in place
    else:
        path = Path(place).resolve()
        inside = any(path.is_relative_to(Path(r).resolve()) for r in roots if "://" not in r)
    if not inside:
        raise InputError(
            f"Expected a place inside {', '.join(roots)}, which this deployment is limited to; "
            f"found {place!r}. Whoever runs it can add to {DATA_ROOTS_VARIABLE}."
        )


def _files(source: str) -> tuple[AbstractFileSystem, list[str]]:
    filesystem, path = fsspec.core.url_to_fs(source)
    if filesystem.isfile(path):
        files = [path]
    elif filesystem.isdir(path):
        files = _shown(filesystem.find(path), path)
    else:
        files = _shown(filesystem.glob(path), re.split(r"[*?[]", path)[0].rpartition("/")[0])
    if not files:
        raise InputError(
            f"Expected data at {source}: a file, or a folder or glob with files that end in "
            f"{', '.join(_FORMATS)}; found none. Relative paths start from {Path.cwd()}."
        )
    for file in files:
        if isinstance(filesystem, LocalFileSystem):
            check_allowed(file)  # a link inside a folder may lead out of it
        if filesystem.size(file) == 0:
            raise InputError(f"Expected rows in {file}; the file is empty.")
    return filesystem, files


def _shown(files: Sequence[str], folder: str) -> list[str]:
    """Files of a known format, in order, without hidden ones and those of hidden folders."""
    known = (file for file in files if Path(file).suffix.lower() in _FORMATS)
    return sorted(f for f in known if not re.search(r"(^|/)[._]", f.removeprefix(folder)))


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


@contextlib.contextmanager
def _reading(source: str) -> Iterator[None]:
    """Turn what a file system or a format raises into a refusal."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # each file system has errors of its own
        # pyarrow says three times over where it was before it says what was wrong.
        found = re.sub(r".*source '[^']*': (Invalid: )?", "", " ".join(str(error).split()))
        raise InputError(
            f"Expected Parquet, CSV or Feather data, as its name says, at {source}; it can't be "
            f"read: {found[:300].rstrip('.')}. Check that it is whole and of that format, and that "
            "a column has one type throughout."
        ) from None


def _check_same_columns(dataset: pa.dataset.Dataset, columns: Sequence[str], source: str) -> None:
    # pyarrow fills in missing values where a file lacks a column.
    first, *others = dataset.get_fragments()
    wanted = set(columns) & set(first.physical_schema.names)
    for other in others:
        absent = wanted - set(other.physical_schema.names)
        if absent:
            raise InputError(
                f"Expected the same columns in all files of {source}; {other.path} has no "
                f"{', '.join(sorted(absent))}. Add them or leave the file out."
            )


def _check_encoding(table: pa.Table, source: str) -> None:
    garbled = [field.name for field in table.schema if pa.types.is_binary(field.type)]
    if garbled:
        raise InputError(
            f"Expected UTF-8 text in {source}; found other bytes in {', '.join(garbled)}. "
            "Save the file as UTF-8."
        )
