"""Loads and validates: from a config to the rows and learners of a run, or one clear refusal."""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd

from flows.config.sections import Config, DataConfig
from flows.errors import InputError
from flows.inputs.columns import (
    as_features,
    check_design,
    choose_columns,
    known_propensity,
    read_arms,
    read_groups,
    read_outcome,
    read_row_ids,
    read_strata,
    read_weight,
    shares_of_design,
)
from flows.inputs.models import learners_of, make_learner, with_defaults
from flows.inputs.source import open_source, read_rows
from flows.messages.secrets import without_secrets
from metalearners._typing import Array, Floats, Ref
from metalearners.base_models.capabilities import takes_categories, takes_missing
from metalearners.base_models.weights import weight_argument
from metalearners.data.dataset import Dataset
from metalearners.data.folds import draw_holdout
from metalearners.data.schema import Schema
from metalearners.digests.matrices import matrix_digest
from metalearners.drlearner import DRLearner
from metalearners.evaluation.design import ArmShares
from metalearners.evaluation.means import effective_clusters
from metalearners.metalearner import PROPENSITY_MODEL, MetaLearner


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
    shares : of the arms in a declared experiment, which `propensity` then has
    strata : (n,) of the rows that take part, None for one stratum
    dataset : the rows that take part
    judging : the same rows with the held-out ones as those to fit on: nuisances of their own judge
        what was fitted on the others. None without such rows, or with too few
    learners : by name, unfitted
    reference : gives the nuisances that average effects and evaluation share
    digest : of the columns read, without the rows' identities
    left_out : rows by label of arms that take no part
    warnings : what a reader should know
    failed : what went wrong, by learner that couldn't be fitted; `learners` has the others
    """

    config: Config
    arms: list[Any]
    features: pd.DataFrame
    used: Array
    row_ids: pd.Series
    propensity: Floats | None
    shares: ArmShares | None
    strata: pd.Series | None
    dataset: Dataset
    judging: Dataset | None
    learners: dict[str, MetaLearner]
    reference: DRLearner
    digest: Ref
    left_out: dict[str, int]
    warnings: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def without(self, failed: Mapping[str, Exception]) -> "Study":
        """The study without learners that couldn't be fitted."""
        if not failed:
            return self
        reasons = {name: without_secrets(str(error)) for name, error in failed.items()}
        told = [f"The {name} could not be fitted: {reason}" for name, reason in reasons.items()]
        return dataclasses.replace(
            self,
            learners={name: own for name, own in self.learners.items() if name not in failed},
            failed=reasons,
            warnings=[*self.warnings, *told],
        )

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
    columns, features, warnings = choose_columns(config.data, source.schema.names)
    frame = read_rows(source, columns, config.data.source)
    arms, codes, left_out = read_arms(frame[config.data.treatment], config.data)
    used = codes >= 0
    X = as_features(frame, features)
    check_design(config.data, arms, left_out)
    propensity = known_propensity(frame, config.data, arms)
    data, rows, own = config.data, frame[used], codes[used]
    weight = None if data.weight is None else read_weight(rows[data.weight], own, arms)
    try:
        shares = shares_of_design(rows, own, weight, data, len(arms))
        if shares is not None:
            propensity = shares.of(len(frame), read_strata(frame, data))
        known = None if propensity is None else propensity[used]
        dataset = _dataset(rows, X[used], own, known, weight, arms, config)
        config = with_defaults(config, int(dataset.train.sum()), len(arms))
        judging = _judging(dataset, config)
        learners, reference = learners_of(config, len(arms)), _reference(config, len(arms))
        study = Study(
            config=config,
            arms=arms,
            features=X,
            used=used,
            row_ids=read_row_ids(frame, config.data),
            propensity=propensity,
            shares=shares,
            strata=read_strata(rows, data),
            dataset=dataset,
            judging=judging,
            learners=learners,
            reference=reference,
            digest="-".join(matrix_digest(frame[_digested(columns, config.data)])),
            left_out=left_out,
            warnings=[
                *warnings,
                *_many_levels(X),
                *_strata_beside(config.data, features),
                *_few_groups(dataset, arms),
                *_few_held_out(dataset, judging),
                *_concerns([*learners.values(), reference], dataset),
            ],
        )
        for learner in (*study.learners.values(), study.reference):
            learner.check(dataset)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{config.data.source}: {_with_labels(str(error), arms)}") from None
    _check_models(study)
    _try_models(study)
    return study


