"""Places of data: which of them this process may use, and which files lie there."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import fsspec
import pandas as pd
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from flows.dates.partitions import Window, begins_of, names_dates
from flows.dates.queries import sqlite_file
from flows.errors import InputError
from flows.messages.limits import shown

DATA_ROOTS_VARIABLE = "UPLIFT_DATA_ROOTS"
_OWN_SOURCES_VARIABLE = "_UPLIFT_OWN_SOURCES"  # for the runs that `uplift serve` starts
# Folders are separated as paths are. A colon inside a URL stands before // or a port.
_ROOT = re.compile(r"[a-z][a-z0-9+.-]+://[^:/]*(?::\d+(?![^/:]))?[^:]*|[^:]+")

# What a file is, by the end of its name.
FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "text",
    ".tsv": "text",
    ".txt": "text",
    ".feather": "feather",
    ".arrow": "feather",
    ".jsonl": "json lines",
    ".ndjson": "json lines",
}
# Ends of compressed texts, with pyarrow's names of the compressions.
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
_TEXTS = ("text", "json lines")

_SPREADSHEETS = {".xlsx", ".xls", ".xlsm", ".ods"}


@dataclass(frozen=True)
class Place:
    """Files of one format, in order.

    Parameters
    ----------
    filesystem : AbstractFileSystem
        Where they lie.
    files : sequence of str
        Their paths.
    format : str
        One of the values of `FORMATS`.
    begins : mapping
        When the partition of a file begins, by its path; empty where the source names no dates.
    """

    filesystem: AbstractFileSystem
    files: Sequence[str]
    format: str
    begins: Mapping[str, pd.Timestamp] = field(default_factory=dict)


def limit_to_working_folder() -> None:
    """Have this process, and those that it starts, use no other places unless they are named."""
    os.environ.setdefault(DATA_ROOTS_VARIABLE, os.getcwd())


def is_limited() -> bool:
    """Whether this process serves others, who name places to it."""
    return bool(os.environ.get(DATA_ROOTS_VARIABLE))


def allow_own_sources(sources: Mapping[str, str]) -> None:
    """Allow each deployment the source of its config, wherever that is, and no other deployment.

    The processes that this one starts take it over, and no parameter of a run reaches it.

    Parameters
    ----------
    sources : mapping of str
        By the deployment's id: a name could be that of another flow's deployment too.
    """
    os.environ[_OWN_SOURCES_VARIABLE] = json.dumps(dict(sources))


def check_allowed(place: str, source: str | None = None) -> None:
    """Refuse a place outside the folders, databases and URLs that the process is limited to.

    They are named by an environment variable, separated as paths are; a process that hasn't got
    it may use what its user may. The run of a deployment may read its config's own source too.

    Parameters
    ----------
    place : str
        Folder, file, database or URL.
    source : str, optional
        The source of data that the place is a file, a partition or the database of, where it isn't
        one itself.

    Raises
    ------
    InputError
        If the place lies outside.
    """
    roots = _ROOT.findall(os.environ.get(DATA_ROOTS_VARIABLE, ""))
    lies = str(sqlite_file(place) or place)
    if roots and not (_is_inside(lies, roots) or _is_of_own(place, source)):
        raise InputError(
            f"Expected a place inside {', '.join(roots)}, which this deployment is limited to; "
            f"found {lies!r}. Whoever runs it can add to {DATA_ROOTS_VARIABLE}."
        )


def _is_inside(place: str, roots: Sequence[str]) -> bool:
    if "://" in place or "::" in place:
        inside = any("://" in r and f"{place}/".startswith(r.rstrip("/") + "/") for r in roots)
        return inside and ".." not in unquote(place).split("/") and "::" not in place
    path = Path(place).resolve()
    return any(path.is_relative_to(Path(r).resolve()) for r in roots if "://" not in r)


def _is_of_own(place: str, source: str | None) -> bool:
    """Whether a place is the own source of the deployment that this process runs, or part of it."""
    own = _own_source()
    if own is None or own != (source or place):
        return False
    if place == own or own.startswith(f"{place}\n"):  # a query of a database
        return True
    fixed = re.split(r"[*?[{]", own)[0]
    if "://" in own:
        return place.startswith(fixed.rpartition("/")[0] + "/")
    # Links may not lead out of the folder that the source names.
    folder = Path(own if fixed == own else f"{fixed}_").resolve()
    return Path(place).resolve().is_relative_to(folder if fixed == own else folder.parent)


def _own_source() -> str | None:
    told = os.environ.get(_OWN_SOURCES_VARIABLE)
    if not told:
        return None
    from prefect import runtime  # slow, and of use to the run of a deployment alone

    source: str | None = json.loads(told).get(str(runtime.deployment.id))
    return source


def find_source(source: str, window: Window | None = None) -> tuple[Place, list[str]]:
    """The files of a source, of each partition in a window where it names dates; what to tell.

    Raises InputError as `find_files`, and if a partition without files is to be refused.
    """
    if not names_dates(source):
        check_allowed(source)
        return find_files(source), []
    if window is None:
        raise InputError(
            f"Expected the place of one set of rows; {source} names dates, which a run's config "
            "alone may. Name a partition."
        )
    parts = begins_of(source, window)
    for part in parts:
        check_allowed(part, source)
    place, absent = _find(list(parts), source, parts)
    told = f"{len(absent)} of {len(parts)} partitions: {shown(', '.join(absent), 300)}"
    if place is None or (absent and window.missing == "refuse"):
        raise InputError(
            f"Expected files in each partition; found none in {told}. Wait for them, name another "
            "date, or set data.missing to warn: rows of the others are used then."
        )
    return place, [f"No files are in {told}."] if absent else []


def find_files(source: str) -> Place:
    """The files at a place: one, those of a folder, or those that a glob names.

    Raises
    ------
    InputError
        If there is none, one is empty, or they aren't of one format that can be read.
    """
    place, _ = _find([source], source)
    if place is None:
        raise InputError(
            f"Expected data at {source}: a file, or a folder or glob with files that end in "
            f"{', '.join(FORMATS)}; found none. Relative paths start from {Path.cwd()}."
        )
    return place


def _find(
    parts: Sequence[str], source: str, begins: Mapping[str, pd.Timestamp] | None = None
) -> tuple[Place | None, list[str]]:
    """The files at the parts of a source, each file once, and the parts without any."""
    filesystem, found = None, {}
    for part in parts:
        filesystem, path = fsspec.core.url_to_fs(part)
        found[part] = _files_at(filesystem, path)
    absent = [part for part, files in found.items() if not files]
    files = list(dict.fromkeys(file for own in found.values() for file in own))
    if filesystem is None or not files:
        return None, absent
    for file in files:
        _check_file(filesystem, file, source)
    where = parts[0] if len(parts) == 1 else f"{parts[0]} to {parts[-1]}"
    of = {file: part for part in reversed(parts) for file in found[part]}  # its first
    moments = {} if begins is None else {file: begins[of[file]] for file in files}
    return Place(filesystem, files, _format_of(files, where), moments), absent


def _files_at(filesystem: AbstractFileSystem, path: str) -> list[str]:
    if filesystem.isfile(path):
        return [path]
    if filesystem.isdir(path):
        return _without_hidden(filesystem.find(path), path)
    matches = [file for file in filesystem.glob(path) if filesystem.isfile(file)]
    return _without_hidden(matches, re.split(r"[*?[]", path)[0].rpartition("/")[0])


def _check_file(filesystem: AbstractFileSystem, file: str, source: str) -> None:
    if isinstance(filesystem, LocalFileSystem):
        check_allowed(file, source)  # a link inside a folder may lead out of it
    if filesystem.size(file) == 0:
        raise InputError(f"Expected rows in {file}; the file is empty.")


def compression_of(file: str) -> str | None:
    """How a file is compressed, by the end of its name; None for not at all."""
    return COMPRESSIONS.get(PurePosixPath(file).suffix.lower())


def _without_hidden(files: Sequence[str], folder: str) -> list[str]:
    """Files in order, without those that begin with . or _, and those of such folders."""
    return sorted(f for f in files if not re.search(r"(^|/)[._]", f.removeprefix(folder)))


def _format_of(files: Sequence[str], source: str) -> str:
    endings = {file: _ending(file) for file in files}
    formats = {FORMATS.get(ending) for ending in endings.values()}
    (first,) = formats if len(formats) == 1 else (None,)
    if first is None or (first not in _TEXTS and any(map(compression_of, files))):
        found = sorted({"".join(PurePosixPath(file).suffixes[-2:]) or "none" for file in files})
        is_book = any(ending in _SPREADSHEETS for ending in endings.values())
        remedy = "Name those to read by a glob, such as folder/*.csv."
        raise InputError(
            f"Expected files of one format, ending in {', '.join(FORMATS)}, texts also compressed "
            f"({', '.join(COMPRESSIONS)}), at {source}; found {', '.join(found[:10])}. "
            f"{'Save the sheet as CSV.' if is_book else remedy}"
        )
    return first


def _ending(file: str) -> str:
    path = PurePosixPath(file)
    return (path.with_suffix("") if compression_of(file) else path).suffix.lower()
