"""Rows of any number are scored batch by batch: into a file or a table, or in memory."""

import contextlib
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa

from flows.dates.partitions import Window
from flows.dates.queries import Query
from flows.errors import InputError
from flows.inputs.batches.queries import QueryBatches
from flows.inputs.batches.source import Batches, RowBatch, open_batches
from flows.inputs.formats.text_files import Asked
from flows.inputs.source import IN_MEMORY, open_source
from flows.messages.secrets import check_address
from flows.scoring.model import Options, Prepared, Scorer
from flows.scoring.outputs import Output
from flows.scoring.parts import Part, Parts, parts_beside
from flows.scoring.seen import Seen
from flows.scoring.targets import FileTarget, Target
from metalearners.bundle import versions

T = TypeVar("T")
_BATCH_BYTES = 32 << 20  # of a batch's values: memory holds several copies of some batches
_BYTES_OF = {"number": 8}  # of a value; others are objects of Python
_BYTES_OF_OBJECT = 64
_MOST_ROWS = 1 << 18
_PLAIN = Options()
_AT_ONCE = 2  # batches, with half of the cores each: the threads of one wait for its last alone


# Has a batch scored, by its number; of one that was kept before there is nothing to score.
Each = Callable[[int, Callable[[], pd.DataFrame] | None], pd.DataFrame | None]


@dataclass(frozen=True)
class NewRows:
    """The rows to score.

    Parameters
    ----------
    source : str
        What messages call them: of files, their place.
    query : Query, optional
        What a database is asked for.
    window : Window, optional
        The days that the query may name.
    frame : DataFrame, optional
        Them, if they are in memory.
    """

    source: str
    query: Query | None = None
    window: Window | None = None
    frame: Any = None

    def check(self, where: str) -> None:
        """Refuse an address with secrets, before anything is read; `where` begins the message."""
        try:
            check_address(self.source)
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None

    def open(self, asked: Asked, row_id: str | None) -> Batches:
        """Read the names of their columns; the rows of a query come in the order of `row_id`."""
        if self.query is not None:
            files = partial(open_source, self.source, asked)
            return QueryBatches(self.query, asked, self.window, row_id, files)
        return open_batches(self.source, asked, self.frame)


@dataclass(frozen=True)
class Scored:
    """What was seen in the rows that were scored, and what to tell of them."""

    seen: Seen
    told: list[str]


def score_file(model: Path, source: str, output: Path, strict: bool = False) -> int:
    """Write the estimates for the rows of a source to a file; warnings say what was seen.

    Returns
    -------
    int
        Number of rows.

    Raises InputError as `score_batches`.
    """
    scored = score_batches(model, NewRows(source), FileTarget(output), Options(strict))
    _warn(scored.told)
    return scored.seen.rows


def at_once(number: int, score: Callable[[], pd.DataFrame] | None) -> pd.DataFrame | None:
    """Score a batch here and now."""
    return None if score is None else score()


def score_batches(
    model: Path,
    rows: NewRows,
    target: Target,
    options: Options = _PLAIN,
    each: Each = at_once,
) -> Scored:
    """Write the estimates for rows to a target, which has them whole or not at all.

    Batches that were scored by a process that was killed are found again: the same call goes on
    from there. Levels of features that the model hasn't seen count as missing, and rows of such
    strata get the arms' shares over all rows; if strict, both are refused. If asked to recommend,
    the arm that each learner would give follows its estimates.

    Raises InputError if the model is damaged, the rows don't fit it, the target can't be written,
    or another process writes it.
    """
    rows.check("--input")
    target.check(rows.source)
    with _refusing(rows.source):
        scoring = Scoring.open(Scorer.load(model, options), rows)
        scoring.scorer.share_cores(_AT_ONCE)
        made_of = {**scoring.made_of, "as": target.kind.__name__}
        with parts_beside(target.beside, made_of, target) as parts:
            seen = _write(scoring, target, parts, each)
            scoring.check_unchanged()
            target.publish(parts.unfinished)
    return Scored(seen, seen.told(scoring.rows.notes))


def score_rows(
    model: Path | Scorer,
    rows: Any,
    options: Options = _PLAIN,
    where: str = "--input",
) -> pd.DataFrame:
    """The estimates for the rows of a source, or of a data frame in memory, as `score_file`.

    Those for a pandas data frame have its index. Messages about the source begin with `where`. Of a
    model that was loaded before, what was asked then is.
    """
    is_place = isinstance(rows, (str, Path))
    new = NewRows(str(rows)) if is_place else NewRows(IN_MEMORY, frame=rows)
    new.check(where)
    with _refusing(new.source):
        scorer = model if isinstance(model, Scorer) else Scorer.load(model, options)
        scoring = Scoring.open(scorer, new)
        seen, found = Seen(), []
        with _ahead(scoring.batches()) as batches:
            for _, batch in batches:
                if batch is not None:  # all are wanted
                    found.append(scoring.score(batch))
                    seen.add(batch.seen, new.source)
    _warn(seen.told(scoring.rows.notes))
    estimates = pd.concat(found, ignore_index=True)
    return estimates.set_axis(rows.index) if isinstance(rows, pd.DataFrame) else estimates


