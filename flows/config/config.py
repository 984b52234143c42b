"""The config of a run: one frozen object, checked on construction, from a file or from a form."""

import difflib
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from math import isinf
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from flows.errors import InputError
from flows.messages.limits import (
    MOST_BYTES,
    MOST_LEVELS,
    MOST_VALUES,
    TooLargeError,
    check_digits,
    check_size,
    shown,
    too_many,
)
from flows.messages.secrets import check_address

LearnerName = Literal["SLearner", "TLearner", "XLearner", "RLearner", "DRLearner"]
LEARNERS: tuple[str, ...] = get_args(LearnerName)
Label = bool | int | float | str

# Strict, as true would be 1 otherwise, and no would be 0.
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
# The number first, as messages name the forms in this order.
ClipRule = Annotated[float, Strict(), Field(ge=0, lt=0.5)] | Literal["auto"]

M = TypeVar("M", bound=BaseModel)


def _local(folder: str) -> str:
    if "://" in folder or folder.startswith("~") or "\0" in folder or not folder.strip():
        raise ValueError(
            f"expected a folder of this machine, written out; found {shown(repr(folder))}."
        )
    return folder


Folder = Annotated[str, AfterValidator(_local)]


def _folder_or_url(location: str) -> str:
    return check_address(location) if "://" in location else _local(location)


