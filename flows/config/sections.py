"""The config of a run: one frozen object of sections, which checks itself when it is made."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    create_model,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from flows.config.form import AUTO, MARK, as_form, described
from flows.config.names import DEFAULT_NAME, check_name
from flows.config.values import (
    Address,
    ClipRule,
    Encoding,
    Flag,
    Folder,
    KnownPropensity,
    Label,
    Number,
    Place,
    ShareBins,
    ShownLabel,
    Whole,
)
from flows.config.yaml_text import to_yaml
from flows.messages.limits import check_size, shown
from metalearners.registry import REGISTRY

LEARNERS = tuple(REGISTRY)


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra=as_form,
        field_title_generator=lambda key, _: key,
    )

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        check_size(value)
        return value


# A row's id may name its cluster, and a stratum may be a feature. No column has two other roles.
_SHARED_ROLES = ({"row_id", "group"}, {"features", "strata"})


class ReadConfig(_Section):
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
        {}, description="text or number, by column whose type isn't to be sniffed"
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


class DataConfig(_Section):
    """Where the rows are, and what their columns mean."""

    source: Address = Field(
        min_length=1,
        description="CSV, Parquet, Feather or JSON lines: a file, folder, glob or fsspec URL",
    )
    outcome: str = Field(description="Column of the outcome")
    outcome_type: Literal["regression", "binary"] = Field(
        "regression", description="regression: numbers; binary: 0/1, true/false or two labels"
    )
    positive: ShownLabel | None = Field(
        None, description="Of a binary outcome given as two labels, the one that counts as 1"
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
    time: SkipJsonSchema[str | None] = None
    design: Literal["auto", "randomised", "observational"] = Field(
        "auto",
        description="randomised: the arms' shares, by strata, are the propensities; auto and "
        "observational: they are estimated, and auto says whether the data look randomised",
    )
    propensity: KnownPropensity = Field(
        None, description="Known probabilities: of the treated arm, by arm, or columns by arm"
    )
    read: ReadConfig = Field(
        ReadConfig(), description="How a text file is read; what is empty is sniffed from it"
    )

    @field_validator("time")
    @classmethod
    def _not_yet(cls, value: str | None) -> None:
        if value is not None:
            raise ValueError("not available yet: forward-chaining folds. Set it to null.")

    @field_validator("arms", "features")
    @classmethod
    def _each_once(cls, value: list[Any] | None) -> list[Any] | None:
        return value if value is None else _distinct(value, "null for all")

    @field_validator("row_id")
    @classmethod
    def _own_name(cls, value: str | None) -> str | None:
        if value is not None and (value == "held_out" or value.startswith("cate.")):
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
        names = ("outcome", "treatment", "row_id", "weight", "group", "strata")
        roles = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
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
    def _positive_of_two(self) -> Self:
        if self.positive is not None and self.outcome_type != "binary":
            raise ValueError(
                f"positive: expected with outcome_type: binary; found {self.outcome_type}. Set it "
                "to null, or say binary."
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


class ModelSpec(_Section):
    """A base model: its class by import path, and its parameters."""

    estimator: str = Field(description="Import path, such as lightgbm.LGBMRegressor")
    params: dict[str, Any] = Field({}, description="Arguments of the class")

    @field_validator("params")
    @classmethod
    def _plain(cls, value: dict[str, Any]) -> dict[str, Any]:
        for part in _parts(value):
            if part is not None and not isinstance(part, Label):
                found = shown(repr(part))
                raise ValueError(
                    f"expected numbers, texts, true/false, lists and maps; found {found}."
                )
        return value


KindSpecs = dict[str, ModelSpec]


class _RolesConfig(_Section):
    """Base models: a default for each role, and each learner's own by model kind."""

    outcome: ModelSpec | None = Field(
        None,
        title="Outcome model",
        description="Default: LightGBM for the type of the outcome, regularised by rows and arms",
    )
    propensity: ModelSpec | None = Field(
        None, title="Propensity model", description="Default: LightGBM, regularised likewise"
    )
    treatment: ModelSpec | None = Field(
        None, title="Treatment model", description="Default: LightGBM, regularised likewise"
    )


# The registry holds the learners' names, which pydantic can read and a type checker can't.
if TYPE_CHECKING:
    LearnerName: TypeAlias = str
    ModelsConfig: TypeAlias = _RolesConfig
