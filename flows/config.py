"""The config of a run: one frozen object, checked on construction, from a file or from a form."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from flows.errors import InputError

LearnerName = Literal["SLearner", "TLearner", "XLearner", "RLearner", "DRLearner"]
LEARNERS: tuple[str, ...] = get_args(LearnerName)
Label = bool | int | float | str


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Section):
    """Where the rows are, and what their columns mean."""

    source: str = Field(
        min_length=1,
        description="Parquet, CSV or Feather: a file, a folder, a glob or an fsspec URL",
    )
    outcome: str = Field(description="Column of the outcome")
    outcome_type: Literal["regression", "binary"] = Field(
        "regression", description="regression: numbers; binary: 0/1 or true/false"
    )
    treatment: str = Field(description="Column of the treatment: two or more arms")
    control: Label = Field(description="Label of the arm that others are compared with")
    arms: list[Label] | None = Field(
        None, description="Labels to use, the control among them; empty for every label"
    )
    features: list[str] | None = Field(
        None, description="Columns known before treatment; empty for every column without a role"
    )
    row_id: str | None = Field(None, description="Column carried through to the estimates")
    weight: str | None = Field(None, description="Column of sampling weights")
    group: str | None = Field(
        None, description="Column of clusters: folds keep them whole, errors allow for them"
    )
    time: str | None = Field(None, description="Not available yet")
    propensity: float | dict[Label, float | str] | None = Field(
        None,
        description="Known probabilities: of the treated arm, by arm, or columns by arm",
    )

    @field_validator("time")
    @classmethod
    def _not_yet(cls, value: str | None) -> None:
        if value is not None:
            raise ValueError("not available yet: forward-chaining folds. Set it to null.")

    @field_validator("source")
    @classmethod
    def _no_secrets(cls, value: str) -> str:
        if re.match(r"[\w+:]+://[^/@]*@", value):
            raise ValueError(
                "a URL without credentials is expected, as configs are kept with each run: give "
                "them in the environment or in fsspec's own configuration."
            )
        return value

    @property
    def roles(self) -> dict[str, str]:
        """Column by role, features left out."""
        names = ("outcome", "treatment", "row_id", "weight", "group")
        roles = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if isinstance(self.propensity, dict):
            columns = {arm: p for arm, p in self.propensity.items() if isinstance(p, str)}
            roles |= {f"propensity of {arm}": column for arm, column in columns.items()}
        return roles

    @model_validator(mode="after")
    def _one_role_each(self) -> Self:
        users: dict[str, list[str]] = {}
        for role, column in self.roles.items():
            users.setdefault(column, []).append(role)
        for feature in self.features or []:
            users.setdefault(feature, []).append("features")
        for column, roles in users.items():
            # A row's id may well name its cluster; any other pair of roles contradicts itself.
            if len(roles) > 1 and set(roles) != {"row_id", "group"}:
                raise ValueError(
                    f"column {column!r} is in two roles, {' and '.join(roles)}: give it one."
                )
        if self.features == []:
            raise ValueError("features: at least one column is expected, found none; null for all.")
        return self


class ModelSpec(_Section):
    """A base model: its class by import path, and its parameters."""

    estimator: str = Field(description="Import path, such as lightgbm.LGBMRegressor")
    params: dict[str, Any] = Field(default_factory=dict, description="Arguments of the class")


KindSpecs = dict[str, ModelSpec]


class ModelsConfig(_Section):
    """Base models: one default a role, and a learner's own by model kind."""

    outcome: ModelSpec | None = Field(
        None, title="Outcome model", description="Default: LightGBM, for the type of the outcome"
    )
    propensity: ModelSpec = Field(
        ModelSpec(estimator="lightgbm.LGBMClassifier"), title="Propensity model"
    )
    treatment: ModelSpec = Field(
        ModelSpec(estimator="lightgbm.LGBMRegressor"), title="Treatment model"
    )
    SLearner: KindSpecs = Field({}, description="The S-learner's own models, by model kind")
    TLearner: KindSpecs = Field({}, description="The T-learner's own models, by model kind")
    XLearner: KindSpecs = Field({}, description="The X-learner's own models, by model kind")
    RLearner: KindSpecs = Field({}, description="The R-learner's own models, by model kind")
    DRLearner: KindSpecs = Field({}, description="The DR-learner's own models, by model kind")


class FoldsConfig(_Section):
    """Cross-fitting."""

    n_folds: int = Field(5, ge=2, description="Number of folds, 2 or more")
    seed: int = Field(0, ge=0, description="Draws the folds, the hold-out and the models' seeds")


class ParallelismConfig(_Section):
    """How fits are spread over the cores."""

    runner: Literal["thread", "serial"] = Field("thread", description="thread or serial")
    workers: int | None = Field(None, ge=1, description="Fits at a time; empty for the cores")
    base_model_threads: int = Field(1, ge=1, description="Threads inside one fit")

    @field_validator("runner", mode="before")
    @classmethod
    def _not_yet(cls, value: Any) -> Any:
        if value in ("process", "dask"):
            raise ValueError(f"{value!r} is not available yet. Use thread or serial.")
        return value


