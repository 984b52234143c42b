"""Rows of any number are scored batch by batch: into a file, or in memory."""

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pandas as pd

from flows.config.files import check_file
from flows.errors import InputError
from flows.inputs.batches.source import Batches, RowBatch, open_batches
from flows.inputs.places import find_files
from flows.inputs.source import IN_MEMORY
from flows.messages.secrets import check_address
from flows.scoring.model import Prepared, Scorer
from flows.scoring.outputs import OUTPUTS, Output
from flows.scoring.parts import Part, Parts, parts_beside
from flows.scoring.seen import Seen
from metalearners.bundle import versions

T = TypeVar("T")
_LOCAL = ("file://", "local://")  # URLs of files of this machine
_BATCH_BYTES = 32 << 20  # of a batch's values: memory holds several copies of some batches
_BYTES_OF = {"number": 8}  # of a value; others are objects of Python
_BYTES_OF_OBJECT = 64
_MOST_ROWS = 1 << 18


def score_file(model: Path, source: str, output: Path, strict: bool = False) -> int:
    """Write the estimates for the rows of a source to a file, which appears whole.

    Batches that were scored by a process that was killed are found again: the same call goes on
    from there. Levels of features that the model hasn't seen count as missing, and rows of such
    strata get the arms' shares over all rows; if strict, both are refused.

    Returns
    -------
    int
        Number of rows.

    Raises InputError if the model is damaged, the rows don't fit it, the file can't be written, or
    another process writes it.
    """
    check_file(output, "--output")
    kind = OUTPUTS.get(output.suffix.lower())
    if kind is None:
        raise InputError(
            f"--output: expected a file whose name ends in {', '.join(OUTPUTS)}; found {output}."
        )
    _check_apart(output, source)
    with _refusing(source):
        scoring = Scoring.open(model, source, strict)
        with parts_beside(output, {**scoring.made_of, "as": kind.__name__}) as parts:
            seen = _write(scoring, kind, parts)
            scoring.check_unchanged()
            os.replace(parts.unfinished, output)
    seen.warn(scoring.rows.notes)
    return seen.rows


def score_rows(
    model: Path, rows: Any, strict: bool = False, where: str = "--input"
) -> pd.DataFrame:
    """The estimates for the rows of a source, or of a data frame in memory, as `score_file`.

    Those for a pandas data frame have its index. Messages about the source begin with `where`.
    """
    is_place = isinstance(rows, (str, Path))
    source = str(rows) if is_place else IN_MEMORY
    with _refusing(source):
        scoring = Scoring.open(model, source, strict, None if is_place else rows, where)
        seen, found = Seen(), []
        for _, batch in _ahead(scoring.batches()):
            if batch is not None:  # all are wanted
                found.append(scoring.score(batch))
                seen.add(batch.seen, source)
    seen.warn(scoring.rows.notes)
    estimates = pd.concat(found, ignore_index=True)
    return estimates.set_axis(rows.index) if isinstance(rows, pd.DataFrame) else estimates