def _warn(told: list[str]) -> None:
    for line in told:
        warnings.warn(line, stacklevel=3)


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
    opened : callable
        Opens the rows once more.
    """

    scorer: Scorer
    rows: Batches
    source: str
    kinds: dict[str, str]
    identity: dict[str, dict[str, str]]
    opened: Callable[[], Batches]

    @classmethod
    def open(cls, scorer: Scorer, new: NewRows) -> "Scoring":
        """Read the names of the columns of the rows; errors as for `score_batches`."""
        opened = partial(new.open, scorer.asked, scorer.data.row_id)
        rows = opened()
        kinds = scorer.kinds(rows.names, new.source)
        return cls(scorer, rows, new.source, kinds, rows.identity, opened)

    @property
    def size(self) -> int:
        """Rows of a batch: fewer where there are more columns."""
        arms, learners = len(self.scorer.bundle.arms), len(self.scorer.bundle.learners)
        width = 8 * 3 * arms * learners
        width += sum(_BYTES_OF.get(kind, _BYTES_OF_OBJECT) for kind in self.kinds.values())
        return min(_MOST_ROWS, max(1, _BATCH_BYTES // width))

    @property
    def made_of(self) -> dict[str, Any]:
        """What estimates depend on, but for rows that may change unseen."""
        return {
            "model": self.scorer.bundle.digest,
            "rows": self.identity,
            "kinds": self.kinds,
            "size": self.size,
            **vars(self.scorer.options),
            "versions": {**versions(), **{n: version(n) for n in ("pyarrow", "uplift-flows")}},
        }

    @property
    def _shows_changes(self) -> bool:
        """Whether more than its size tells that a file has changed."""
        return all(set(about) - {"size"} for about in self.identity.values())

    def batches(self, parts: Parts | None = None) -> Generator[tuple[int, Prepared | None]]:
        """The rows by number of the batch, without those of batches that have a part.

        Raises InputError if the model can't score them, or there are none.
        """
        known = parts if self._shows_changes else None

        def is_wanted(number: int) -> bool:
            return known is None or not known.has(number)

        # Begun here: what takes the batches may be a thread, which no one listens to.
        batches = self.rows.batches(self.kinds, self.size, is_wanted, "score")
        return self._prepared(batches, None if self._shows_changes else parts)

    def _prepared(
        self, batches: Iterator[RowBatch], parts: Parts | None
    ) -> Generator[tuple[int, Prepared | None]]:
        """Batches as learners take them; `parts` are those that only the rows themselves tell."""
        batch = None
        for batch in batches:
            known = parts is not None and parts.has(batch.number, batch.digest)
            with _refusing(self.source, batch.where):
                wanted = batch.columns and not known
                rows = self.scorer.prepare(batch, self.source) if wanted else None
            yield batch.number, rows
        if batch is None:
            raise InputError(f"Expected rows in {self.source}; found none.")

    def score(self, rows: Prepared) -> pd.DataFrame:
        """The estimates for a batch, after the identity of each row."""
        with _refusing(self.source, rows.where):
            return self.scorer.score(rows)

    def columns(self, rows: Prepared) -> pa.Schema:
        """The columns of the output, as a batch tells them."""
        with _refusing(self.source, rows.where):
            return self.scorer.columns(rows)

    def identities(self) -> Iterator[pa.ChunkedArray]:
        """What the column of the identity has, read once more while batches are."""
        name = str(self.scorer.data.row_id)
        for batch in self.opened().batches({name: self.kinds[name]}, _MOST_ROWS):
            yield batch.columns[name].values

    def check_unchanged(self) -> None:
        """Refuse rows that changed since they were opened."""
        if self.rows.identity != self.identity:
            raise InputError(
                f"Expected rows that stay as they are while they are scored; the files of "
                f"{self.source} have changed. Score them again."
            )


def _write(scoring: Scoring, target: Target, parts: Parts, each: Each) -> Seen:
    """Write all rows to the unfinished file, from the parts that are there, and those missing.

    While some batches are scored, the next is read and prepared, and the one before is written.
    """
    seen = Seen()
    writing: deque[Future[Seen]] = deque()
    parts.unfinished.unlink(missing_ok=True)  # that of a process that was killed
    with (
        open(parts.unfinished, "xb") as file,
        ThreadPoolExecutor(_AT_ONCE) as scorers,
        ThreadPoolExecutor(1) as writer,
        _ahead(scoring.batches(parts)) as batches,
    ):
        output = target.kind(file)
        is_checked = False
        for number, rows in batches:
            if rows is not None and not is_checked:
                target.check_columns(partial(scoring.columns, rows), scoring.identities)
                is_checked = True
            score = None if rows is None else partial(scoring.score, rows)
            # Prefect knows the run of a task by the context.
            estimates = scorers.submit(copy_context().run, each, number, score)
            writing.append(writer.submit(_add, output, parts, number, rows, estimates))
            if len(writing) > _AT_ONCE:
                seen.add(writing.popleft().result(), scoring.source)
        for last in writing:
            seen.add(last.result(), scoring.source)
        output.finish()
        file.flush()
        os.fsync(file.fileno())
    return seen


def _add(
    output: Output,
    parts: Parts,
    number: int,
    rows: Prepared | None,
    scored: Future[pd.DataFrame | None],
) -> Seen:
    """Add a batch to the output: its part is made of estimates, or found where there are none."""
    estimates = scored.result()
    if rows is None or estimates is None:
        part = parts.find(number)
    else:
        part = Part(output.encode(estimates, rows.id_type, number == 0), rows.seen)
        parts.keep(number, part)
    output.add(part.content)
    return part.seen


@contextlib.contextmanager
def _ahead(items: Generator[T]) -> Iterator[Iterator[T]]:
    """Items, each of which is made while the one before is worked on, all in one thread."""
    end = object()

    def each() -> Iterator[T]:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item  # type: ignore[misc]

    with ThreadPoolExecutor(1) as pool:
        try:
            yield each()
        finally:
            pool.submit(items.close).result()  # a connection of SQLite ends where it began


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
