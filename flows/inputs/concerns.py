"""What a reader should know of the rows of a study: warnings, each a sentence with its remedy."""

import re
from typing import Any

import numpy as np
import pandas as pd

from flows.config.data import DataConfig
from flows.config.sections import Config
from flows.inputs.features import categories_of
from flows.inputs.guesses.reasons import alone, treated_as_a_whole
from flows.inputs.source import Table
from flows.messages.limits import shown
from metalearners._typing import Array, Floats
from metalearners.data.dataset import Dataset
from metalearners.data.outcomes import OutcomeShape
from metalearners.evaluation.design import SampleRatio, sample_ratio
from metalearners.evaluation.means import FEWEST_CLUSTERS, effective_clusters

_TINY = 0.01  # share of the rows
_FOR_ZEROS = re.compile("TwoPartRegressor|tweedie|poisson", re.IGNORECASE)
_TWO_PART = "metalearners.base_models.recipes.TwoPartRegressor"
_TWEEDIE = "lightgbm.LGBMRegressor with params {objective: tweedie}"


def repeated_ids(table: pd.DataFrame, data: DataConfig) -> list[str]:
    """A warning of rows that share their identity."""
    if data.row_id in (None, data.group):  # rows of one cluster share its identity
        return []
    repeated = int(table[data.row_id].duplicated(keep=False).sum())
    if not repeated:
        return []
    return [
        f"data.row_id: {repeated} of {len(table)} rows share their {data.row_id!r} with another "
        "row. If rows were joined twice, drop the copies; if an identity has several rows, name it "
        "as data.group, else intervals are too short."
    ]


def treated_together(X: pd.DataFrame, data: DataConfig, used: Array, w: Array) -> list[str]:
    """A warning of a feature whose rows share their arm, where no clusters are named."""
    if data.group is not None:
        return []
    labels = [name for name in X if not pd.api.types.is_float_dtype(X[name].dtype)]
    arms = pd.Series(w, X.index[used])
    found = [name for name in labels if treated_as_a_whole(X[name][used], arms)]
    if not found:
        return []
    name = min(found, key=lambda name: X[name].nunique())
    return [
        f"All rows of the same {name!r} have one arm, which chance alone wouldn't do: each {name} "
        f"seems to have been treated as a whole. Name it as data.group instead of a feature, else "
        "intervals are too short."
    ]


def unlikely_features(data: DataConfig, table: Table, names: list[str]) -> list[str]:
    """A warning of columns that nobody named as features, and that look like none."""
    if data.features is not None:
        return []
    found = {name: alone(name, table.frame[name]) for name in names}
    told = [f"{name} ({why})" for name, why in found.items() if why]
    if not told:
        return []
    return [
        f"data.features isn't set, and some may not belong there: {shown('; '.join(told), 500)}."
    ]


def dates(names: list[str]) -> list[str]:
    """A warning of dates among the features."""
    if not names:
        return []
    return [f"Dates are features as days since 1970-01-01, in UTC: {', '.join(names)}."]


def declared(data: DataConfig, propensity: Floats | None, used: Array) -> Floats | None:
    """(n, K) probabilities of a design; None where nothing says them.

    A randomised design whose shares aren't declared may have any, so equal ones are for comparison.
    """
    if data.weight is not None or propensity is None or data.strata is not None:
        return None  # the rows' arms may then have other shares by design
    own = propensity[used]
    return own if data.propensity is not None else np.full_like(own, 1 / own.shape[1])


def designed_ratio(
    data: DataConfig, w: Array, e: Floats | None, groups: Array | None
) -> SampleRatio | None:
    """Sizes of the arms beside those of the design; None where nothing says those.

    Without declared shares, only those near equal ones tell what was meant.
    """
    ratio = None if e is None else sample_ratio(w, e, groups)
    known = data.propensity is not None or (ratio is not None and ratio.is_close)
    return ratio if known else None


def mismatch(
    data: DataConfig, arms: list[Any], w: Array, e: Floats | None, groups: Array | None
) -> list[str]:
    """A warning of arms whose sizes the design doesn't give."""
    ratio = designed_ratio(data, w, e, groups)
    known = data.propensity is not None
    if ratio is None or not ratio.is_mismatch:
        return []
    units = "rows" if groups is None else "groups"
    counts = ", ".join(
        f"{arm} has {found:,.0f} {units} and {expected:,.0f} are expected"
        for arm, found, expected in zip(arms, ratio.found, ratio.expected, strict=True)
    )
    design = "data.propensity" if known else "data.design, randomised with nearly equal shares"
    remedy = (
        ""
        if known
        else " If other shares were meant, set data.design to auto and say them as data.propensity."
    )
    return [
        f"Sample ratio mismatch: the arms aren't of the sizes that {design} gives "
        f"(p = {ratio.p_value:.1g}): {counts}. Rows may be lost or counted twice in one arm, and "
        f"no estimate is safe from that. Find out why before you rely on this run.{remedy}"
    ]


