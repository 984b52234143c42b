"""Files of scores: what a batch of rows is as bytes, and how batches become one file."""

import csv
import io
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from flows.config.names import OF_SCORES, TREAT

_ROWS = 1 << 16  # of a batch of Feather, as pandas writes it
_MOST_HEAD = 1 << 22  # characters of a text that may be its first row
_ARMS = "treat."  # beginning of the columns with names of arms


class Output(ABC):
    """An open file of one format, to which batches of rows are added in their order.

    Parameters
    ----------
    file : BinaryIO
        New and empty.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    @staticmethod
    @abstractmethod
    def encode(frame: pd.DataFrame, id_type: pa.DataType, is_first: bool) -> bytes:
        """The rows of a batch; `id_type` is the type of their identities, the first column."""

    def add(self, content: bytes) -> None:
        """Add what `encode` made of a batch."""
        self.file.write(content)

    def finish(self) -> None:  # noqa: B027 - most have nothing there
        """Write what stands behind all batches."""

    @staticmethod
    @abstractmethod
    def names(path: Path) -> list[str]:
        """Names of the columns of a finished file; any error where it has another format."""


def schema_of(frame: pd.DataFrame, id_type: pa.DataType) -> pa.Schema:
    """The types of scores, which every batch has: of the identity, of numbers, of names of arms."""
    first, *others = frame.columns
    types = {
        name: pa.string() if _has_arms(name) else pa.from_numpy_dtype(frame[name].dtype)
        for name in others
    }
    return pa.schema({first: id_type, **types})


def _has_arms(name: str) -> bool:
    """Whether a column has names of arms."""
    return name == TREAT or name.startswith(_ARMS)


class Csv(Output):
    """Delimited text."""

    @staticmethod
    def encode(frame: pd.DataFrame, id_type: pa.DataType, is_first: bool) -> bytes:
        """Lines, after one with the names of columns if they are the first."""
        return frame.to_csv(index=False, header=is_first).encode()

    @staticmethod
    def names(path: Path) -> list[str]:
        """Those of its first row."""
        return next(csv.reader(io.StringIO(_head(path), newline="")))


class JsonLines(Output):
    """JSON, a row a line: floats that read back to the same bits, dates as ISO 8601."""

    @staticmethod
    def encode(frame: pd.DataFrame, id_type: pa.DataType, is_first: bool) -> bytes:
        """Lines. `DataFrame.to_json` would cut floats to 15 digits at most."""
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        lines = (json.dumps(row, default=_as_text, separators=(",", ":")) for row in rows)
        return "".join(f"{line}\n" for line in lines).encode()

    @staticmethod
    def names(path: Path) -> list[str]:
        """Those of its first row."""
        return list(json.loads(_head(path).partition("\n")[0]).keys())


def _head(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        return file.read(_MOST_HEAD)


def _as_text(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


class _Arrow(Output):
    """A file of a format with types; a batch is a stream of Arrow's until it is added."""

    _writer: Any = None
    _schema: pa.Schema | None = None

    @staticmethod
    def encode(frame: pd.DataFrame, id_type: pa.DataType, is_first: bool) -> bytes:
        """A stream with the types of columns."""
        table = pa.Table.from_pandas(frame, schema_of(frame, id_type), preserve_index=False)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        return sink.getvalue().to_pybytes()

    def add(self, content: bytes) -> None:
        """Add the rows of a stream."""
        with pa.ipc.open_stream(content) as stream:
            rows = stream.read_all()
        if self._schema is None:
            self._schema = rows.schema
            self._writer = self._open(rows.schema)
        self._write(rows.cast(self._schema))

    @abstractmethod
    def _open(self, schema: pa.Schema) -> Any: ...

    @abstractmethod
    def _write(self, rows: pa.Table) -> None: ...

    def finish(self) -> None:
        """Write the footer."""
        if self._writer is not None:
            self._writer.close()


class Parquet(_Arrow):
    """Parquet, with a group of rows for each batch."""

    def _open(self, schema: pa.Schema) -> Any:
        # Identities and estimates are all different: a dictionary of them would only take time.
        arms = [field.name for field in schema if _has_arms(field.name)]
        return pa.parquet.ParquetWriter(self.file, schema, use_dictionary=arms)

    def _write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows, row_group_size=len(rows))

    @staticmethod
    def names(path: Path) -> list[str]:
        """As its footer has them."""
        return list(pa.parquet.read_schema(path).names)


class Feather(_Arrow):
    """Feather, Arrow's file format."""

    def _open(self, schema: pa.Schema) -> Any:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        return pa.ipc.new_file(self.file, schema, options=options)

    def _write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows, max_chunksize=_ROWS)

    @staticmethod
    def names(path: Path) -> list[str]:
        """As its footer has them."""
        with pa.OSFile(str(path)) as file:
            return list(pa.ipc.open_file(file).schema.names)


OUTPUTS: dict[str, type[Output]] = {
    ".parquet": Parquet,
    ".csv": Csv,
    ".feather": Feather,
    ".jsonl": JsonLines,
}
"""By the end of the file's name."""


def holds_scores(path: Path) -> bool:
    """Whether a file has the columns of scores and no others, in the format that its name says."""
    try:
        _, first, *others = OUTPUTS[path.suffix.lower()].names(path)
    except Exception:  # each format has errors of its own
        return False
    return first.startswith("cate.") and all(
        name == TREAT or name.startswith(OF_SCORES) for name in others
    )
