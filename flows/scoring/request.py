"""What is asked of a scoring: a model, rows, and where the scores go, at a logical date."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from flows.config.form import Section
from flows.config.names import CHAMPION, DEFAULT_OUTPUT, DEFAULT_REGISTRY
from flows.config.reading import parse
from flows.config.sections import LogicalDate
from flows.config.values import Address, Flag, Number, Place
from flows.dates.logical import check_zone, date_at, moment_of
from flows.dates.partitions import Window, check_source, names_dates, partitions_of
from flows.dates.queries import DUCKDB, Query, check_database, check_query, is_database, table_at
from flows.messages.limits import shown
from flows.scoring.chosen import opened_model
from flows.scoring.files import Each, NewRows, Scored, at_once, score_batches
from flows.scoring.model import Options
from flows.scoring.targets import FileTarget, TableTarget, Target

_RUNS = Path(DEFAULT_OUTPUT)
_ANY_DAY = Window(datetime(2000, 1, 1))


def _at(place: str, window: Window) -> str:
    """A place at a date, if its name has one."""
    return partitions_of(place, window)[0] if names_dates(place) else place


def _check_output(place: str) -> str:
    check_source(place)
    if is_database(place):
        table_at(_at(place, _ANY_DAY))
    return place


# The form of the UI sends an empty text where nothing is asked.
Sql = Annotated[
    Annotated[str, AfterValidator(check_query)] | None,
    BeforeValidator(lambda sql: None if sql == "" else sql),
]


Level = Annotated[Number, BeforeValidator(lambda level: 0.0 if level in (None, "") else level)]


class ScoreConfig(Section):
    """What is scored, by which model, and where the scores go."""

    model: str = Field(CHAMPION, min_length=1)
    sql: Sql = None
    input: Annotated[Address, AfterValidator(check_source)] = Field(min_length=1)
    output: Annotated[Address, AfterValidator(_check_output)] = Field(min_length=1)
    strict: Flag = False
    recommend: Flag = False
    intervals: Level = Field(0.0, ge=0, lt=1)
    overwrite: Flag = False
    date: LogicalDate = None
    timezone: Annotated[str, AfterValidator(check_zone)] = "UTC"
    registry: Place = DEFAULT_REGISTRY

    @field_validator("input")
    @classmethod
    def _of_one_kind(cls, value: str, others: ValidationInfo) -> str:
        place, asks = _at(value, _ANY_DAY), others.data.get("sql") is not None
        if place.startswith(DUCKDB):
            raise ValueError(
                "expected the files themselves, whose rows sql calls rows, as DuckDB is asked for "
                f"them; found {shown(repr(value))}. Name the files."
            )
        if is_database(place) and "sql" in others.data:  # it was right
            (check_database if asks else table_at)(place)
        return value

    @property
    def options(self) -> Options:
        """What is asked beside estimates."""
        return Options(self.strict, self.recommend, self.intervals)

    def window(self, moment: datetime) -> Window:
        """The date that names and queries mean, of a scoring at a moment."""
        date = self.date or date_at(moment, self.timezone)
        return Window(moment_of(date, self.timezone).replace(tzinfo=None))

    def rows(self, window: Window) -> NewRows:
        """The rows of a date."""
        place = _at(self.input, window)
        if self.sql is not None:
            url = place if is_database(place) else DUCKDB
            return NewRows(place, Query(self.sql, url), window)
        return NewRows(place, table_at(place).query) if is_database(place) else NewRows(place)

    def target(self, window: Window) -> Target:
        """Where the scores of a date go."""
        place = _at(self.output, window)
        if not is_database(place):
            return FileTarget(Path(place), self.overwrite)
        query = "" if self.sql is None else f", {self.sql}"
        return TableTarget(table_at(place), f"scores of {self.input}{query}")


def request_of(arguments: Mapping[str, Any]) -> ScoreConfig:
    """What a command or a flow was asked: either may have other arguments, and lack some.

    Raises InputError with a line for each mistake.
    """
    asked = {name: arguments[name] for name in ScoreConfig.model_fields if name in arguments}
    return parse(ScoreConfig, asked, "score: ")


@dataclass(frozen=True)
class Report:
    """What a scoring did.

    Parameters
    ----------
    model : str
        Name of the run whose model it is.
    input, output : str
        Where the rows are, and where the scores went.
    date : datetime
        Which the names of both mean.
    scored : Scored
        What was seen in the rows.
    """

    model: str
    input: str
    output: str
    date: datetime
    scored: Scored


def score(asked: ScoreConfig, moment: datetime, each: Each = at_once) -> Report:
    """Score rows at a moment, which is the logical date unless one is asked for.

    Raises InputError as `score_batches`, and if there is no such model.
    """
    window = asked.window(moment)
    rows, target = asked.rows(window), asked.target(window)
    with opened_model(asked.model, _RUNS, asked.registry) as (name, folder):
        scored = score_batches(folder, rows, target, asked.options, each)
    return Report(name, rows.source, str(target), window.date, scored)