@dataclass(frozen=True)
class Scoring:
    """A model, and rows that it scores.

    Parameters
    ----------
    scorer : Scorer
        The model.
    rows : Batches
        The rows.
    source : str
        Where they are.
    kinds : dict
        The columns that are read, each with what it is read as.
    identity : dict
        What the rows were when they were opened.
    """

    scorer: Scorer
    rows: Batches
    source: str
    kinds: dict[str, str]
    identity: dict[str, dict[str, str]]

    @classmethod
    def open(
        cls, model: Path, source: str, strict: bool, frame: Any = None, where: str = "--input"
    ) -> "Scoring":
        """Read a model, and the names of the columns of the rows; errors as for `score_file`."""
        try:
            check_address(source)
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
        scorer = Scorer.load(model, strict)
        rows = open_batches(source, scorer.asked, frame)
        kinds = scorer.kinds(rows.names, source)
        return cls(scorer, rows, source, kinds, rows.identity)

    @property
    def size(self) -> int:
        """Rows of a batch: fewer where there are more columns."""
        arms, learners = len(self.scorer.bundle.arms), len(self.scorer.bundle.learners)
        width = 8 * 3 * arms * learners
        width += sum(_BYTES_OF.get(kind, _BYTES_OF_OBJECT) for kind in self.kinds.values())
        return min(_MOST_ROWS, max(1, _BATCH_BYTES // width))

    @property
    def made_of(self) -> dict[str, Any]:
        """What estimates depend on; of rows that may change unseen, each scoring's is another."""
        return {
            "model": self.scorer.bundle.digest,
            "rows": self.identity,
            "once": "" if self._shows_changes else uuid4().hex,
            "kinds": self.kinds,
            "size": self.size,
            "strict": self.scorer.strict,
            "versions": {**versions(), **{n: version(n) for n in ("pyarrow", "uplift-flows")}},
        }

    @property
    def _shows_changes(self) -> bool:
        """Whether more than its size tells that a file has changed."""
        return all(set(about) - {"size"} for about in self.identity.values())

    def batches(
        self, is_wanted: Callable[[int], bool] = lambda number: True
    ) -> Iterator[tuple[int, Prepared | None]]:
        """The rows by number of the batch, without those of batches that aren't wanted.

        Raises InputError if the model can't score them, or there are none.
        """
        # Begun here: what takes the batches may be a thread, which no one listens to.
        batches = self.rows.batches(self.kinds, self.size, is_wanted, "score")
        return self._prepared(batches)

    def _prepared(self, batches: Iterator[RowBatch]) -> Iterator[tuple[int, Prepared | None]]:
        batch = None
        for batch in batches:
            with _refusing(self.source, batch.where):
                rows = self.scorer.prepare(batch, self.source) if batch.columns else None
            yield batch.number, rows
        if batch is None:
            raise InputError(f"Expected rows in {self.source}; found none.")

    def score(self, rows: Prepared) -> pd.DataFrame:
        """The estimates for a batch, after the identity of each row."""
        with _refusing(self.source, rows.where):
            return self.scorer.score(rows)

    def check_unchanged(self) -> None:
        """Refuse rows that changed since they were opened."""
        if self.rows.identity != self.identity:
            raise InputError(
                f"Expected rows that stay as they are while they are scored; the files of "
                f"{self.source} have changed. Score them again."
            )


def _write(scoring: Scoring, kind: type[Output], parts: Parts) -> Seen:
    """Write all rows to the unfinished file, from the parts that are there, and those missing.

    While one batch is scored, the next is read and prepared, and the one before is written.
    """
    seen = Seen()
    parts.unfinished.unlink(missing_ok=True)  # that of a process that was killed
    with open(parts.unfinished, "xb") as file, ThreadPoolExecutor(1) as pool:
        output = kind(file)
        writing: Future[Seen] | None = None
        for number, rows in _ahead(scoring.batches(lambda number: not parts.has(number))):
            estimates = None if rows is None else scoring.score(rows)
            if writing is not None:
                seen.add(writing.result(), scoring.source)
            writing = pool.submit(_add, output, parts, number, rows, estimates)
        if writing is not None:
            seen.add(writing.result(), scoring.source)
        output.finish()
        file.flush()
        os.fsync(file.fileno())
    return seen


def _add(
    output: Output,
    parts: Parts,
    number: int,
    rows: Prepared | None,
    estimates: pd.DataFrame | None,
) -> Seen:
    """Add a batch to the output: its part is made of estimates, or found where there are none."""
    if rows is None or estimates is None:
        part = parts.find(number)
    else:
        part = Part(output.encode(estimates, rows.id_type, number == 0), rows.seen)
        parts.keep(number, part)
    output.add(part.content)
    return part.seen


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Items, each of which is made while the one before is worked on."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item  # type: ignore[misc]


@contextlib.contextmanager
def _refusing(source: str, where: str = "") -> Iterator[None]:
    """Refuse what the bundle, the schema, or a model without missing values refuses."""
    try:
        yield
    except InputError as error:
        if not where:
            raise
        raise InputError(f"{where}{error}") from None
    except ValueError as error:
        raise InputError(f"{where}{source} can't be scored: {error}") from None


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