def _dataset(
    frame: pd.DataFrame,
    X: pd.DataFrame,
    codes: Array,
    propensity: Floats | None,
    weight: Floats | None,
    arms: list[Any],
    config: Config,
) -> Dataset:
    data = config.data
    y = read_outcome(frame[data.outcome], data)
    groups = None if data.group is None else read_groups(frame[data.group], config)
    strata = codes * 2 + y if data.outcome_type == "binary" else codes
    held_out = None
    if config.evaluation.holdout:
        held_out = draw_holdout(strata, config.evaluation.holdout, config.folds.seed, groups)
        judged = held_out if weight is None else held_out & (weight > 0)
        _check_held_out(judged, codes, arms, groups)
    _check_weighted(weight, groups, codes, arms)
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


def _check_weighted(
    weight: Floats | None, groups: Array | None, codes: Array, arms: list[Any]
) -> None:
    """Refuse arms without a standard error, before anything is fitted."""
    present = np.ones(len(codes), bool) if weight is None else weight > 0
    members = np.arange(len(codes)) if groups is None else groups
    what = "rows" if groups is None else "groups"
    for code, arm in enumerate(arms):
        found = len(pd.unique(members[present & (codes == code)]))
        if found < 2:
            raise InputError(
                f"Expected two {what} or more of each arm with a weight above 0, for a standard "
                f"error; found {found} of {arm!r}. Leave that arm out."
            )


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


def _reference(config: Config, n_variants: int) -> DRLearner:
    return cast(DRLearner, make_learner("DRLearner", config, n_variants, own_models=False))


def _strata_beside(data: DataConfig, features: list[str]) -> list[str]:
    if data.strata is None or data.strata in features:
        return []
    also = "" if data.design == "randomised" else ", and the average effects too"
    return [
        f"data.strata, {data.strata!r}, isn't among the features: where the arms' shares differ by "
        "stratum, raw differences and the estimates of S-, T- and X-learners mix effects with "
        f"differences between strata{also}. Add it to the features."
    ]


def _few_groups(d: Dataset, arms: list[Any]) -> list[str]:
    """Arms whose clusters are too few, all rows and held-out ones apart."""
    if d.groups is None:
        return []
    told = []
    parts = [("", np.ones(len(d), bool)), (" of held-out rows", d.held_out)]
    for what, rows in parts:
        if rows is None:
            continue
        weight = None if d.weight is None else d.weight[rows]
        worth = effective_clusters(d.w[rows], d.groups[rows], weight)
        few = [f"{arm} has {n:.3g}" for arm, n in zip(arms, worth, strict=True) if n < 40]
        if few:
            told.append(
                f"Clustered standard errors{what} want 40 groups an arm or more, and groups of "
                f"unequal size count as fewer, (sum n)^2 / sum n^2: {', '.join(few)}."
            )
    return told


_JUDGING_FOLDS = 4  # held-out groups of each arm and class, for each fold


def _judging(d: Dataset, config: Config) -> Dataset | None:
    """The rows seen from the hold-out: those to fit on are the held-out ones."""
    if d.held_out is None:
        return None
    turned = dataclasses.replace(d, held_out=~d.held_out)
    weighted = turned.train if d.weight is None else turned.train & (d.weight > 0)
    groups = np.arange(len(d)) if d.groups is None else d.groups
    held = pd.Series(groups[weighted]).groupby(d.strata[weighted]).nunique()
    enough = _JUDGING_FOLDS * config.folds.n_folds
    if len(held) < len(np.unique(d.strata)) or held.min() < enough:
        return None
    return turned


def _few_held_out(d: Dataset, judging: Dataset | None) -> list[str]:
    if d.held_out is None or judging is not None:
        return []
    return [
        "The hold-out is too small for nuisance models of its own: ranking and calibration are "
        "judged by those of the training rows, which learners share. Hold out more rows."
    ]


def _concerns(learners: list[MetaLearner], d: Dataset) -> list[str]:
    """What single precision does to these rows, said once."""
    return list(dict.fromkeys(said for one in learners for said in one.concerns(d)))


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


def _try_models(study: Study) -> None:
    """Refuse base models that would be refused in their fits; warn of those that no cache keeps."""
    for learner in (*study.learners.values(), study.reference):
        try:
            learner.check_models(study.dataset)
        except ValueError as error:
            raise InputError(f"{study.config.data.source}: {error}") from None
        if study.config.cache.enabled:
            study.warnings.extend(line for line in learner.unkept() if line not in study.warnings)


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
