"""What sources of rows have in common: columns with names, which are read when asked for."""

import contextlib
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa

from flows.errors import InputError, UnreadableError
from flows.inputs.formats.column import Column
from flows.inputs.formats.column_types import Marks
from flows.inputs.formats.frames import as_frame
from flows.inputs.formats.text_files import Asked, Habits
from metalearners._typing import Array

TECHNICAL = re.compile(r"^(|Unnamed: \d+|__index_level_\d+__)$")
"""Names that a program wrote for itself, as of pandas' index."""


@dataclass(frozen=True)
class Table:
    """Rows of a source.

    Parameters
    ----------
    frame : DataFrame
        In the order of the files, and of the rows in them.
    notes : list of str
        What a reader should know of how they were read.
    faults : dict
        What is wrong, by column that is numbers but for a few texts.
    habits : Habits
        How its numbers and dates are written.
    begins : (N,) array of datetime64, optional
        When the partition of each row begins; None where that isn't known.
    """

    frame: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    habits: Habits = field(default_factory=Habits)
    begins: Array | None = None


class Source(ABC):
    """Rows of columns, which have names and are read when they are asked for."""

    _source: str  # what it is called in messages
    _asked: Asked

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """Names of the columns."""

    @property
    def data_names(self) -> list[str]:
        """Names of the columns but for those that a program wrote for itself, as pandas' index."""
        return [name for name in self.names if not TECHNICAL.match(name)]

    def read(
        self,
        columns: Sequence[str],
        labels: Collection[str] = (),
        types: Mapping[str, str] | None = None,
    ) -> Table:
        """Columns of all rows.

        Parameters
        ----------
        columns : sequence of str
            Their names.
        labels : collection of str
            Columns of labels: in a text file, their fields are kept as they are written.
        types : mapping
            ``text`` or ``number``, by column that is to be read so, whatever it looks like.

        Raises
        ------
        InputError
            If they can't be read, or there are no rows.
        """
        with reading(self._source):
            found = self._columns(columns, labels, {**self._asked.of_columns, **(types or {})})
            values = {name: found[name].values for name in columns}
            frame = as_frame(values, labels, self._source)
        if not len(frame):
            raise InputError(f"Expected rows in {self._source}; found none.")
        notes = [f"{name}: {found[name].note}." for name in columns if found[name].note]
        faults = {name: found[name].fault for name in columns if found[name].fault}
        orders = {name: found[name].order for name in columns if found[name].order}
        habits = Habits(self._marks, orders)
        return Table(frame, [*self.notes, *notes], faults, habits, self._begins)

    def whole(self) -> Any:
        """All columns, for a query of them."""
        of_columns = self._asked.of_columns
        asked = {name: type for name, type in of_columns.items() if name in self.names}
        with reading(self._source):
            found = self._columns(self.names, (), asked)
        return pa.table({name: column.values for name, column in found.items()})

    @abstractmethod
    def _columns(
        self, columns: Sequence[str], labels: Collection[str], types: Mapping[str, str]
    ) -> dict[str, Column]: ...

    @property
    def notes(self) -> list[str]:
        """What a reader should know of how all columns are read."""
        return []

    @property
    def _marks(self) -> Marks | None:
        """How its numbers are written, if they are written out."""
        return None

    @property
    def _begins(self) -> Array | None:
        """When the partition of each row that was read begins, where that is known."""
        return None


@contextlib.contextmanager
def reading(source: str) -> Iterator[None]:
    """Turn what a file system or a format raises into an UnreadableError."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # each file system has errors of its own
        # pyarrow says three times over where it was before it says what was wrong.
        found = re.sub(r".*source '[^']*': (Invalid: )?", "", " ".join(str(error).split()))
        raise UnreadableError(
            f"Expected data, as its name says, at {source}; it can't be read: "
            f"{found[:300].rstrip('.')}. Check that it is whole and of that format, and that a "
            "column has one type throughout."
        ) from None