def tiny_arms(data: DataConfig, arms: list[Any], w: Array) -> list[str]:
    """Arms of so few rows that no experiment would have them, unless they were asked for."""
    if data.design == "observational" or data.propensity is not None or data.arms is not None:
        return []
    if len(arms) == 2 and data.design != "randomised":
        return []  # a rare treatment, as data that nobody drew may have
    counts = np.bincount(w, minlength=len(arms))
    return [
        f"Arm {arm} has {n:,} of {len(w):,} rows, too few for a design: is it another arm's label, "
        "written in another way? Correct it, or list the arms to use in data.arms."
        for arm, n in zip(arms, counts, strict=True)
        if n < _TINY * len(w)
    ]


def constants(X: pd.DataFrame) -> list[str]:
    """A warning of features with one value."""
    return [
        f"Feature {name} has one value, so no effect can vary with it: leave it out."
        for name in X
        if (X[name] == X[name].iloc[0]).all()
    ]


def many_levels(X: pd.DataFrame) -> list[str]:
    """A warning of texts that nearly each row has of its own."""
    return [
        f"Feature {name} has {X[name].nunique()} different texts: are they numbers, identities, or "
        "dates for data.read.dates?"
        for name in categories_of(X)
        if X[name].nunique() > 100
    ]


def strata_beside(data: DataConfig, features: list[str]) -> list[str]:
    """A warning of strata that the models don't see."""
    if data.strata is None or data.strata in features:
        return []
    also = "" if data.design == "randomised" else ", and the average effects too"
    return [
        f"data.strata, {data.strata!r}, isn't among the features: where the arms' shares differ by "
        "stratum, raw differences and the estimates of S-, T- and X-learners mix effects with "
        f"differences between strata{also}. Add it to the features."
    ]


def outcome_shape(
    config: Config, arms: list[Any], w: Array, y: Array, weight: Floats | None
) -> list[str]:
    """A warning of an outcome that is mostly 0, or whose errors few rows decide."""
    if config.data.is_binary:
        return []
    shape = OutcomeShape.of(y, w, len(arms), weight)
    found, recipes, heavy = [], [], shape.heaviest_arm
    if shape.has_many_zeros and not _FOR_ZEROS.search(str(config.models)):
        found.append(f"is 0 in {shape.zeros:.3g} of the rows")
        recipes.append(_TWO_PART)
    if heavy is not None:
        found.append(
            f"has so few large values that the standard error of its mean in arm {arms[heavy]} is "
            f"itself unsure by {shape.unsure[heavy]:.0%}"
        )
    if found and (y >= 0).all() and not _FOR_ZEROS.search(str(config.models)):
        recipes.append(_TWEEDIE)
    if not found:
        return []
    fits = f" Base models for it, in place of squared errors: {' or '.join(recipes)}; see "
    cap = " Cap it at a value that doesn't depend on these rows, if large values matter less; see "
    remedy = (fits if recipes else cap) + "docs/config.md, Many zeros and heavy tails."
    return [f"Outcome {config.data.first_outcome!r} {' and '.join(found)}.{remedy}"]


def before_first_fold(predicted: Array) -> list[str]:
    """A warning of rows that no fold predicts, as folds follow time."""
    absent = int((~predicted).sum())
    if not absent:
        return []
    return [
        f"data.time: {absent:,} of {len(predicted):,} rows are in the first block of time. No rows "
        "precede them that a model could learn from, so they have no estimates, and take no part "
        "in treatment models and average effects."
    ]


def few_groups(d: Dataset, arms: list[Any]) -> list[str]:
    """A warning of arms whose clusters are too few, all rows and held-out ones apart."""
    if d.groups is None:
        return []
    told = []
    parts = [("", d.predicted), (" of held-out rows", d.held_out)]
    for what, rows in parts:
        if rows is None:
            continue
        weight = None if d.weight is None else d.weight[rows]
        worth = effective_clusters(d.w[rows], d.groups[rows], weight)
        few = [
            f"{arm} has {n:.3g}" for arm, n in zip(arms, worth, strict=True) if n < FEWEST_CLUSTERS
        ]
        if few:
            told.append(
                f"Clustered standard errors{what} want {FEWEST_CLUSTERS} groups an arm or more, "
                "and groups of unequal size count as fewer, (sum n)^2 / sum n^2: "
                f"{', '.join(few)}."
            )
    return told
