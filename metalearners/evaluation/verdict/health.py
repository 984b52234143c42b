"""Health lights: what may be wrong with an experiment or with its analysis, each in a sentence."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from metalearners._typing import Floats
from metalearners.evaluation.averages.weighting import WeightedBalance
from metalearners.evaluation.balance import Balance
from metalearners.evaluation.design import SampleRatio
from metalearners.evaluation.findings import LEVEL
from metalearners.evaluation.judging.calibration import Blp
from metalearners.evaluation.multiplicity import holm
from metalearners.evaluation.overlap import Overlap
from metalearners.evaluation.verdict import limits
from metalearners.evaluation.verdict.limits import Limit, Status
from metalearners.evaluation.verdict.words import number, p_value, percent, several
from metalearners.showing.results import Shown

_ORDER = {"bad": 0, "warn": 1, "ok": 2}


@dataclass(frozen=True)
class Light(Shown):
    """What a check says.

    Parameters
    ----------
    check : str
        Its name.
    status : str
        ``ok``, ``warn`` or ``bad``.
    sentence : str
        What was found.
    """

    check: str
    status: Status
    sentence: str


@dataclass(frozen=True, eq=False)
class Signs(Shown):
    """What is known of an experiment's health; None or empty for what isn't.

    Parameters
    ----------
    arms : sequence of str
        Names of the K arms, the control first.
    drawn : bool
        Whether chance drew the arms, as the design was declared or as it looks.
    declared : bool
        Whether it was declared.
    changed : sequence of str
        Arms whose effect adjustment changes by more than chance does.
    robustness : float, optional
        The strength of a hidden confounder that explains some claimed effect away.
    ratio : SampleRatio, optional
        Sizes of the arms beside those of the design.
    overlap : Overlap, optional
        Of the propensities.
    weighted : WeightedBalance, optional
        What weighting does; None where all rows have the same propensities.
    balance : Balance, optional
        Of the features, before weighting.
    features : sequence of str
        Their names.
    clusters, rows : (K,) array, optional
        What the arms' rows are worth: as clusters, or as rows where there are none.
    held_out : (K,) array, optional
        The same of held-out rows.
    judged_by_own : bool
        Whether held-out rows are judged by nuisance models of their own.
    unsure, held_out_unsure : (K,) array, optional
        Relative errors of the arms' standard errors (`unsureness`), and those of held-out rows.
    lines : mapping
        By learner and arm, the line of effects on estimates.
    moves : mapping of str to float
        By figure, its spread over draws of the folds, in standard errors.
    failed : sequence of str
        Learners that couldn't be fitted.
    """

    arms: Sequence[str]
    drawn: bool
    declared: bool
    changed: Sequence[str] = ()
    robustness: float | None = None
    ratio: SampleRatio | None = None
    overlap: Overlap | None = None
    weighted: WeightedBalance | None = None
    balance: Balance | None = None
    features: Sequence[str] = ()
    clusters: Floats | None = None
    rows: Floats | None = None
    held_out: Floats | None = None
    judged_by_own: bool = True
    unsure: Floats | None = None
    held_out_unsure: Floats | None = None
    lines: Mapping[tuple[str, str], Blp] = field(default_factory=dict)
    moves: Mapping[str, float] = field(default_factory=dict)
    failed: Sequence[str] = ()


def health_of(found: Signs) -> tuple[Light, ...]:
    """The lights of the checks that can be made, the most severe first among equal ones.

    `LIMITS` in `metalearners.evaluation.verdict.limits` has the limits, in the same order.
    """
    checks = (_ratio, _chance, _clipped, _overlap, _balance, _few, _tails)
    others = (_calibration, _stability, _failed)
    return tuple(light for check in (*checks, *others) for light in check(found))


def worst(lights: Sequence[Light]) -> Light | None:
    """The light to doubt first; None where all are ok."""
    first = min(lights, key=lambda one: _ORDER[one.status], default=None)
    return None if first is None or first.status == "ok" else first


def _light(limit: Limit, value: float, sentence: str) -> Light:
    return Light(limit.check, limit.status(value), sentence)


def _ratio(found: Signs) -> Iterator[Light]:
    ratio = found.ratio
    if ratio is None:
        return
    p = p_value(ratio.p_value)
    counts = several(
        [
            f"{arm} has {number(own)} where {number(wanted)} are expected"
            for arm, own, wanted in zip(found.arms, ratio.found, ratio.expected, strict=True)
        ]
    )
    sentence = f"The arms are of sizes that chance gives ({p})."
    if limits.RATIO.status(ratio.p_value) == "bad":
        sentence = (
            f"The arms aren't of the sizes that the design gives ({p}): {counts}. Rows may be lost "
            "or counted twice in one arm, and no estimate is safe from that."
        )
    yield _light(limits.RATIO, ratio.p_value, sentence)


def _chance(found: Signs) -> Iterator[Light]:
    if not found.drawn:
        yield _light(limits.CHANCE, 1, _observed(found.robustness))
    elif found.changed:
        yield _light(
            limits.CHANCE,
            len(found.changed),
            f"Adjustment for the features changes the effect of {several(found.changed)} by more "
            "than chance does. If chance drew the arms, a feature may come after the treatment.",
        )
    elif found.declared:
        sentence = (
            "Chance drew the arms, the config says, and adjustment for the features doesn't speak "
            "against it."
        )
        yield _light(limits.CHANCE, 0, sentence)
    else:
        sentence = "The features don't predict the arm, as if chance had drawn it."
        yield _light(limits.CHANCE, 0, sentence)


def _observed(robustness: float | None) -> str:
    told = (
        "Nothing says that chance drew the arms. The effects are right only if the features hold "
        "all that moved both the choice of the arm and the outcome."
    )
    if not robustness:
        return told
    return (
        f"{told} A hidden cause that explains {percent(robustness)} of what is left of each would "
        "be enough to explain an effect away."
    )


def _clipped(found: Signs) -> Iterator[Light]:
    if found.overlap is None:
        return
    own, carried = found.overlap, found.overlap.carried
    at = int(np.argmax(carried))
    value = max(float(carried[at]), np.nextafter(0, 1) if own.clipped else 0.0)
    sentence = "No probability of an arm was clipped."
    if own.clipped:
        rows = "1 row" if own.clipped == 1 else f"{own.clipped:,} rows"
        sentence = (
            f"The probability of an arm was too small to use in {rows}, and was raised. Of "
            f"what the mean of arm '{found.arms[at]}' rests on, {percent(carried[at])} are such "
            "rows. Intervals leave the bias of that out."
        )
    yield _light(limits.CLIPPED, value, sentence)


def _overlap(found: Signs) -> Iterator[Light]:
    if found.weighted is None:
        return
    own = found.weighted
    left = own.effective_after / np.maximum(own.effective_before, 1e-300)
    at = int(np.argmin(left))
    unlike = (
        ": some kinds of people are rarely in it, and few of them decide its mean"
        if limits.OVERLAP.status(left[at]) != "ok"
        else ""
    )
    worth = f"{number(own.effective_after[at])} of {number(own.effective_before[at])}"
    units = "rows" if found.clusters is None else "clusters"
    yield _light(
        limits.OVERLAP,
        float(left[at]),
        f"Weighted to be like all people, {found.arms[at]} is worth {percent(left[at])} of its "
        f"size ({worth} effective {units}){unlike}.",
    )


def _balance(found: Signs) -> Iterator[Light]:
    if found.drawn and found.balance is not None and found.weighted is None:
        yield _drawn_balance(found.balance, found.features)
    elif found.weighted is not None and found.balance is not None:
        yield _weighted_balance(found.weighted, found.balance, found.features, found.declared)


def _drawn_balance(own: Balance, features: Sequence[str]) -> Light:
    p = own.adjusted
    names = [features[j] for j in np.argsort(p, kind="stable")[: own.beyond_chance]]
    smallest = f"smallest adjusted {p_value(float(p.min()))}"
    sentence = f"The features are alike in all arms, but for chance ({smallest})."
    if names:
        sentence = (
            f"Arms differ in {several(names)} by more than chance explains ({smallest}). "
            "Rows may be missing, or a feature comes after the treatment."
        )
    return _light(limits.DRAWN_BALANCE, float(p.min()), sentence)


def _weighted_balance(
    own: WeightedBalance, raw: Balance, features: Sequence[str], declared: bool
) -> Light:
    size = np.abs(own.after)
    size = np.where(size > np.nan_to_num(raw.noise) * _for_all(size.size), size, 0.0).max(axis=1)
    at = int(np.argmax(size))
    value = float(size[at])
    if limits.WEIGHTED_BALANCE.status(value) == "ok":
        largest = np.abs(own.after).max(axis=1)
        name = features[int(np.argmax(largest))]
        sentence = (
            f"Weighted by their probabilities, arms differ most in {name}, by "
            f"{number(float(largest.max()))} standard deviations: it is small, or chance explains "
            "it."
        )
        return _light(limits.WEIGHTED_BALANCE, value, sentence)
    why = (
        "The model of the probabilities, or clipping, leaves differences between the arms' people."
    )
    if declared:
        why = "The declared design doesn't give that: it may be chance, or rows may be missing."
    sentence = (
        f"Even after weighting, arms differ in {features[at]} by {number(value)} standard "
        f"deviations. {why}"
    )
    return _light(limits.WEIGHTED_BALANCE, value, sentence)


def _for_all(tests: int) -> float:
    """By what a noise band of one difference grows to hold for so many at once (Bonferroni)."""
    one, every = (stats.norm.isf(LEVEL / 2 / m) for m in (1, tests))
    return float(every / one)


def _few(found: Signs) -> Iterator[Light]:
    """Of clusters or else of rows: the worse of all of them and of held-out ones."""
    if found.clusters is None:
        limit, of_held_out, own, what = limits.ROWS, limits.HELD_OUT, found.rows, "rows"
    else:
        limit, of_held_out = limits.CLUSTERS, limits.HELD_OUT_CLUSTERS
        own, what = found.clusters, "clusters of equal size"
    lights = [] if own is None else [_fewest(limit, found.arms, own, what)]
    if found.held_out is not None:
        lights.append(_fewest(of_held_out, found.arms, found.held_out, f"held-out {what}"))
    if found.held_out is not None and not found.judged_by_own:
        sentence = (
            "The held-out rows are too few for models of their own: rankings are judged by models "
            "of the rows that learners were fitted on."
        )
        lights.append(Light(limit.check, "warn", sentence))
    if lights:
        yield min(lights, key=lambda one: _ORDER[one.status])


def _fewest(limit: Limit, arms: Sequence[str], numbers: Floats, what: str) -> Light:
    at = int(np.argmin(numbers))
    few = ", few for intervals and p-values to be right"
    if limit.status(numbers[at]) == "ok":
        few = ""
    verb = "is worth" if "clusters" in what else "has"
    sentence = f"The smallest arm, {arms[at]}, {verb} {number(numbers[at])} {what}{few}."
    return _light(limit, float(numbers[at]), sentence)


def _tails(found: Signs) -> Iterator[Light]:
    """The worse of all rows and of held-out ones."""
    given = (("all rows", found.unsure), ("held-out rows", found.held_out_unsure))
    lights = [_tail(found.arms, own, rows) for rows, own in given if own is not None]
    if lights:
        yield min(lights, key=lambda one: _ORDER[one.status])


def _tail(arms: Sequence[str], unsure: Floats, rows: str) -> Light:
    at = int(np.argmax(unsure))
    own = float(unsure[at])
    few = "few large values decide it"
    if limits.TAILS.status(own) == "ok":
        few = "large values don't decide it"
    sentence = (
        f"Over {rows}, the standard error of the mean outcome in {arms[at]} is known to "
        f"{percent(own)}: {few}."
    )
    return _light(limits.TAILS, own, sentence)


def _calibration(found: Signs) -> Iterator[Light]:
    if not found.lines:
        return
    names, lines = list(found.lines), list(found.lines.values())
    p = holm(np.array([one.p_calibrated for one in lines]))
    p = np.where([one.slope.estimate < 1 for one in lines], p, 1.0)
    at = int(np.argmin(p))
    (learner, arm), slope = names[at], lines[at].slope
    learners = several(list(dict.fromkeys(learner for learner, _ in names)))
    sentence = (
        f"Nothing shows that differences between estimates of {learners} overstate those of "
        "effects."
    )
    if limits.SLOPE.status(p[at]) != "ok":
        use = "Their order says more than their size" if slope.ci_low > 0 else "They may be noise"
        sentence = (
            f"Differences between estimates of {learner} for {arm} overstate those of effects: for "
            f"each unit, effects differ by {number(slope.estimate)} (95 % interval by itself "
            f"{number(slope.ci_low)} to {number(slope.ci_high)}). {use}. {_others(p, names)} "
            "It bears on treating by estimates, and not on average effects."
        )
    yield _light(limits.SLOPE, float(p[at]), sentence)


def _others(p: Floats, names: Sequence[tuple[str, str]]) -> str:
    """How many lines fail, with that of the smallest p-value."""
    failing = sum(limits.SLOPE.status(float(own)) != "ok" for own in p)
    return (
        f"That is the surest of {failing} out of {len(names)} lines (adjusted {p_value(min(p))})."
    )


def _stability(found: Signs) -> Iterator[Light]:
    known = {name: own for name, own in found.moves.items() if np.isfinite(own)}
    if not known:
        return
    name = max(known, key=lambda one: known[one])
    yield _light(
        limits.MOVES,
        known[name],
        f"Over draws of the folds, figures spread by {number(known[name])} standard errors at "
        f"most ({name}).",
    )


def _failed(found: Signs) -> Iterator[Light]:
    if found.failed:
        sentence = f"Not fitted: {several(found.failed)}. The other learners are whole."
        yield _light(limits.FAILED, len(found.failed), sentence)
