"""Whom to treat with what: the rule of a run, the arms that it gives, and what that brings."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from flows.config.parts.targeting import TargetingConfig
from flows.inputs.study import Study
from flows.report.figures.candidates import plain, tolerance_of
from flows.report.figures.scored import Scored
from metalearners._typing import Array, Floats, Name
from metalearners.data.estimate_columns import arm_name, estimate_columns
from metalearners.evaluation.judging.comparison import Comparison
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.targeting.curves import TargetingCurve, targeting_curve
from metalearners.evaluation.targeting.paths import TargetingRule, TreatmentPath, treatment_path
from metalearners.evaluation.targeting.trees import PolicyTree, policy_tree
from metalearners.evaluation.targeting.values import (
    PolicyValue,
    best_single_arm,
    budget_value,
    policy_difference,
    policy_value,
    single_arm_value,
)
from metalearners.fits.crossfit import CrossFit

UNJUDGED = (
    "no rows are held out: the rule gives each row an arm, but what that brings is unknown, as "
    "rows that were fitted on would flatter it. Set evaluation.holdout"
)
_UNSPENT = 0.05  # of a budget: beyond it, a reader is told


@dataclass(frozen=True, eq=False)
class JudgedTargeting:
    """What held-out rows say of a rule, which neither fitted nor chose its learner."""

    rows: int
    curve: TargetingCurve  # gain by budget
    chosen: PolicyValue  # of the rule
    treat_all: list[PolicyValue]  # by arm other than the control
    best_arm: int  # code of the arm with the highest predicted gain for the budget, if one alone
    best: PolicyValue  # of that arm, for as many rows as the budget pays for
    over_best: Estimate  # the rule's gain less that of this arm, each less the price of its spend
    tree: PolicyTree  # a rule that a person can read, fitted on training rows
    tree_value: PolicyValue
    tree_loss: Estimate  # likewise, less the tree's


@dataclass(frozen=True, eq=False)
class Targeted:
    """Whom a run treats with what."""

    settings: TargetingConfig
    learner: str
    rule: TargetingRule
    tolerance: float  # estimates closer than this are ties
    treat: Array  # (N,) labels of arms as columns write them; None for rows without an estimate
    spend: float  # mean cost of these arms
    judged: JudgedTargeting | None
    absent: str = ""  # why it isn't judged
    caveats: list[str] = field(default_factory=list)

    def rows_by_arm(self, arms: list[Any]) -> dict[str, int]:
        """Numbers of rows that get each arm."""
        return {arm_name(arm): int((self.treat == arm_name(arm)).sum()) for arm in arms}

    def stored(self, study: Study) -> dict[str, Any]:
        """The rule as a model stores it, for new rows."""
        cost = {arm_name(arm): value for arm, value in self.settings.cost.items()}
        return {
            "learner": study.title(self.learner),
            "value": self.rule.value,
            "cut_off": self.rule.cut_off,
            "cost": cost,
            "tolerance": self.tolerance,
        }


def targeted(
    study: Study,
    estimates: pd.DataFrame,
    held_out: Scored | None,
    fitted: dict[Name, CrossFit],
    comparison: Comparison | None,
) -> Targeted | None:
    """The rule of a study, and what held-out rows say of it; None where nobody asks.

    `estimates` have a row for each of the source.

    The cut-off of a budget is that of the held-out rows, whose estimates are those of the served
    model; without such rows, it is that of all rows. Without a budget, it is 1.
    """
    settings = study.config.targets
    name = None if settings is None else _learner(study, settings, comparison)
    if settings is None:
        return None
    if name is None:
        study.warnings.append(
            "Targeting needs the estimates of a learner that could not be fitted: no row gets an "
            "arm, and the model has no rule."
        )
        return None
    cate = study.learners[name].in_sample_[:, :, -1]
    tolerance = tolerance_of(cate, name, fitted)
    make = _Maker(study, settings, cate, tolerance)
    rows, among = make.judging(held_out, comparison)
    path = make.path(among if rows is not None else _known(cate))
    rule = make.rule(path)
    caveats = make.unspent(path, rule)
    judged, absent = None, "" if rows is not None else UNJUDGED
    if rows is not None:
        try:
            judged = make.judged(rows, among, path, rule)
        except ValueError as error:  # the rows are right: too few of them are left
            absent = str(error)
            caveats.append(f"What targeting brings isn't judged: {absent}")
    treat, spend = _given(study, estimates, name, rule, tolerance)
    return Targeted(settings, name, rule, tolerance, treat, spend, judged, absent, caveats)


def _learner(study: Study, settings: TargetingConfig, comparison: Comparison | None) -> str | None:
    """Whose estimates decide; None if that learner couldn't be fitted."""
    named = settings.learner
    if named is None and comparison is not None:
        named = comparison.chosen
    if named is None:
        return next(iter(study.learners), None)
    return named if named in study.learners else None


