"""The section `data` of a config: where the rows are, and what their columns mean."""

from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from flows.config.form import MARK, Section, distinct
from flows.config.names import OF_SCORES, TREAT
from flows.config.parts.outcomes import (
    OutcomeNames,
    OutcomeType,
    Positive,
    check_known,
    of_outcome,
)
from flows.config.values import Address, Encoding, KnownPropensity, ShownLabel
from flows.dates.partitions import check_length, check_source, names_dates
from flows.dates.queries import DUCKDB, Query, check_database, check_query, days_named
from flows.messages.limits import shown

_LONGEST = 180  # letters of an outcome's name in the name of a file
# A row's id may name its cluster, and a stratum may be a feature. No column has two other roles.
_SHARED_ROLES = ({"row_id", "group"}, {"features", "strata"})


class ReadConfig(Section):
    """How data are read: of a text file, such as a CSV, what is empty is sniffed."""

    separator: str | None = Field(
        None, min_length=1, max_length=1, description="Between the fields of a row"
    )
    encoding: Encoding | None = Field(
        None, description="Of the file's bytes, such as utf-8 or cp1252"
    )
    decimal: Literal[".", ","] | None = Field(None, description="Mark before decimals")
    thousands: Annotated[Literal["", ",", ".", " ", "'"], MARK] | None = Field(
        None, description="Mark between groups of three digits"
    )
    missing: list[str] = Field([], description="Fields that are missing values, as empty ones are")
    types: dict[str, Literal["text", "number"]] = Field(
        {},
        description="text or number, by column whose type isn't to be sniffed, such as "
        '{"zip": "text"}',
    )
    dates: list[str] = Field(
        [], description="Columns of dates or times, also as 31.12.2024 or 12/31/2024"
    )

    @model_validator(mode="after")
    def _one_meaning_each(self) -> Self:
        if self.decimal is not None and self.decimal == self.thousands:
            raise ValueError(f"expected two marks; found {self.decimal!r} as both. Change one.")
        twice = [name for name in self.dates if name in self.types]
        if twice:
            raise ValueError(f"expected a type or a date; found both for {twice[0]!r}. Keep one.")
        return self