else:
    LearnerName = Literal[LEARNERS]
    ModelsConfig = create_model(
        "ModelsConfig",
        __base__=_RolesConfig,
        __doc__=_RolesConfig.__doc__,
        __module__=__name__,
        **{
            name: (
                KindSpecs,
                Field({}, description=f"The {entry.prefix}-learner's own models, by model kind"),
            )
            for name, entry in REGISTRY.items()
        },
    )


class FoldsConfig(_Section):
    """Cross-fitting."""

    n_folds: Whole = Field(5, ge=2, le=10_000, description="Number of folds, 2 or more")
    seed: Whole = Field(
        0, ge=0, lt=1 << 32, description="Draws the folds, the hold-out and the models' seeds"
    )


class ParallelismConfig(_Section):
    """How the fits use the cores."""

    model_config = ConfigDict(title="by hand")  # the form's choice beside auto

    runner: Literal["thread", "process", "dask", "serial"] = Field(
        "thread", description="thread, process, dask or serial"
    )
    workers: Whole | None = Field(
        None, ge=1, le=1024, description="Fits at a time; empty for the cores"
    )
    base_model_threads: Whole = Field(1, ge=1, le=1024, description="Threads inside one fit")
    unit_seconds: Number | None = Field(
        None,
        gt=0,
        le=1e8,
        description="Longest time for one fit, with process and dask; empty for none",
    )
    address: Address | None = Field(
        None, description="Of a Dask scheduler, such as tcp://host:8786; empty for one made here"
    )

    @field_validator("address")
    @classmethod
    def _of_scheduler(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"(tcp|tls|ws|wss)://[^/@\s]+:\d+/?", value):
            found = shown(repr(value))
            raise ValueError(f"expected an address such as tcp://host:8786; found {found}.")
        return value

    @model_validator(mode="after")
    def _of_runner(self) -> Self:
        if self.unit_seconds is not None and self.runner in ("thread", "serial"):
            raise ValueError(
                f"unit_seconds: a fit can be stopped with the runners process and dask; found "
                f"{self.runner}. Choose one of these, or set it to null."
            )
        if self.address is not None and self.runner != "dask":
            raise ValueError(
                f"address: expected with the runner dask; found {self.runner}. Set it to null."
            )
        return self


class CacheConfig(_Section):
    """Where the cache keeps fits for later runs."""

    enabled: Flag = Field(True, description="Whether fits are kept, and used again")
    storage: Place = Field(".uplift/cache", description="Folder or fsspec URL of the fits")
    max_age_days: Number | None = Field(
        None, gt=0, description="Older fits are not used; empty for any age"
    )


class EvaluationConfig(_Section):
    """How the estimates are evaluated."""

    holdout: Number = Field(
        0.2,
        ge=0,
        lt=1,
        description="Share of rows (of groups, whatever their size, where there are groups) that "
        "no learner is fitted on: 0 or more, and below 1",
    )
    bootstrap: Whole = Field(
        200, ge=0, le=100_000, description="Half-samples for errors of curves; 0 for none"
    )


Learners = Annotated[
    list[LearnerName], described("Metalearners to fit. What they share is fitted once")
]
ParallelismRule = Annotated[
    Annotated[Literal["auto"], AUTO] | ParallelismConfig,
    described("How the fits use the cores; auto: as measured on this machine, or by a rule"),
]


class Config(_Section):
    """Everything that decides a run."""

    name: Annotated[str, BeforeValidator(check_name)] = DEFAULT_NAME
    data: DataConfig
    learners: Learners = ["DRLearner"]
    models: ModelsConfig = ModelsConfig()
    clip: ClipRule = "auto"
    share_bins: ShareBins = True
    folds: FoldsConfig = FoldsConfig()
    parallelism: ParallelismRule = "auto"
    cache: CacheConfig = CacheConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    output: Folder = "runs"

    @field_validator("learners")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        return _distinct(value, f"choose from {', '.join(LEARNERS)}")

    def to_yaml(self) -> str:
        """The config as a file, every default filled in."""
        return to_yaml(self.model_dump(), sort_keys=False)


def _distinct(value: list[Any], otherwise: str) -> list[Any]:
    if not value:
        raise ValueError(f"expected one or more; found none. Say {otherwise}.")
    seen: set[Any] = set()
    for item in value:
        if item in seen:
            raise ValueError(f"expected each once; found {shown(repr(item))} twice.")
        seen.add(item)
    return value


def _parts(value: Any) -> Iterator[Any]:
    """The values in nested lists and maps."""
    if isinstance(value, (dict, list, tuple)):
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _parts(item)
    else:
        yield value