class CacheConfig(_Section):
    """Where fits are kept for later runs."""

    enabled: bool = True
    storage: str = Field(".uplift/cache", min_length=1, description="Folder of the fits")


class EvaluationConfig(_Section):
    """What estimates are judged by."""

    holdout: float = Field(
        0.2, ge=0, lt=1, description="Share of rows that no fit sees, 0 up to but not 1"
    )
    bootstrap: int = Field(200, ge=0, description="Half-samples for errors of curves; 0 for none")


class Config(_Section):
    """Everything that decides a run."""

    data: DataConfig
    learners: list[LearnerName] = Field(default=["DRLearner"], min_length=1)
    models: ModelsConfig = ModelsConfig()
    clip: float = Field(0.01, ge=0, lt=0.5)
    folds: FoldsConfig = FoldsConfig()
    parallelism: Literal["auto"] | ParallelismConfig = "auto"
    cache: CacheConfig = CacheConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    output: str = Field("runs", min_length=1)

    @field_validator("learners")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError(f"each learner is expected once; found {value}.")
        return value

    def to_yaml(self) -> str:
        """The config as a file, every default filled in."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_config(path: Path, changes: Iterable[str] = (), output: str | None = None) -> Config:
    """The config in a YAML file.

    Parameters
    ----------
    changes : ``key.path=value``, the value read as YAML
    output : overrides the config's own

    Raises
    ------
    InputError
        If the file or anything in it is wrong.
    """
    content = _mapping(path)
    for change in changes:
        _apply(content, change)
    if output is not None:
        content["output"] = output
    return parse_config(content, str(path))


def parse_config(content: Mapping[str, Any], where: str = "config") -> Config:
    """A config from plain values.

    Raises
    ------
    InputError
        With all that is wrong, one line each.
    """
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        lines = dict.fromkeys(_explain(e) for e in error.errors())
        raise InputError(f"{where}: " + "\n".join(lines)) from None


class _UniqueKeys(yaml.SafeLoader):
    """A loader that refuses a key given twice, where YAML's own keeps the last silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.MarkedYAMLError(problem=f"key {twice!r} twice", problem_mark=node.start_mark)
        return mapping


def _mapping(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_UniqueKeys)  # a subclass of the safe loader
    except FileNotFoundError:
        raise InputError(
            f"Expected a config file; {path} doesn't exist. `uplift init DATA` writes one."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Expected a readable config file; {path}: {error}.") from None
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise InputError(f"Expected valid YAML in {path}; found: {problem}.") from None
    if not isinstance(content, dict) or not content:
        found = "nothing" if not content else f"a {type(content).__name__}"
        raise InputError(
            f"Expected a mapping with the key `data` in {path}; found {found}. "
            "`uplift init DATA` writes a config to start from."
        )
    return content


def _apply(content: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise InputError(f"Expected --set key.path=value; found {change!r}.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"Expected a YAML value in --set {change!r}; it can't be read.") from None
    for key in keys[:-1]:
        if not isinstance(content.get(key), dict):
            content[key] = {}
        content = content[key]
    content[keys[-1]] = value


def _explain(error: Any) -> str:
    """One problem in a line: where, what was expected, what was found, how to mend it."""
    location = [str(part) for part in error["loc"] if not _is_branch(part)]
    where = ".".join(location) or "config"
    found = error.get("input")
    if error["type"] == "extra_forbidden":
        valid = _keys_at(location[:-1])
        hint = _nearest(location[-1], valid)
        return f"{where}: unknown key. {hint}Valid here: {', '.join(valid)}."
    if error["type"] == "missing":
        return f"{where}: expected a value, found none. Add the key."
    if error["type"] == "literal_error":
        expected = error["ctx"]["expected"]
        hint = _nearest(str(found), re.findall(r"'([^']+)'", expected))
        return f"{where}: expected {expected}; found {found!r}. {hint}".rstrip()
    if error["type"] == "value_error":
        return f"{where}: {error['ctx']['error']}"
    message = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{where}: expected {message}; found {found!r}."


def _is_branch(part: Any) -> bool:
    # Names that pydantic gives to the branches of a union; no keys of the user's.
    return isinstance(part, str) and (
        part in {"ParallelismConfig", "bool", "int", "float", "str", "literal['auto']"}
        or "[" in part
    )


def _keys_at(location: list[str]) -> list[str]:
    model: Any = Config
    for key in location:
        field = getattr(model, "model_fields", {}).get(key)
        model = next(_models_in(field.annotation), None) if field else ModelSpec
    return list(model.model_fields) if model else []


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    for option in (annotation, *get_args(annotation)):
        if isinstance(option, type) and issubclass(option, BaseModel):
            yield option


def _nearest(word: str, valid: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(valid), n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}? " if close else ""
