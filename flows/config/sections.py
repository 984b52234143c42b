"""The config of a run: one frozen object of sections, which checks itself when it is made."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from flows.config.data import DataConfig
from flows.config.form import AUTO, Section, described, distinct
from flows.config.names import (
    DEFAULT_CACHE,
    DEFAULT_NAME,
    DEFAULT_OUTPUT,
    check_name,
)
from flows.config.parts.models import (
    LEARNERS,
    CompareConfig,
    LearnerName,
    ModelsConfig,
    candidates_of_outcome,
    maps_by_outcome,
    models_of_outcome,
)
from flows.config.parts.outcomes import check_known
from flows.config.parts.recurring import RegistryConfig, ScheduleConfig, WatchConfig
from flows.config.parts.targeting import NONE, Targeting, TargetingConfig
from flows.config.values import (
    Address,
    CalibratePropensity,
    ClipRule,
    Flag,
    Folder,
    Number,
    Place,
    Segments,
    ShareBins,
    Whole,
)
from flows.config.yaml_text import to_yaml
from flows.dates.logical import check_date, date_at, moment_of
from flows.dates.partitions import Window, end_of
from flows.messages.limits import shown


class FoldsConfig(Section):
    """Cross-fitting."""

    n_folds: Whole = Field(5, ge=2, le=10_000, description="Number of folds, 2 or more")
    seed: Whole = Field(
        0, ge=0, lt=1 << 32, description="Draws the folds, the hold-out and the models' seeds"
    )
    repeats: Whole = Field(
        1,
        ge=1,
        le=100,
        description="Times that all is fitted, each with other folds and another hold-out; figures "
        "are medians over them",
    )


class ParallelismConfig(Section):
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


class CacheConfig(Section):
    """Where the cache keeps fits for later runs."""

    enabled: Flag = Field(True, description="Whether fits are kept, and used again")
    storage: Place = Field(DEFAULT_CACHE, description="Folder or fsspec URL of the fits")
    max_age_days: Number | None = Field(
        None, gt=0, description="Older fits are not used; empty for any age"
    )


class PruneConfig(Section):
    """Which of the kept fits are deleted."""

    storage: Place = Field(DEFAULT_CACHE, description="Folder or fsspec URL of the fits")
    older_than_days: Number = Field(90.0, ge=0, description="Delete fits older than so many days")
    damaged: Flag = Field(False, description="Delete fits that runs can't use, too")
    everything: Flag = Field(False, description="Delete all fits")


class EvaluationConfig(Section):
    """How the estimates are evaluated."""

    holdout: Number = Field(
        0.2,
        ge=0,
        lt=1,
        description="Share of rows (of groups, whatever their size, where there are groups) that "
        "no learner is fitted on: 0 or more, and below 1",
    )
    bootstrap: Whole = Field(
        200,
        ge=0,
        le=100_000,
        description="Draws of the test that effects rise with the estimates; 0 for none",
    )
    refits: Whole = Field(
        0,
        ge=0,
        le=1000,
        description="Half-samples on which each learner is fitted again, for intervals of effects "
        "when rows are scored; 0 for none, else 2 or more",
    )
    sequential: Flag = Field(
        False,
        description="Whether each learner is fitted again on the first folds, and judged by the "
        "next, so that all rows test whether the effect differs between rows",
    )
    definition: Literal["default", "causalml", "sklift", "radcliffe", "pylift_q1"] = Field(
        "default", description="Whose Qini coefficient is told beside ours; default: none"
    )

    @field_validator("refits")
    @classmethod
    def _enough(cls, value: int) -> int:
        if value == 1:
            raise ValueError(
                "expected 0 or 2 and more; found 1. One refit shows no spread: try 50."
            )
        return value


Learners = Annotated[
    list[LearnerName], described("Metalearners to fit. What they share is fitted once")
]
ParallelismRule = Annotated[
    Annotated[Literal["auto"], AUTO] | ParallelismConfig,
    described("How the fits use the cores; auto: as measured on this machine, or by a rule"),
]


JobName = Annotated[
    str,
    described("Name of the job that repeats: its runs are compared, one of its models is champion"),
]
_OF_DATE = "Logical date of the run, such as 2026-11-01; empty: the scheduled time, or now"
LogicalDate = Annotated[
    str | None,
    BeforeValidator(check_date),
    described(_OF_DATE),
    # A form would show a tab for null; an empty field is left out.
    WithJsonSchema({"type": "string", "description": _OF_DATE}),
]


class Config(Section):
    """Everything that decides a run."""

    name: Annotated[JobName, BeforeValidator(check_name)] = DEFAULT_NAME
    data: DataConfig
    learners: Learners = ["DRLearner"]  # noqa: RUF012 - pydantic copies it
    models: ModelsConfig = ModelsConfig()
    clip: ClipRule = "auto"
    calibrate_propensity: CalibratePropensity = False
    share_bins: ShareBins = True
    folds: FoldsConfig = FoldsConfig()
    parallelism: ParallelismRule = "auto"
    cache: CacheConfig = CacheConfig()
    registry: RegistryConfig = RegistryConfig()
    watch: WatchConfig = WatchConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    segments: Segments = {}  # noqa: RUF012 - pydantic copies it
    compare: SkipJsonSchema[CompareConfig | None] = None  # of a comparison; a run has none
    targeting: Targeting = NONE
    output: Annotated[Folder, described("Folder of all runs")] = DEFAULT_OUTPUT
    date: LogicalDate = None
    schedule: SkipJsonSchema[ScheduleConfig | None] = None

    def at(self, moment: datetime) -> Self:
        """The config of a run at a moment, its logical date unless it has one or needs none."""
        if self.date is not None or not self.data.names_dates:
            return self
        return self.model_copy(update={"date": date_at(moment, self.timezone)})

    def by_outcome(self) -> dict[str, Self]:
        """The configs of one outcome each, by its name; by an empty one where no list names it."""
        if isinstance(self.data.outcome, str):
            return {"": self._of_outcome(self.data.outcome)}
        return {name: self._of_outcome(name) for name in self.data.outcomes}

    def _of_outcome(self, name: str) -> Self:
        one = {
            "data": self.data.of_outcome(name),
            "models": models_of_outcome(self.models, name),
            "compare": self.compare and candidates_of_outcome(self.compare, name),
            "targeting": self.targeting if name == self.targeted_outcome else NONE,
        }
        return self.model_copy(update=one)

    def of_comparison(self) -> Self:
        """The config of a comparison: with what that sets where the config is silent."""
        evaluation = self.evaluation
        if "sequential" not in evaluation.model_fields_set:
            evaluation = evaluation.model_copy(update={"sequential": True})
        set_here = {"compare": self.compare or CompareConfig(), "evaluation": evaluation}
        return self.model_copy(update=set_here)

    @property
    def fitted(self) -> list[str]:
        """Names of all that is fitted: learners, and candidates of a comparison."""
        return [*self.learners, *(self.compare.candidates if self.compare else ())]

    @property
    def targets(self) -> TargetingConfig | None:
        """The section `targeting`; None without it."""
        return None if isinstance(self.targeting, str) else self.targeting

    @property
    def targeted_outcome(self) -> str:
        """The outcome that `targeting` is about."""
        named = None if self.targets is None else self.targets.outcome
        return self.data.first_outcome if named is None else named

    @property
    def timezone(self) -> str:
        """The time zone of dates without one, and of the names of partitions."""
        return "UTC" if self.schedule is None else self.schedule.timezone

    @property
    def until(self) -> datetime | None:
        """The end of the last partition that is read; None where rows have no dates."""
        window = self.window if self.data.names_dates else None
        return None if window is None else end_of(self.data.source or "", window)

    @property
    def window(self) -> Window | None:
        """Which partitions of a source are read; None before the run has a logical date."""
        if self.date is None:
            return None
        local = moment_of(self.date, self.timezone).replace(tzinfo=None)
        return Window(local, self.data.last, self.data.missing)

    @field_validator("learners")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        return distinct(value, f"choose from {', '.join(LEARNERS)}")

    @field_validator("models", "compare")
    @classmethod
    def _of_known_outcomes(cls, value: Any, info: ValidationInfo) -> Any:
        data = info.data.get("data")  # None where that is wrong
        if value is not None and data is not None:
            for models in maps_by_outcome(value):
                check_known(models, data.outcomes)
        return value

    @field_validator("folds")
    @classmethod
    def _repeats_differ(cls, value: FoldsConfig, info: ValidationInfo) -> FoldsConfig:
        data = info.data.get("data")  # None where that is wrong
        if value.repeats > 1 and data is not None and data.time is not None:
            raise ValueError(
                "expected repeats: 1 with data.time, which gives the same folds each time; found "
                f"{value.repeats}. Leave one of the two out."
            )
        return value

    @field_validator("segments")
    @classmethod
    def _known_before(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        data = info.data.get("data")  # None where that is wrong
        if data is not None:
            after = dict.fromkeys(data.outcomes, "outcome")
            _check_segments(value, {**after, data.treatment: "treatment"})
        return value

    @field_validator("targeting")
    @classmethod
    def _targets_known(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, TargetingConfig):
            _check_targets(value, info.data)
        return value

    def to_yaml(self) -> str:
        """The config as a file, every default filled in."""
        return to_yaml(self.model_dump(), sort_keys=False)


def _check_segments(segments: dict[str, str], after: dict[str, str]) -> None:
    """Refuse segments by columns that aren't known before the treatment."""
    from metalearners.data.conditions import Condition  # as in `values`

    for name, text in segments.items():
        for column in Condition.of(text).columns:
            if column in after:
                raise ValueError(
                    f"expected columns known before the treatment; found the {after[column]}, "
                    f"{column!r}, in {name!r}. Name others."
                )


def _check_targets(value: TargetingConfig, others: dict[str, Any]) -> None:
    """Refuse a learner or an outcome that the config hasn't, and costs known after treatment."""
    data, compare = others.get("data"), others.get("compare")  # None where that is wrong
    learners = [*others.get("learners", []), *(compare.candidates if compare else ())]
    if value.learner is not None and learners and value.learner not in learners:
        raise ValueError(
            f"learner: expected one of {', '.join(learners)}; found {shown(repr(value.learner))}. "
            "Name one of these, or add it to learners."
        )
    if data is None:
        return
    if value.outcome is not None and value.outcome not in data.outcomes:
        raise ValueError(
            f"outcome: expected one of {', '.join(map(repr, data.outcomes))}; found "
            f"{shown(repr(value.outcome))}. Name one of these."
        )
    after = {**dict.fromkeys(data.outcomes, "outcome"), data.treatment: "treatment"}
    for column in value.columns:
        if column in after:
            raise ValueError(
                f"cost: expected columns known before the treatment; found the {after[column]}, "
                f"{column!r}. Name others."
            )