Place = Annotated[str, AfterValidator(_folder_or_url)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        check_size(value)
        return value


# A row's id may well name its cluster, and a stratum may be a feature; any other pair of roles
# contradicts itself.
_SHARED_ROLES = ({"row_id", "group"}, {"features", "strata"})


class DataConfig(_Section):
    """Where the rows are, and what their columns mean."""

    source: str = Field(
        min_length=1,
        description="Parquet, CSV or Feather: a file, a folder, a glob or an fsspec URL",
    )
    outcome: str = Field(description="Column of the outcome")
    outcome_type: Literal["regression", "binary"] = Field(
        "regression", description="regression: numbers; binary: 0/1, true/false or two labels"
    )
    positive: Label | None = Field(
        None, description="Of a binary outcome given as two labels, the one that counts as 1"
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
    strata: str | None = Field(None, description="Column within which arms were drawn at random")
    time: str | None = Field(None, description="Not available yet")
    design: Literal["auto", "randomised", "observational"] = Field(
        "auto",
        description="randomised: the arms' shares, by strata, are the propensities; auto and "
        "observational: they are estimated, and auto says whether the data look randomised",
    )
    propensity: Number | dict[Label, Number | str] | None = Field(
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
        return check_address(value)

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
        # JSON has no other keys: those by which arms are known in names of columns.
        from metalearners.bundle import arm_name

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
    params: dict[str, Any] = Field(default_factory=dict, description="Arguments of the class")

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


class ModelsConfig(_Section):
    """Base models: one default a role, and a learner's own by model kind."""

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
    SLearner: KindSpecs = Field({}, description="The S-learner's own models, by model kind")
    TLearner: KindSpecs = Field({}, description="The T-learner's own models, by model kind")
    XLearner: KindSpecs = Field({}, description="The X-learner's own models, by model kind")
    RLearner: KindSpecs = Field({}, description="The R-learner's own models, by model kind")
    DRLearner: KindSpecs = Field({}, description="The DR-learner's own models, by model kind")


class FoldsConfig(_Section):
    """Cross-fitting."""

    n_folds: Whole = Field(5, ge=2, le=10_000, description="Number of folds, 2 or more")
    seed: Whole = Field(
        0, ge=0, lt=1 << 32, description="Draws the folds, the hold-out and the models' seeds"
    )


class ParallelismConfig(_Section):
    """How fits are spread over the cores."""

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
    address: str | None = Field(
        None, description="Of a Dask scheduler, such as tcp://host:8786; empty for one made here"
    )

    @field_validator("address")
    @classmethod
    def _of_scheduler(cls, value: str | None) -> str | None:
        if value is None:
            return None
        check_address(value)
        if not re.fullmatch(r"(tcp|tls|ws|wss)://[^/@\s]+:\d+/?", value):
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
    """Where fits are kept for later runs."""

    enabled: Flag = True
    storage: Place = Field(".uplift/cache", description="Folder or fsspec URL of the fits")
    max_age_days: Number | None = Field(
        None, gt=0, description="Older fits are not used; empty for any age"
    )


class EvaluationConfig(_Section):
    """What estimates are judged by."""

    holdout: Number = Field(
        0.2,
        ge=0,
        lt=1,
        description="Share of rows (of groups, whatever their size, where there are groups) that "
        "no fit sees, 0 up to but not 1",
    )
    bootstrap: Whole = Field(
        200, ge=0, le=100_000, description="Half-samples for errors of curves; 0 for none"
    )


class Config(_Section):
    """Everything that decides a run."""

    data: DataConfig
    learners: list[LearnerName] = ["DRLearner"]
    models: ModelsConfig = ModelsConfig()
    clip: ClipRule = "auto"
    folds: FoldsConfig = FoldsConfig()
    parallelism: Literal["auto"] | ParallelismConfig = "auto"
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
    """What nested lists and maps are made of."""
    if isinstance(value, (dict, list, tuple)):
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _parts(item)
    else:
        yield value


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
    return parse(Config, content, f"{where}: ")


def config_among(arguments: Mapping[str, Any]) -> Config:
    """The config in the arguments of a flow, which may have others besides.

    Raises
    ------
    InputError
        With all that is wrong, one line each.
    """
    return parse_config({name: arguments[name] for name in Config.model_fields})


_MOST_LINES = 50


def parse(model: type[M], content: Any, prefix: str) -> M:
    """A section of the config from plain values; messages begin with a prefix."""
    try:
        check_size(content)
        return model.model_validate(content)
    except TooLargeError as error:
        raise InputError(f"{prefix}{error}") from None
    except RecursionError:
        raise InputError(f"{prefix}expected values that don't contain themselves.") from None
    except ValidationError as error:
        by_place: dict[str, list[Any]] = {}
        for problem in error.errors():
            by_place.setdefault(".".join(_place(problem)), []).append(problem)
        # Where one form of a value was entered, that it isn't another says nothing.
        entered = {place[: dot.start()] for place in by_place for dot in re.finditer(r"\.", place)}
        told = [place for place in by_place if place not in entered]
        lines = [_explain(model, by_place[p]) for p in told[:_MOST_LINES]]
        more = [f"... and {len(told) - _MOST_LINES} more."] if len(told) > _MOST_LINES else []
        raise InputError(prefix + "\n".join([*lines, *more])) from None


# YAML 1.1 reads 1e-3 as a text and 2020-01-01 as a date; people mean a number and a text.
_SCIENTIFIC = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_DATE = "tag:yaml.org,2002:timestamp"
_RESOLVERS = {
    first: [*(rule for rule in rules if rule[0] != _DATE), (_FLOAT, _SCIENTIFIC)]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def to_yaml(value: Any, **style: Any) -> str:
    """A plain value as YAML that the config's loader reads as the same value."""
    return str(yaml.dump(value, Dumper=_Dumper, allow_unicode=True, **style))


class _Dumper(yaml.SafeDumper):
    """Writes what the loader reads."""

    yaml_implicit_resolvers = _RESOLVERS

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # Without quotes, PyYAML would lose those of Unicode's line ends that it leaves as they are.
        style = '"' if {"\x85", "\u2028", "\u2029"} & set(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)


_Dumper.add_representer(str, _Dumper.represent_str)


class _Loader(yaml.SafeLoader):
    """A safe loader of bounded values, each number kept as it is written and each key given once.

    YAML's own repeats an alias as often as a text says, which may be often in a few lines, makes
    infinity of a number such as 1e400, and keeps the last of equal keys.
    """

    yaml_implicit_resolvers = _RESOLVERS

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._levels = self._values = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        before, is_alias = self._values, self.check_event(yaml.AliasEvent)
        self._levels += 1
        if self._levels > MOST_LEVELS:
            raise TooLargeError(too_many("levels"))
        node = super().compose_node(parent, index)  # type: ignore[no-untyped-call]
        self._levels -= 1
        # One that stands in itself has no size yet.
        self._values += self._sizes.get(id(node), 1) if is_alias else 1
        if self._values > MOST_VALUES:
            raise TooLargeError(too_many("values"))
        self._sizes.setdefault(id(node), self._values - before)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)  # type: ignore[no-untyped-call]
        except (LookupError, AttributeError):  # PyYAML's own way to refuse `!!bool maybe`
            problem = f"no value of the tag {shown(node.tag)}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if not isinstance(key, Hashable):
                break  # refused below
            if key in seen:
                mark = key_node.start_mark
                problem = f"key {shown(repr(key))} twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        check_digits(node.value, f"line {node.start_mark.line + 1}")
        if node.tag == _INT:
            return int(self.construct_yaml_int(node))
        number = float(self.construct_yaml_float(node))
        digits = re.sub(r"[eE].*", "", node.value)
        if (isinf(number) or not number) and re.search("[1-9]", digits):
            problem = f"a number beyond what floats can hold, {node.value}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return number


for _tag in (_INT, _FLOAT):
    _Loader.add_constructor(_tag, _Loader.construct_number)


def _read_yaml(text: str, where: str) -> Any:
    try:
        value = yaml.load(text, Loader=_Loader)  # a subclass of the safe loader
        check_size(value)
    except TooLargeError as error:
        bound = str(error).removeprefix("expected ")
        raise InputError(f"Expected valid YAML in {where}, and {bound}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = " ".join(str(error).split()).replace('in "<unicode string>", ', "at ")
        raise InputError(f"Expected valid YAML in {where}; found: {shown(problem, 500)}.") from None
    return value


def _mapping(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode()
    except FileNotFoundError:
        raise InputError(
            f"Expected a config file; {path} doesn't exist. `uplift init DATA` writes one."
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"Expected a readable config file; {path}: {error}.") from None
    if len(content) > MOST_BYTES:
        raise InputError(
            f"Expected a config of at most {MOST_BYTES:,} bytes; {path} has more. Leave out what "
            "the run doesn't need: `features: null` takes every column without a role."
        )
    content = _read_yaml(text, str(path))
    if not isinstance(content, dict) or not content:
        found = "nothing" if content is None else shown(repr(content), 50)
        raise InputError(
            f"Expected a mapping with the key `data` in {path}; found {found}. "
            "`uplift init DATA` writes a config to start from."
        )
    return content


def _apply(content: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise InputError(f"Expected --set key.path=value; found {shown(repr(change))}.")
    value = _read_yaml(text, f"--set {shown(repr(change))}")
    for key in keys[:-1]:
        if content.get(key) in (None, "auto"):
            content[key] = {}
        content = content[key]
        if not isinstance(content, dict):
            raise InputError(
                f"Expected a mapping at {key!r} for --set {shown(repr(change))}; the config has "
                f"{shown(repr(content))} there. Set it as a whole."
            )
    content[keys[-1]] = value


def _explain(model: type[BaseModel], problems: Sequence[Any]) -> str:
    """What is wrong at a place, in a line: where, what was expected, what was found."""
    first = problems[0]
    place = _place(first)
    where = shown(".".join(place)) or "all of it"
    if first["type"] == "extra_forbidden":
        valid = _keys_at(model, place[:-1])
        return f"{where}: unknown key. {nearest(place[-1], valid)}Valid here: {', '.join(valid)}."
    if first["type"] == "missing":
        return f"{where}: expected a value, found none. Add the key."
    if first["type"] == "value_error":
        return f"{where}: {first['ctx']['error']}"
    found = shown(repr(first["input"]))
    expected = list(dict.fromkeys(_expected(model, problem) for problem in problems))
    hint = nearest(found.strip("'"), re.findall(r"'([^']+)'", " ".join(expected)))
    return f"{where}: expected {' or '.join(expected)}; found {found}. {hint}".rstrip()


def _place(problem: Any) -> list[str]:
    """Keys on the way to a problem, without the names that pydantic gives to forms of a value."""
    loc = problem["loc"]
    if problem["type"] in ("extra_forbidden", "missing"):  # the last is a key for certain
        return [*(str(part) for part in loc[:-1] if not _is_branch(part)), str(loc[-1])]
    return [str(part) for part in loc if not _is_branch(part)]


def _is_branch(part: Any) -> bool:
    return isinstance(part, str) and (
        part
        in {
            "ParallelismConfig",
            "bool",
            "int",
            "float",
            "constrained-float",
            "str",
            "literal['auto']",
        }
        or re.fullmatch(r"(dict|function-after)\[.*\]|\[key\]", part) is not None
    )


_TYPES = {
    "string_type": "a text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a map",
    "invalid_key": "a text as key",
}


def _expected(model: type[BaseModel], problem: Any) -> str:
    if problem["type"] in ("model_type", "model_attributes_type"):
        return f"a map with {', '.join(_keys_at(model, _place(problem)))}"
    said = problem["msg"].removeprefix("Input should be ")
    said = f"a number {said}" if said.startswith(("greater", "less")) else said
    return _TYPES.get(problem["type"], said)


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    found: Any = model
    for key in location:
        field = getattr(found, "model_fields", {}).get(key)
        found = next(_models_in(field.annotation), None) if field else ModelSpec
    return list(found.model_fields) if found else []


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    for option in (annotation, *get_args(annotation)):
        if isinstance(option, type) and issubclass(option, BaseModel):
            yield option


def nearest(word: str, valid: Iterable[str]) -> str:
    """A hint at the valid word that was probably meant; empty if none is close."""
    close = difflib.get_close_matches(shown(word), list(valid), n=1)
    return f"Did you mean {close[0]!r}? " if close else ""
