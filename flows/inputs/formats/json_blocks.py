"""JSON lines of any number: types are settled over all blocks, and rows are read block by block."""

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from flows.inputs.formats.json_lines import DIGITS, LARGEST_INTEGER, lines_of, told_of_labels
from flows.inputs.formats.pieces import Piece
from flows.inputs.room import Open


@dataclass(frozen=True)
class _Facts:
    """What is known of a file after all its blocks were looked at."""

    types: dict[str, pa.DataType] = field(default_factory=dict)
    long: frozenset[str] = frozenset()  # columns of numbers with more digits than a float keeps
    rows: tuple[int, ...] = ()  # of each block: a line may have several, and a row several lines


class JsonBlocks:
    """Files of JSON lines whose rows needn't fit into memory.

    Parameters
    ----------
    files : sequence of str
        The files.
    open : callable
        Opens one of them for reading bytes.
    """

    def __init__(self, files: Sequence[str], open: Open) -> None:
        self._files = files
        self._open = open

    def schema(self, file: str, kept: Collection[str] = ()) -> pa.Schema:
        """All columns of a file, in the types that `pieces` has them in."""
        types = self._facts[file].types
        return pa.schema(
            {n: pa.string() if self._is_kept(n, t, kept) else t for n, t in types.items()}
        )

    @cached_property
    def _facts(self) -> dict[str, _Facts]:
        found = {}
        for file in self._files:
            facts = _Facts()
            for block in self._blocks(file, self._open):
                facts = _with(facts, pa.json.read_json(io.BytesIO(block)))
            found[file] = facts
        return found

    @cached_property
    def _long(self) -> set[str]:
        """Columns that would lose digits, as they have floats in some block of a file or other."""
        all_facts = self._facts.values()
        floats = {n for f in all_facts for n, type in f.types.items() if pa.types.is_floating(type)}
        return {name for facts in all_facts for name in facts.long & floats}

    def _is_kept(self, name: str, type: pa.DataType, kept: Collection[str]) -> bool:
        """Whether a column is read as texts, so that it loses nothing."""
        is_number = pa.types.is_integer(type) or pa.types.is_floating(type)
        long = is_number and name in self._long
        return name in kept and (long or pa.types.is_timestamp(type))

    def pieces(
        self, file: str, columns: Sequence[str], kept: Collection[str], open: Open
    ) -> Iterator[Piece]:
        """Columns of a file, those in `kept` as they are written.

        `open` opens the file, as it may count the bytes.
        """
        types = {name: self._facts[file].types[name] for name in columns}
        as_texts = {name for name, type in types.items() if self._is_kept(name, type, kept)}
        for name in as_texts:
            types[name] = pa.string() if pa.types.is_timestamp(types[name]) else DIGITS
        for block, rows in zip(self._blocks(file, open), self._facts[file].rows, strict=True):
            yield Piece(rows, partial(self._read, file, block, types, as_texts))

    def _read(
        self, file: str, block: bytes, types: Mapping[str, pa.DataType], as_texts: Collection[str]
    ) -> Iterator[pa.Table]:
        options = pa.json.ParseOptions(
            explicit_schema=pa.schema(types), unexpected_field_behavior="ignore"
        )
        with told_of_labels(file, sorted(self._long & set(as_texts))):
            table = pa.json.read_json(io.BytesIO(block), parse_options=options)
        read = {n: pc.cast(table[n], pa.string()) if n in as_texts else table[n] for n in types}
        yield pa.table(read)

    def _blocks(self, file: str, open: Open) -> Iterator[bytes]:
        with open(file) as stream:
            yield from lines_of(stream)


def _with(facts: _Facts, block: pa.Table) -> _Facts:
    """What is known after one more block, which has types of its own."""
    types = dict(facts.types)
    for name, values in zip(block.column_names, block.columns, strict=True):
        types[name] = _both(name, types.get(name, pa.null()), values.type)
    long = {n for n in block.column_names if _has_long(block[n])}
    return replace(facts, types=types, long=facts.long | long, rows=(*facts.rows, len(block)))


def _both(name: str, before: pa.DataType, now: pa.DataType) -> pa.DataType:
    """The type of a column by the types of two of its blocks, as pyarrow's reader chooses it."""
    if {before, now} == {pa.timestamp("s"), pa.string()}:
        return pa.string()
    try:
        schemas = [pa.schema({name: type}) for type in (before, now)]
        return pa.unify_schemas(schemas, promote_options="permissive").field(name).type
    except pa.ArrowException:
        raise pa.ArrowInvalid(f"Column(/{name}) changed from {before} to {now}") from None


def _has_long(values: pa.ChunkedArray) -> bool:
    if not pa.types.is_floating(values.type) and not pa.types.is_integer(values.type):
        return False
    beyond = (pc.greater(values, LARGEST_INTEGER), pc.less(values, -LARGEST_INTEGER))
    return bool(pc.any(pc.or_(*beyond)).as_py())