@dataclass(frozen=True, eq=False)
class _Maker:
    """Makes paths, rules and judgements of a learner's estimates."""

    study: Study
    settings: TargetingConfig
    cate: Floats  # (n, K-1)
    tolerance: float

    @property
    def costs(self) -> Floats:
        """(n, K-1) of the rows that take part."""
        costs = self.study.costs
        assert costs is not None  # as the config targets
        return costs if self.study.used.all() else costs[self.study.used]

    def judging(
        self, held_out: Scored | None, comparison: Comparison | None
    ) -> tuple[Scored | None, Array]:
        """The rows that judge, and (n,) which they are: none that chose the learner."""
        among = self.study.judged
        if held_out is None or comparison is None or self.settings.learner is not None:
            return held_out, among
        among = among.copy()
        among[among] = comparison.judged
        own: dict[str, Any] = {
            key: None if values is None else values[comparison.judged]
            for key, values in vars(held_out).items()
        }
        return Scored(**own), among

    def path(self, among: Array) -> TreatmentPath:
        """The path of some rows."""
        weight = self.study.dataset.weight
        return treatment_path(
            self.cate[among],
            self.costs[among],
            None if weight is None else weight[among],
            value=self.settings.value,
            tolerance=self.tolerance,
        )

    def rule(self, path: TreatmentPath) -> TargetingRule:
        """The rule: by the budget's cut-off on a path, or what pays."""
        value, budget = self.settings.value, self.settings.budget
        if budget is None:
            return TargetingRule(value=value)
        return TargetingRule(path.cut_off(budget), value)

    def unspent(self, path: TreatmentPath, rule: TargetingRule) -> list[str]:
        """A warning where ties at the cut-off leave a part of the budget."""
        budget = self.settings.budget
        if budget is None or rule.cut_off == 0:
            return []
        spend = float(path.spend[path.whole(budget)])
        if budget - spend <= _UNSPENT * budget:
            return []
        return [
            f"Targeting spends {spend:.3g} a row of the budget of {budget:.3g}: the next rows have "
            "one marginal gain, and the rule treats none of them. Their estimates don't tell whom "
            "to prefer; draw among them by lot, or raise the budget."
        ]

    def judged(
        self, rows: Scored, among: Array, path: TreatmentPath, rule: TargetingRule
    ) -> JudgedTargeting:
        """What held-out rows say."""
        settings, costs = self.settings, self.costs[among]
        beside: dict[str, Any] = {"groups": rows.groups, "arms": rows.w}
        fixed: dict[str, Any] = {"weight": rows.weight, "value": settings.value, **beside}
        if settings.budget is None:
            policy = rule.assign(self.cate[among], costs, self.tolerance)
            chosen = policy_value(policy, rows.scores, costs, **fixed)
        else:
            chosen = budget_value(path, rows.scores, settings.budget, **beside)
        about: dict[str, Any] = {"budget": settings.budget, "value": settings.value}
        arm = best_single_arm(self.cate[among], costs, rows.weight, **about)
        best = single_arm_value(arm, rows.scores, costs, budget=settings.budget, **fixed)
        paired: dict[str, Any] = {"weight": rows.weight, "price": rule.cut_off, **beside}
        tree = self._tree(rule)
        by_tree = tree.assign(self.study.dataset.X[among])
        tree_value = policy_value(by_tree, rows.scores, costs, **fixed)
        return JudgedTargeting(
            rows=int(among.sum()),
            curve=targeting_curve(path, rows.scores, **beside),
            chosen=chosen,
            treat_all=[
                single_arm_value(k, rows.scores, costs, **fixed)
                for k in range(1, len(self.study.arms))
            ],
            best_arm=arm,
            best=best,
            over_best=policy_difference(chosen, best, **paired),
            tree=tree,
            tree_value=tree_value,
            tree_loss=policy_difference(chosen, tree_value, **paired),
        )

    def _tree(self, rule: TargetingRule) -> PolicyTree:
        d = self.study.dataset
        train = d.train & _known(self.cate)
        weight = None if d.weight is None else d.weight[train]
        given = (d.X[train], self.cate[train], self.costs[train], weight)
        return policy_tree(*given, rule=rule, tolerance=self.tolerance)


