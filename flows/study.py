"""Loads and validates: from a config to the rows and learners of a run, or one clear refusal."""

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd

from flows.config import Config, DataConfig, nearest
from flows.errors import InputError
from flows.models import learners_of, make_learner
from flows.runs import check_folder
from flows.source import check_allowed, open_source, read_rows
from metalearners._typing import Array, Floats, Ref
from metalearners.bundle import arm_name
from metalearners.dataset import Dataset
from metalearners.digest import matrix_digest
from metalearners.drlearner import DRLearner
from metalearners.estimators import takes_categories, takes_missing, weight_argument
from metalearners.folds import draw_holdout
from metalearners.metalearner import PROPENSITY_MODEL, MetaLearner
from metalearners.schema import Schema


@dataclass(frozen=True, eq=False)
class Study:
    """What a run is about, loaded and validated.

    Parameters
    ----------
    config : as validated
    arms : labels of the arms, the control first
    features : (N, p) features of every row of the source
    used : (N,) rows whose arm takes part
    row_ids : (N,) identities of the source's rows
    propensity : (N, K) known probabilities, None where they are estimated
    dataset : the rows that take part
    learners : by name, unfitted
    reference : gives the nuisances that average effects and evaluation share
    digest : of the columns read, without the rows' identities
    left_out : rows by label of arms that take no part
    warnings : what a reader should know
    seconds : that loading took
    """

    config: Config
    arms: list[Any]
    features: pd.DataFrame
    used: Array
    row_ids: pd.Series
    propensity: Floats | None
    dataset: Dataset
    learners: dict[str, MetaLearner]
    reference: DRLearner
    digest: Ref
    left_out: dict[str, int]
    warnings: list[str] = field(default_factory=list)

    @property
    def schema(self) -> Schema:
        """Names and types of the features."""
        return Schema.of(self.features)


def load_study(config: Config) -> Study:
    """Read a config's data and prove that it can be run.

    Raises
    ------
    InputError
        If the data, the config or the two together are wrong.
    """
    learners_of(config, n_variants=2)  # wrong base models are refused before data are read
    source = open_source(config.data.source)
    columns, features, warnings = _columns(config.data, source.schema.names)
    frame = read_rows(source, columns, config.data.source)
    arms, codes, left_out = _arms(frame[config.data.treatment], config.data)
    used = codes >= 0
    X = as_features(frame, features)
    _check_design(config.data, arms, left_out)
    propensity = known_propensity(frame, config.data, arms)
    own = None if propensity is None else propensity[used]
    try:
        dataset = _dataset(frame[used], X[used], codes[used], own, arms, config)
        study = Study(
            config=config,
            arms=arms,
            features=X,
            used=used,
            row_ids=_row_ids(frame, config.data),
            propensity=propensity,
            dataset=dataset,
            learners=learners_of(config, len(arms)),
            reference=_reference(config, len(arms)),
            digest="-".join(matrix_digest(frame[_digested(columns, config.data)])),
            left_out=left_out,
            warnings=[*warnings, *_many_levels(X), *_few_groups(dataset, arms)],
        )
        for learner in (*study.learners.values(), study.reference):
            learner.check(dataset)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{config.data.source}: {_with_labels(str(error), arms)}") from None
    _check_models(study)
    check_folders(config)  # last, so that refused input leaves no folders behind
    return study


def check_folders(config: Config) -> None:
    """Refuse folders to write to that the process may not, or can't, write to.

    Raises
    ------
    InputError
        If there is one.
    """
    check_allowed(config.output)
    check_folder(config.output, "output")
    if config.cache.enabled:
        check_allowed(config.cache.storage)
        check_folder(config.cache.storage, "cache.storage", mode=0o700)


@dataclass
class Prepared:
    """A study loaded ahead of its run.

    Parameters
    ----------
    begun : on the performance counter, when loading began
    waited : seconds since then that were spent on waiting for a server
    """

    study: Study
    begun: float
    waited: float = 0.0