class DataConfig(Section):
    """Where the rows are, and what their columns mean."""

    source: Annotated[Address, Field(min_length=1)] | None = Field(
        description="CSV, Parquet, Feather or JSON lines: a file, folder, glob or fsspec URL",
    )
    sql: Annotated[str, AfterValidator(check_query)] | None = Field(
        None, min_length=1, description="In place of a source: a query, which may name :date"
    )
    url: Annotated[Address, AfterValidator(check_database)] | None = Field(
        None,
        description="The query's database: postgresql://host/database, sqlite:///file, or "
        "duckdb:// for a query of the source's rows",
    )
    last: Annotated[str, AfterValidator(check_length)] | None = Field(
        None,
        description="Of a source that names dates as {date:%Y-%m-%d}: how far the rows reach back, "
        "such as 28 days; empty for the logical date's own",
    )
    missing: Literal["refuse", "warn"] = Field(
        "refuse", description="What a date without files means"
    )
    outcome: OutcomeNames = Field(
        description="Column of the outcome; of several, the first is what the run is about"
    )
    outcome_type: OutcomeType = Field(
        "regression",
        description="regression: numbers; binary: 0/1, true/false or two labels; by outcome, "
        'such as {"visit": "binary"}, where they differ',
    )
    positive: Positive | None = Field(
        None,
        description="Of a binary outcome given as two labels, the one that counts as 1; by outcome "
        'where they differ, such as {"visit": "yes"}',
    )
    treatment: str = Field(description="Column of the treatment: two or more arms")
    control: ShownLabel = Field(description="Label of the arm that others are compared with")
    arms: list[ShownLabel] | None = Field(
        None, description="Labels to use, the control among them; omit for every label"
    )
    features: list[str] | None = Field(
        None, description="Columns known before treatment; omit for every column without a role"
    )
    row_id: str | None = Field(None, description="Column carried through to the estimates")
    weight: str | None = Field(None, description="Column of sampling weights")
    group: str | None = Field(
        None, description="Column of clusters: folds keep them whole, errors allow for them"
    )
    strata: str | None = Field(None, description="Column within which arms were drawn at random")
    time: str | None = Field(
        None,
        description="Column of dates, times or numbers: folds and the hold-out follow it, so that "
        "no model predicts rows of its own past",
    )
    design: Literal["auto", "randomised", "observational"] = Field(
        "auto",
        description="randomised: the arms' shares, by strata, are the propensities; auto and "
        "observational: they are estimated, and auto says whether the data look randomised",
    )
    propensity: KnownPropensity = Field(
        None,
        description="Known probabilities: of the treated arm; or by arm, as numbers or columns, "
        'such as {"mail": 0.5}',
    )
    drawn: str | None = Field(
        None,
        description="Column that is 1 where chance drew the arm, and 0 where a policy did: the "
        "first compare models",
    )
    read: ReadConfig = Field(
        ReadConfig(), description="How a text file is read; what is empty is sniffed from it"
    )

    @field_validator("source")
    @classmethod
    def _names_partitions(cls, value: str | None) -> str | None:
        return value if value is None else check_source(value)

    @model_validator(mode="before")
    @classmethod
    def _no_source_beside(cls, value: Any) -> Any:
        """Leave the source out where a database is named; else it is missing."""
        named = isinstance(value, dict) and value.get("url") is not None
        return {"source": None, **value} if named else value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.sql is None) != (self.url is None):
            found = "sql alone" if self.url is None else "url alone"
            raise ValueError(f"expected sql together with its url; found {found}. Add the other.")
        if (self.source is None) != (self.url not in (None, DUCKDB)):
            found = "none" if self.source is None else f"a source beside {self.url}"
            raise ValueError(
                "expected a source, or sql with the url of a database; with duckdb://, sql of the "
                f"source's rows; found {found}. Name one."
            )
        return self

    @model_validator(mode="after")
    def _last_of_dates(self) -> Self:
        if self.last is not None and not self.names_dates:
            raise ValueError(
                "last: expected with a source that names dates, such as "
                "data/{date:%Y-%m-%d}.parquet, or a query with :begin; found "
                f"{shown(repr(self.sql or self.source))}. Set it to null."
            )
        return self

    @property
    def place(self) -> str:
        """Where the rows are: the files, or the database."""
        return self.source or self.url or ""

    @property
    def query(self) -> Query | None:
        """What the database is asked for; None where all rows of files are read."""
        asks = self.sql is not None and self.url is not None
        return Query(self.sql, self.url, self.row_id) if asks else None  # type: ignore[arg-type]

    @property
    def told(self) -> dict[str, str]:
        """Where the rows are from, for records of the run."""
        return {"source": self.place} | ({} if self.sql is None else {"sql": self.sql})

    @property
    def asked_of(self) -> str:
        """What a deployment is allowed to read: its files, or what it asks a database."""
        return self.place if self.query is None else self.query.asked_of

    @property
    def names_dates(self) -> bool:
        """Whether the rows depend on the logical date."""
        return names_dates(self.source or "") or bool(self.sql and days_named(self.sql))

    @property
    def reads_from(self) -> bool:
        """Whether rows from before the window's first day are left out."""
        return names_dates(self.source or "") or "begin" in days_named(self.sql or "")

    @property
    def outcomes(self) -> list[str]:
        """Columns of the outcomes."""
        return [self.outcome] if isinstance(self.outcome, str) else self.outcome

    @property
    def first_outcome(self) -> str:
        """Column of the only outcome, or of the one that the run is about."""
        return self.outcomes[0]

    @property
    def is_binary(self) -> bool:
        """Whether the only outcome, or the first, is of two classes."""
        return bool(of_outcome(self.outcome_type, self.first_outcome) == "binary")

    def of_outcome(self, name: str) -> Self:
        """The section of one of the outcomes alone."""
        one = {
            "outcome": name,
            "outcome_type": of_outcome(self.outcome_type, name, "regression"),
            "positive": of_outcome(self.positive, name),
        }
        if one["outcome_type"] != "binary" and not isinstance(self.outcome, str):
            one["positive"] = None
        return self.model_copy(update=one)

    @field_validator("outcome")
    @classmethod
    def _some_outcomes(cls, value: str | list[str]) -> str | list[str]:
        if isinstance(value, str):
            return value
        for name in value:  # a model has files by outcome
            if len(quote(name)) > _LONGEST:
                raise ValueError(
                    f"expected names of at most {_LONGEST} letters, of which one that isn't A to Z "
                    f"counts for several; found {shown(repr(name))}. Rename the column."
                )
        return distinct(value, "the column of an outcome")

    @field_validator("outcome_type", "positive")
    @classmethod
    def _of_known(cls, value: Any, info: ValidationInfo) -> Any:
        names = info.data.get("outcome", [])  # none where that is wrong
        if names:
            check_known(value, [names] if isinstance(names, str) else names)
        return value

    @field_validator("arms", "features")
    @classmethod
    def _each_once(cls, value: list[Any] | None) -> list[Any] | None:
        return value if value is None else distinct(value, "null for all")

    @field_validator("row_id")
    @classmethod
    def _own_name(cls, value: str | None) -> str | None:
        if value is not None and (value in ("held_out", TREAT) or value.startswith(OF_SCORES)):
            raise ValueError(f"the estimates have a column {value!r} of their own: rename yours.")
        return value

    @field_serializer("propensity", when_used="json")
    def _keys_as_text(self, value: Any) -> Any:
        # JSON needs texts as keys: those that name arms in columns.
        from metalearners.data.estimate_columns import arm_name

        return {arm_name(k): v for k, v in value.items()} if isinstance(value, dict) else value

    @property
    def roles(self) -> dict[str, str]:
        """Column by role, features left out."""
        names = ("treatment", "row_id", "weight", "group", "strata", "drawn", "time")
        several = not isinstance(self.outcome, str)
        roles = {f"outcome.{c}" if several else "outcome": c for c in self.outcomes}
        roles |= {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if isinstance(self.propensity, dict):
            columns = {arm: p for arm, p in self.propensity.items() if isinstance(p, str)}
            roles |= {f"propensity.{arm}": column for arm, column in columns.items()}
        return roles

    @property
    def labels(self) -> list[str]:
        """Columns of labels, which stay as they are written."""
        columns = (self.treatment, self.row_id, self.group, self.strata)
        return [column for column in columns if column is not None]

    @model_validator(mode="after")
    def _one_design(self) -> Self:
        if self.strata is not None and self.design == "observational":
            raise ValueError(
                "strata: expected with the design randomised or auto; found observational, which "
                "draws no arms. Set strata to null."
            )
        if self.propensity is not None and (self.strata is not None or self.design == "randomised"):
            raise ValueError(
                "propensity: expected without strata and the design randomised, which give the "
                "arms' shares as probabilities; found both. Keep one of the two."
            )
        return self

    @model_validator(mode="after")
    def _some_drawn(self) -> Self:
        if self.drawn is not None and (self.propensity is not None or self.design == "randomised"):
            raise ValueError(
                "drawn: expected without known propensities and the design randomised, which say "
                "of all rows how their arms were drawn; found both. Set drawn to null."
            )
        return self

    @model_validator(mode="after")
    def _positive_of_two(self) -> Self:
        types = {n: of_outcome(self.outcome_type, n, "regression") for n in self.outcomes}
        labelled = list(self.positive) if isinstance(self.positive, dict) else self.outcomes
        found = {types[name] for name in labelled}
        each = isinstance(self.positive, dict)
        if self.positive is not None and (
            "regression" in found if each else found == {"regression"}
        ):
            raise ValueError(
                "positive: expected with outcome_type: binary; found regression. Set it to null, "
                "or say binary."
            )
        return self

    @model_validator(mode="after")
    def _one_role_each(self) -> Self:
        users: dict[str, set[str]] = {column: {"features"} for column in self.features or []}
        for role, column in self.roles.items():
            # Arms may share a column of probabilities.
            users.setdefault(column, set()).add(role.partition(".")[0])
        for column, roles in users.items():
            if len(roles) > 1 and roles not in _SHARED_ROLES:
                raise ValueError(
                    f"column {column!r} is in two roles, {' and '.join(sorted(roles))}: "
                    "give it one."
                )
        return self