def _given(
    study: Study, estimates: pd.DataFrame, name: str, rule: TargetingRule, tolerance: float
) -> tuple[Array, float]:
    """(N,) names of the arms for every row of the source, and their mean cost."""
    effects = estimates[_columns(study, name)].to_numpy()
    assert study.costs is not None
    treat, costs = treated(effects, study.costs, study.arms, rule, tolerance)
    return treat, float(np.mean(costs)) if len(costs) else 0.0


def treated(
    effects: Floats, costs: Floats, arms: list[Any], rule: TargetingRule, tolerance: float
) -> tuple[Array, Floats]:
    """(n,) names of the arms that a rule gives, None without estimates, and the others' costs."""
    known = _known(effects)
    names = np.array(list(map(arm_name, arms)), dtype=object)
    given = np.full(len(effects), None, dtype=object)
    if not known.any():
        return given, np.zeros(0)
    codes = rule.assign(effects[known], costs[known], tolerance)
    given[known] = names[codes]
    spent = np.column_stack([np.zeros(len(codes)), costs[known]])
    return given, spent[np.arange(len(codes)), codes]


def _known(effects: Floats) -> Array:
    """(n,) rows that have estimates."""
    return np.asarray(np.isfinite(effects).all(axis=1))


def _columns(study: Study, name: str) -> list[str]:
    return list(estimate_columns(name, study.arms, np.zeros((0, len(study.arms) - 1))))


def targeting_summary(study: Study, found: Targeted) -> dict[str, Any]:
    """Whom to treat with what, for `summary.json`."""
    settings = found.settings
    about = {
        "outcome": settings.outcome or study.config.targeted_outcome,
        "learner": found.learner,
        "value": settings.value,
        "cost": {arm_name(arm): cost for arm, cost in settings.cost.items()},
        "budget": settings.budget,
        "cut_off": found.rule.cut_off,
        "rows_by_arm": found.rows_by_arm(study.arms),
        "mean_cost": found.spend,
    }
    if found.judged is None:
        return {**about, "absent": found.absent}
    return {**about, "population": "held-out rows", **_judged_summary(study, found.judged)}


def _judged_summary(study: Study, found: JudgedTargeting) -> dict[str, Any]:
    names, curve = list(map(arm_name, study.arms)), found.curve
    k = curve.highest()
    treat_all = zip(names[1:], found.treat_all, strict=True)
    return {
        "rows": found.rows,
        "curve": [_point(curve, i) for i in range(len(curve.spend))],
        "band_begins": curve.begin if np.isfinite(curve.begin) else None,
        "chosen": _value(found.chosen, names),
        "treat_all": {
            arm: {**plain(one.gain), "spend": one.spend.estimate, "net": plain(one.net)}
            for arm, one in treat_all
        },
        "best_single_arm": {
            "arm": study.arms[found.best_arm],
            **plain(found.best.gain),
            **_value(found.best, names),
        },
        "over_best_single_arm": plain(found.over_best),
        "random": plain(found.chosen.random),
        "over_random": plain(found.chosen.over_random),
        "highest": None if k is None else _point(curve, k),
        "tree": {
            "text": found.tree.text(study.arms).split("\n"),
            **_value(found.tree_value, names),
            "loss": plain(found.tree_loss),
        },
    }


def _value(found: PolicyValue, names: list[str]) -> dict[str, Any]:
    return {
        "spend": found.spend.estimate,
        "gain": plain(found.gain),
        "net": plain(found.net),
        "shares": dict(zip(names, found.shares, strict=True)),
    }


def _point(curve: TargetingCurve, k: int) -> dict[str, Any]:
    low, high = float(curve.joint_low[k]), float(curve.joint_high[k])
    joint = {"joint_low": low, "joint_high": high} if np.isfinite(low) else {}
    ends = {"joint_low": None, "joint_high": None, **joint}
    share = float(curve.treated[k])
    return {"spend": float(curve.spend[k]), "gain": plain(curve.at(k)), **ends, "treated": share}