# By the configs they were loaded for.
_prepared: dict[str, Prepared] = {}


def prepare(config: Config) -> Prepared:
    """Load a run's study ahead of it, so that wrong input is refused before a server is needed."""
    begun = time.perf_counter()
    _prepared[config.to_yaml()] = Prepared(load_study(config), begun)
    return _prepared[config.to_yaml()]


def take_study(config: Config) -> tuple[Study, float]:
    """The study of a config: the one loaded ahead for it, once, else loaded now.

    Returns
    -------
    The study, and the seconds that its run had taken before this call, waiting left out
    """
    prepared = _prepared.pop(config.to_yaml(), None)
    if prepared is None:
        return load_study(config), 0.0
    return prepared.study, time.perf_counter() - prepared.begun - prepared.waited


def as_features(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Feature columns as base models take them: numbers stay, texts become categories.

    Raises
    ------
    InputError
        If a column is neither.
    """
    return pd.DataFrame({name: _as_feature(frame[name]) for name in names})


def _as_feature(column: pd.Series) -> pd.Series:
    kind = _kind(column)
    if kind not in _PLAIN:
        raise InputError(
            f"data.features: expected numbers, true/false or texts in {column.name!r}; found "
            f"{kind}. Convert it or leave it out of features."
        )
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column
    if kind == "string":
        return column.astype(pd.CategoricalDtype(sorted(column.dropna().unique())))
    if kind == "boolean":
        return column.astype(float if column.isna().any() else np.int8)
    if kind == "floating" and np.isinf(column).any():
        raise InputError(
            f"data.features: expected finite numbers in {column.name!r}; found infinite ones. "
            "Replace them, by missing values for instance."
        )
    return column


_PLAIN = ("string", "integer", "floating", "boolean")


def _kind(column: pd.Series) -> str:
    """What the values of a column are, whatever it keeps them in, in pandas' words."""
    if column.isna().all():
        return "only missing values"
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    return pd.api.types.infer_dtype(values, skipna=True)


def known_propensity(frame: pd.DataFrame, data: DataConfig, arms: Sequence[Any]) -> Floats | None:
    """(n, K) known probabilities of the arms, or None where they are to be estimated.

    Raises
    ------
    InputError
        If arms are unknown or missing, or a probability isn't inside (0, 1).
    """
    rule = data.propensity
    if rule is None:
        return None
    if not isinstance(rule, dict):
        if len(arms) != 2:
            raise InputError(
                f"data.propensity: expected a map from arm to probability for {len(arms)} arms; "
                f"found the number {rule}."
            )
        rule = {arms[1]: rule}
    given = [_label(arm, list(arms), "data.propensity") for arm in rule]
    if len(set(given)) < len(given) or not set(arms[1:]) <= set(given):
        raise InputError(
            f"data.propensity: expected one probability for each of {arms[1:]} (the control may be "
            f"left out); found those of {given}."
        )
    values = (_probability(frame, value) for value in rule.values())
    parts = dict(zip(given, values, strict=True))
    parts.setdefault(arms[0], 1 - sum(parts.values()))  # type: ignore[arg-type]
    columns = np.column_stack([np.broadcast_to(parts[arm], len(frame)) for arm in arms])
    if not ((columns > 0) & (columns < 1)).all() or not np.allclose(columns.sum(axis=1), 1):
        raise InputError(
            "data.propensity: expected probabilities inside (0, 1) that sum to 1 over the arms; "
            f"found from {columns.min():.4g} to {columns.max():.4g}, sums from "
            f"{columns.sum(axis=1).min():.4g} to {columns.sum(axis=1).max():.4g}."
        )
    return columns


def _check_design(data: DataConfig, arms: Sequence[Any], left_out: dict[str, int]) -> None:
    """Refuse a known design whose control would be given what belongs to arms left out."""
    if data.propensity is None or not left_out:
        return
    given = data.propensity if isinstance(data.propensity, dict) else {}
    if arm_name(arms[0]) not in map(arm_name, given):
        raise InputError(
            f"data.propensity: expected a probability for each of {list(arms)}, the control too, "
            f"among the rows of these arms, as {', '.join(left_out)} are left out; found none for "
            f"{arms[0]!r}. Divide the design's probabilities by their sum over the arms in use."
        )


def _probability(frame: pd.DataFrame, value: float | str) -> Floats:
    if not isinstance(value, str):
        return np.asarray(float(value))
    return _numbers(frame[value], "data.propensity")


def _columns(data: DataConfig, names: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Columns to read, the features among them, and what to warn of."""
    wanted = [(role, column) for role, column in data.roles.items()]
    wanted += [("features", column) for column in data.features or []]
    for role, column in wanted:
        if column not in names:
            raise InputError(
                f"data.{role}: expected a column of {data.source}; {column!r} is none. "
                f"{nearest(column, names)}It has: {', '.join(names)}."
            )
    roles = list(dict.fromkeys(data.roles.values()))
    features = data.features or [name for name in names if name not in roles]
    if not features:
        raise InputError(f"Expected feature columns in {data.source}; every column has a role.")
    warnings = []
    if data.features is None:
        warnings.append(
            f"data.features isn't set: every column without another role is used, "
            f"{', '.join(features)}. A column that the treatment changes doesn't belong there."
        )
    return list(dict.fromkeys(roles + features)), features, warnings


def _arms(column: pd.Series, data: DataConfig) -> tuple[list[Any], Array, dict[str, int]]:
    """Labels of the arms, each row's code (-1: takes no part), rows left out by label."""
    if column.isna().any():
        raise InputError(
            f"data.treatment: expected an arm in each row; {int(column.isna().sum())} of "
            f"{len(column)} rows of {column.name!r} have none. Remove those rows."
        )
    _check_labels(column, "data.treatment")
    codes, found = pd.factorize(column, sort=True)
    labels = [_plain(label) for label in found.tolist()]
    control = _label(data.control, labels, "data.control")
    chosen = [_label(arm, labels, "data.arms") for arm in data.arms or labels]
    if control not in chosen:
        raise InputError(f"data.arms: expected the control {control!r} among them; found {chosen}.")
    arms = [control, *(arm for arm in chosen if arm != control)]
    if len(set(arms)) < len(chosen):
        raise InputError(f"data.arms: expected each arm once; found {chosen}.")
    if len(arms) < 2:
        raise InputError(
            f"data.treatment: expected two or more arms in {column.name!r}; found {arms}."
        )
    position = np.array([arms.index(label) if label in arms else -1 for label in labels])
    own = position[codes]
    counts = {
        arm_name(lb): int((codes == i).sum()) for i, lb in enumerate(labels) if lb not in arms
    }
    return arms, own, counts


def _check_labels(column: pd.Series, where: str) -> None:
    kind = _kind(column)
    if kind == "floating" and np.isinf(column).any():
        kind = "infinite values"  # no JSON
    if kind not in _PLAIN:
        raise InputError(
            f"{where}: expected texts, numbers or true/false in {column.name!r}; found {kind}. "
            "Convert it to text."
        )


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label


def _label(wanted: Any, labels: list[Any], where: str) -> Any:
    """The label of the data that a config means: equal, or written the same."""
    for label in labels:
        if type(label) is type(wanted) and label == wanted:
            return label
    if isinstance(wanted, bool):
        hint = "no, yes, on and off are booleans in YAML: put a text in quotes"
    else:
        same = [label for label in labels if arm_name(label) == arm_name(wanted)]
        if len(same) == 1:
            return same[0]
        hint = "use one of these"
    shown = ", ".join(repr(label) for label in labels[:20])
    raise InputError(f"{where}: expected a label among {shown}; found {wanted!r}: {hint}.")


def _dataset(
    frame: pd.DataFrame,
    X: pd.DataFrame,
    codes: Array,
    propensity: Floats | None,
    arms: list[Any],
    config: Config,
) -> Dataset:
    data = config.data
    y = _outcome(frame[data.outcome], data)
    weight = None if data.weight is None else _weight(frame[data.weight], codes, arms)
    groups = None if data.group is None else _groups(frame[data.group], config)
    strata = codes * 2 + y if data.outcome_type == "binary" else codes
    held_out = None
    if config.evaluation.holdout:
        held_out = draw_holdout(strata, config.evaluation.holdout, config.folds.seed, groups)
        judged = held_out if weight is None else held_out & (weight > 0)
        _check_held_out(judged, codes, arms, groups)
    return Dataset(
        X=X.reset_index(drop=True),
        y=y,
        w=codes,
        n_variants=len(arms),
        is_classification=data.outcome_type == "binary",
        weight=weight,
        groups=groups,
        propensity=propensity,
        held_out=held_out,
        seed=config.folds.seed,
    )


_LARGEST = 1e100  # squares of larger numbers come near the end of floats


def _outcome(column: pd.Series, data: DataConfig) -> Array:
    values = _numbers(column, "data.outcome")
    if np.abs(values).max() > _LARGEST:
        raise InputError(
            f"data.outcome: expected numbers up to {_LARGEST:g} in {column.name!r}; found "
            f"{np.abs(values).max():g}. Does it stand for a missing value?"
        )
    if data.outcome_type == "regression":
        return values
    found = np.unique(values)
    if not np.isin(found, (0, 1)).all():
        shown = ", ".join(f"{v:g}" for v in found[:5])
        raise InputError(
            f"data.outcome_type: expected 0/1 or true/false in {column.name!r} for a binary "
            f"outcome; found {len(found)} values such as {shown}. Say regression, or recode it."
        )
    if len(found) < 2:
        raise InputError(
            f"data.outcome: expected both classes in {column.name!r}; found only {found[0]:g}. "
            "There is no effect to estimate."
        )
    return values.astype(np.int64)


def _weight(column: pd.Series, codes: Array, arms: list[Any]) -> Floats:
    values = _numbers(column, "data.weight")
    negative = int((values < 0).sum())
    empty = [arm for code, arm in enumerate(arms) if not values[codes == code].any()]
    if negative or empty:
        found = f"{negative} negative ones" if negative else f"only zeros in {empty}"
        raise InputError(
            f"data.weight: expected weights of 0 and above in {column.name!r}, some above 0 in "
            f"each arm; found {found}. Weights say how many units a row stands for."
        )
    return values


def _groups(column: pd.Series, config: Config) -> Array:
    if column.isna().any():
        raise InputError(
            f"data.group: expected a group in each row of {column.name!r}; "
            f"{int(column.isna().sum())} have none. Give each such row a group of its own."
        )
    _check_labels(column, "data.group")
    n_groups = column.nunique()
    if n_groups < config.folds.n_folds:
        raise InputError(
            f"data.group: expected at least as many groups as folds, {config.folds.n_folds}; "
            f"found {n_groups} in {column.name!r}. Use fewer folds or another column."
        )
    return column.to_numpy()


def _numbers(column: pd.Series, where: str) -> Floats:
    """A column as finite floats, or a refusal."""
    kind = _kind(column)
    if kind not in ("integer", "floating", "boolean"):
        raise InputError(f"{where}: expected numbers in {column.name!r}; found {kind}. Convert it.")
    values = column.to_numpy(dtype=float, na_value=np.nan)
    missing, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    if missing or infinite:
        raise InputError(
            f"{where}: expected a finite number in each row of {column.name!r}; found {missing} "
            f"missing and {infinite} infinite of {len(values)}. Remove those rows, knowing what "
            "that assumes."
        )
    return values


def _check_held_out(held_out: Array, codes: Array, arms: list[Any], groups: Array | None) -> None:
    members = np.arange(len(codes)) if groups is None else groups
    what = "rows" if groups is None else "groups"
    for code, arm in enumerate(arms):
        found = len(pd.unique(members[held_out & (codes == code)]))
        if found < 2:
            raise InputError(
                f"evaluation.holdout: expected two held-out {what} or more of each arm with a "
                f"weight, where there are weights, above 0; found {found} of {arm!r}, which has "
                f"{(codes == code).sum()} rows. Hold out more, leave that arm out, or say 0 for no "
                "evaluation on held-out rows."
            )


def _digested(columns: list[str], data: DataConfig) -> list[str]:
    # Identities shape nothing, and may be of any type.
    return [name for name in columns if name != data.row_id or name == data.group]


def _row_ids(frame: pd.DataFrame, data: DataConfig) -> pd.Series:
    if data.row_id is None:
        return pd.Series(np.arange(len(frame)), name="row")
    return frame[data.row_id]


def _reference(config: Config, n_variants: int) -> DRLearner:
    return cast(DRLearner, make_learner("DRLearner", config, n_variants, own_models=False))


def _few_groups(d: Dataset, arms: list[Any]) -> list[str]:
    if d.groups is None:
        return []
    clusters = {arm: len(np.unique(d.groups[d.w == code])) for code, arm in enumerate(arms)}
    few = [f"{arm} has {n}" for arm, n in clusters.items() if n < 40]
    if not few:
        return []
    return [f"Clustered standard errors want 40 groups an arm or more: {', '.join(few)}."]


def _many_levels(X: pd.DataFrame) -> list[str]:
    return [
        f"Feature {name} has {X[name].nunique()} different texts: are they numbers, or identities?"
        for name in _categories(X)
        if X[name].nunique() > 100
    ]


def _categories(X: pd.DataFrame) -> list[str]:
    return [name for name in X if isinstance(X[name].dtype, pd.CategoricalDtype)]


def _check_models(study: Study) -> None:
    """Refuse base models that can't take the features or weights they would get."""
    known = set() if study.propensity is None else {PROPENSITY_MODEL}
    asked = [(name, learner, learner.kinds) for name, learner in study.learners.items()]
    asked.append(("evaluation", study.reference, study.reference.NUISANCE_KINDS))
    for name, learner, kinds in asked:
        for kind in (kind for kind in kinds if kind not in known):
            estimator = learner.spec(kind).build()
            who = f"{type(estimator).__name__}, the {kind} of {name},"
            _check_features(estimator, study.features, who)
            weighted = study.config.data.weight is not None or kind in learner.WEIGHTED
            if weighted and weight_argument(estimator) is None:
                raise InputError(
                    f"Expected a base model whose fit takes sample_weight; {who} doesn't. "
                    "Name another."
                )


_ODD = re.compile(r'[",:\[\]{}\n\r]|^$')


def _check_features(estimator: Any, X: pd.DataFrame, who: str) -> None:
    missing = [name for name in X if X[name].isna().any()]
    if missing and not takes_missing(estimator):
        raise InputError(
            f"Expected no missing values in {', '.join(missing)}: {who} can't take them. "
            "Name a sklearn.pipeline.Pipeline with an imputer, or a model that can."
        )
    categories = _categories(X)
    if categories and not takes_categories(estimator):
        raise InputError(
            f"Expected numbers in {', '.join(categories)}: {who} can't take categories. "
            "Name a sklearn.pipeline.Pipeline with an encoder, or a model that can."
        )
    # LightGBM keeps names in a line of its model, with spaces as underscores.
    kept = Counter(name.replace(" ", "_") for name in X)
    odd = [name for name in X if _ODD.search(name) or kept[name.replace(" ", "_")] > 1]
    if odd and type(estimator).__module__.startswith("lightgbm."):
        raise InputError(
            f'Expected other names than {odd}: {who} takes none with , : " [ ] {{ }} or line '
            "ends, and no two that differ by spaces for underscores. Rename those columns."
        )


def _with_labels(message: str, arms: list[Any]) -> str:
    """A library message, which knows arms by code, in terms of the data's labels."""
    for code, arm in enumerate(arms):
        message = message.replace(f"in arm {code}.", f"in arm {arm!r}.")
    return message
