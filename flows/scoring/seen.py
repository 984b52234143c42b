"""What was seen in the rows that were scored: counted over all batches, and told once."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from flows.errors import InputError
from flows.inputs.batches.source import RowBatch
from flows.inputs.formats.column import Column, taken_as_missing
from metalearners.data.schema import Unseen

TRUTHS, NUMBERS = "true/false", "numbers"
_FEW = 5  # levels that a warning names


@dataclass
class Seen:
    """What was seen in some rows.

    Parameters
    ----------
    rows : int
        Their number.
    strata : int
        How many are of strata that the model hasn't seen.
    levels : dict of Unseen
        Levels that the model hasn't seen, by feature.
    missing : dict
        How often each field was taken as missing, by column.
    notes : dict
        How columns were read, by column.
    written : dict
        Whether texts of numbers are `TRUTHS` or `NUMBERS`, by column.
    """

    rows: int = 0
    strata: int = 0
    levels: dict[str, Unseen] = field(default_factory=dict)
    missing: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, batch: RowBatch, levels: Mapping[str, Unseen], strata: int) -> "Seen":
        """What was seen in a batch."""
        columns = batch.columns
        return cls(
            batch.rows,
            strata,
            {name: _sum(None, unseen) for name, unseen in levels.items()},
            {name: dict(c.missing) for name, c in columns.items() if c.missing},
            {name: c.note for name, c in columns.items() if c.note and not c.missing},
            {name: how for name, c in columns.items() if (how := _written(c)) is not None},
        )

    def add(self, other: "Seen", source: str) -> None:
        """Add what was seen in other rows.

        Raises InputError if a column has true/false in some rows and numbers in others.
        """
        self.rows += other.rows
        self.strata += other.strata
        for name, unseen in other.levels.items():
            self.levels[name] = _sum(self.levels.get(name), unseen)
        for name, fields in other.missing.items():
            counts = self.missing.setdefault(name, {})
            for text, n in fields.items():
                counts[text] = counts.get(text, 0) + n
        self.notes |= other.notes
        for name, how in other.written.items():
            if self.written.setdefault(name, how) != how:
                raise InputError(
                    f"Expected numbers, or true/false, in all rows of column {name!r} of {source}; "
                    "found both. Write true as 1 and false as 0."
                )

    def told(self, notes: list[str]) -> list[str]:
        """A line for each thing, after notes on the whole source."""
        of_columns = {**self.notes, **{n: taken_as_missing(t) for n, t in self.missing.items()}}
        told = [*notes, *(f"{name}: {note}." for name, note in of_columns.items())]
        if self.strata:
            found = unseen_strata(self.strata, self.rows)
            told.append(f"{found}: they get the arms' shares over all rows.")
        return told + [unseen.told(name, self.rows) for name, unseen in self.levels.items()]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Seen":
        """What `to_json` gave."""
        levels = {n: Unseen(u["rows"], tuple(u["levels"])) for n, u in values["levels"].items()}
        return cls(**{**values, "levels": levels})


def unseen_strata(n: int, of: int) -> str:
    """How many rows are of strata that the model hasn't seen."""
    return f"{n} of {of} rows are of strata that the model hasn't seen"


def _written(column: Column) -> str | None:
    values = column.values
    if values.null_count == len(values) and not column.missing:
        return None
    if pa.types.is_boolean(values.type):
        return TRUTHS
    return NUMBERS if column.missing or pa.types.is_floating(values.type) else None


def _sum(one: Unseen | None, other: Unseen) -> Unseen:
    levels = [*(one.levels if one else ()), *other.levels]
    return Unseen((one.rows if one else 0) + other.rows, tuple(dict.fromkeys(levels))[:_FEW])
