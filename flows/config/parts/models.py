"""Base models and candidates in a config."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
    create_model,
    field_validator,
    model_validator,
)

from flows.config.form import Section
from flows.config.parts.outcomes import of_outcome
from flows.config.problems import EACH, ONE
from flows.config.values import Flag, Label
from flows.messages.limits import shown
from metalearners.registry import REGISTRY

LEARNERS = tuple(REGISTRY)
# Beside the learners, what has fits, or a place among candidates, by its name.
_TAKEN = ("stack", "evaluation", "hold-out")
_NAME = re.compile("[A-Za-z0-9_][A-Za-z0-9_-]{0,39}")


def _parts(value: Any) -> Iterator[Any]:
    """The values in nested lists and maps."""
    if isinstance(value, (dict, list, tuple)):
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _parts(item)
    else:
        yield value


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    for part in _parts(value):
        if part is not None and not isinstance(part, Label):
            found = shown(repr(part))
            raise ValueError(f"expected numbers, texts, true/false, lists and maps; found {found}.")
    return value


Params = Annotated[dict[str, Any], AfterValidator(_plain)]


class ModelSpec(Section):
    """A base model: its class by import path, and its parameters."""

    estimator: str = Field(description="Import path, such as lightgbm.LGBMRegressor")
    params: Params = Field({}, description='Arguments of the class, such as {"n_estimators": 100}')


def _form_of(value: Any) -> str:
    """Whether it is one model, or a map of such by outcome."""
    if not isinstance(value, dict) or not value or {"estimator", "params"} & set(value):
        return ONE
    return EACH if all(isinstance(own, (dict, ModelSpec)) for own in value.values()) else ONE


# Whoever reads a config of one outcome has one model.
if TYPE_CHECKING:
    OutcomeSpec: TypeAlias = ModelSpec
else:
    OutcomeSpec = Annotated[
        Annotated[ModelSpec, Tag(ONE)] | Annotated[dict[str, ModelSpec], Tag(EACH)],
        Discriminator(_form_of),
    ]

KindSpecs = dict[str, OutcomeSpec]


class _RolesConfig(Section):
    """Base models: a default for each role, and each learner's own by model kind."""

    outcome: OutcomeSpec | None = Field(
        None,
        title="Outcome model",
        description="Default: LightGBM for the type of the outcome, regularised by rows and arms. "
        "Of several outcomes also a map, such as "
        '{"spend": {"estimator": "sklearn.linear_model.LinearRegression"}}',
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


class CandidateConfig(Section):
    """A learner with base models of its own, or an estimator of effects of another package."""

    learner: LearnerName | None = Field(None, description="A metalearner")
    models: KindSpecs = Field(
        {},
        description="Its base models by role or model kind; others are those of the run. Such as "
        '{"outcome": {"estimator": "sklearn.linear_model.LinearRegression"}}',
    )
    estimator: str | None = Field(
        None,
        description="In place of a learner, the import path of a class with fit and effect or "
        "predict, such as econml.dml.CausalForestDML",
    )
    params: Params = Field({}, description='Arguments of that class, such as {"n_estimators": 100}')
    encoder: ModelSpec | None = Field(
        None, description="What makes numbers of the features for that class; default: as needed"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.learner is None) == (self.estimator is None):
            found = "neither" if self.learner is None else "both"
            raise ValueError(
                f"expected a learner, or an estimator of effects; found {found}. Name one."
            )
        other = ("params", "encoder") if self.estimator is None else ("models",)
        given = [name for name in other if getattr(self, name)]
        if given:
            whose = "an estimator" if self.estimator is None else "a learner"
            raise ValueError(
                f"expected {given[0]} with {whose} alone; found it without. Leave it out."
            )
        return self


class CompareConfig(Section):
    """What `uplift compare` judges beside the learners."""

    candidates: dict[str, CandidateConfig] = Field(
        {},
        description="Further candidates by name, such as "
        '{"linear": {"learner": "TLearner", "models": '
        '{"outcome": {"estimator": "sklearn.linear_model.LinearRegression"}}}}',
    )
    stack: Flag = Field(
        False, description="Whether a mixture of all candidates is judged too, by the name stack"
    )

    @field_validator("candidates")
    @classmethod
    def _named(cls, value: dict[str, CandidateConfig]) -> dict[str, CandidateConfig]:
        seen = set(map(str.lower, (*LEARNERS, *_TAKEN)))
        for name in value:
            if not _NAME.fullmatch(name) or name.lower() in seen:
                raise ValueError(
                    "expected names of at most 40 letters (a to z), digits, '_' and '-', each once "
                    f"whatever its case, and none of a learner or {', '.join(_TAKEN)}; found "
                    f"{shown(repr(name))}. Rename it."
                )
            seen.add(name.lower())
        return value


def maps_by_outcome(section: ModelsConfig | CompareConfig) -> list[dict[str, ModelSpec]]:
    """The maps by outcome among the base models of a section."""
    kinds: list[dict[str, Any]]
    if isinstance(section, CompareConfig):
        kinds = [own.models for own in section.candidates.values()]
    else:
        kinds = [{"outcome": section.outcome}, *(own for name, own in section if name in REGISTRY)]
    return [one for own in kinds for one in own.values() if isinstance(one, dict)]


def models_of_outcome(models: ModelsConfig, outcome: str) -> ModelsConfig:
    """The base models for one of several outcomes."""
    one = {
        name: _by_kind(own, outcome) if name in REGISTRY else of_outcome(own, outcome)
        for name, own in models
    }
    return models.model_copy(update=one)


def candidates_of_outcome(compare: CompareConfig, outcome: str) -> CompareConfig:
    """The candidates for one of several outcomes."""
    candidates = {
        name: own.model_copy(update={"models": _by_kind(own.models, outcome)})
        for name, own in compare.candidates.items()
    }
    return compare.model_copy(update={"candidates": candidates})


def _by_kind(models: Mapping[str, Any], outcome: str) -> dict[str, ModelSpec]:
    """Base models by kind, but for kinds that a map has nothing for: those have their role's."""
    own = {kind: of_outcome(model, outcome) for kind, model in models.items()}
    return {kind: model for kind, model in own.items() if model is not None}
