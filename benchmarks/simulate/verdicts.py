"""Verdicts over experiments with known effects: what they say, and whether the gain is right."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.special import expit

from benchmarks.simulate.judging.populations import FRESH, Drawn
from benchmarks.simulate.judging.rules import Rule, judge
from benchmarks.simulate.measures import HOLDOUT, Measured
from metalearners.data.folds import draw_holdout
from metalearners.data.outcomes import OutcomeShape
from metalearners.evaluation import (
    ArmEffect,
    Evidence,
    RankTest,
    Signs,
    Words,
    arm_differences,
    blp,
    health_of,
    policy_gain,
    rate,
    verdict_of,
    weighted_balance,
)
from metalearners.evaluation.average_effects import adjustment, average_effects
from metalearners.evaluation.balance import balance
from metalearners.evaluation.design import arm_shares, sample_ratio
from metalearners.evaluation.findings import adjusted_p_values
from metalearners.evaluation.means import effective_clusters
from metalearners.evaluation.overlap import overlap
from metalearners.evaluation.recurring.policies import policy_arms
from metalearners.metalearner import PROPENSITY_MODEL

FEATURES = 5
LEARNERS = ("linear", "others")  # the first decides
SURPRISE = 0.01  # chance that adjustment changes an effect, as the flows have it
ALIKE, LEFT_OUT = "target nobody differently", " out: the outcome is lower with it"


@dataclass(frozen=True)
class Experiment:
    """Rows whose outcome is linear in features, with effects a_k + s x_k.

    Parameters
    ----------
    rows : their number
    effects : mean effects of the arms but the control, all of the same size
    slope : s, of the effects
    confounding : slope of the log-odds of the only arm in the first feature; 0 for a declared
        experiment of equal shares
    """

    rows: int = 2000
    effects: tuple[float, ...] = (0.0,)
    slope: float = 0.0
    confounding: float = 0.0

    def draw(self, rng: np.random.Generator, n: int) -> Drawn:
        """So many rows."""
        X = rng.normal(size=(n, FEATURES))
        k = len(self.effects)
        tau = np.array(self.effects) + self.slope * X[:, :k]
        w = rng.permutation(np.arange(n) % (k + 1))
        if self.confounding:
            w = rng.binomial(1, expit(self.confounding * X[:, 0]))
        effect = np.column_stack([np.zeros(n), tau])[np.arange(n), w]
        y = X @ [1, 1, 0.5, 0, 0] + effect + rng.normal(size=n)
        known = {} if self.confounding else {"propensity": arm_shares(w, k + 1)}
        return Drawn(X, y, w, tau, known)


def verdicts(experiment: Experiment, seed: int) -> Measured:
    """What the verdict of an experiment says, as of a run with a hold-out."""
    drawn = experiment.draw(np.random.default_rng(seed), experiment.rows)
    held_out = draw_holdout(drawn.w, HOLDOUT, seed)
    train, judging = _part(drawn, ~held_out), _part(drawn, held_out)
    rules = {kind: Rule(kind, train, seed) for kind in LEARNERS}
    evidence, signs = _told(drawn, judging, rules, seed)
    lights = health_of(signs)
    said = {one.question: one for one in verdict_of(evidence(lights))}
    policy = evidence(lights).policy
    truth = _value(experiment, rules[LEARNERS[0]])
    return {
        **{question: one.answer for question, one in said.items()},
        "worst": min((one.status for one in lights), key=["bad", "warn", "ok"].index),
        "alike": ALIKE in said["target"].sentence,
        "left out": LEFT_OUT in said["target"].sentence,
        "covers": bool(policy.over_nobody.ci_low <= truth <= policy.over_nobody.ci_high),
    }


def _told(drawn: Drawn, judging: Drawn, rules: dict[str, Rule], seed: int) -> tuple[Any, Signs]:
    """Evidence, by lights, and signs of health."""
    scores, e, clip = _scores(drawn, seed)
    gamma = _scores(judging, seed)[0]
    predicted = {kind: rule(judging.X) for kind, rule in rules.items()}
    pairs = [(kind, k) for kind in rules for k in range(gamma.shape[1] - 1)]
    given = {(kind, k): (predicted[kind][:, k], gamma[:, k + 1] - gamma[:, 0]) for kind, k in pairs}
    names = ["none", *(f"arm {k + 1}" for k in range(gamma.shape[1] - 1))]
    rates = {
        kind: [rate(*own, arms=judging.w) for (name, _), own in given.items() if name == kind]
        for kind in rules
    }
    adjusted = adjusted_p_values(rates)
    effects = average_effects(scores, drawn.w)
    carried = overlap(e, clip, drawn.w)

    def evidence(lights: Any) -> Evidence:
        return Evidence(
            Words("y"),
            names[0],
            [
                ArmEffect(name, one.effect, one.joint)
                for name, one in zip(names[1:], effects, strict=True)
            ],
            lights,
            held_out=[
                RankTest(kind, names[k + 1], rates[kind][k].estimate, adjusted[kind][k])
                for kind, k in pairs
            ],
            learner=LEARNERS[0],
            policy=policy_gain(predicted[LEARNERS[0]], gamma, arms=judging.w),
            pairs=arm_differences(scores, drawn.w, draws=2000),
        )

    known = "propensity" in drawn.facts
    lines = {(kind, names[k + 1]): blp(*own, arms=judging.w) for (kind, k), own in given.items()}
    signs = Signs(
        names,
        drawn=known,
        declared=known,
        changed=_changed(drawn, scores, names) if known else [],
        ratio=sample_ratio(drawn.w, np.full_like(e, 1 / len(names))) if known else None,
        overlap=carried,
        weighted=None if known else weighted_balance(drawn.X, drawn.w, clip.apply(e)),
        balance=balance(drawn.X, drawn.w, len(names)),
        features=[f"x{k}" for k in range(FEATURES)],
        rows=effective_clusters(drawn.w, None),
        held_out=effective_clusters(judging.w, None),
        unsure=OutcomeShape.of(drawn.y, drawn.w, len(names)).unsure,
        lines={name: line for name, line in lines.items() if line is not None},
    )
    return evidence, signs


def _scores(drawn: Drawn, seed: int) -> tuple[np.ndarray, np.ndarray, Any]:
    """Scores of cross-fitted nuisances, propensities, and the bounds of these."""
    fitted = judge(drawn.n_variants, seed)
    fitted.fit_all_nuisance(*drawn.rows, **drawn.facts)
    known = drawn.facts.get("propensity")
    scores, d = fitted._known_scores(*drawn.rows, False, None, None, known)
    eta = fitted._predictions(drawn.X, False, "overall", known)
    return scores, eta[PROPENSITY_MODEL, "0"], fitted.clip_of(d)


def _changed(drawn: Drawn, scores: np.ndarray, names: list[str]) -> list[str]:
    level = 1 - SURPRISE / (len(names) - 1)
    found = (
        adjustment(scores, drawn.y, drawn.w, k, level=level, propensity=drawn.facts["propensity"])
        for k in range(1, len(names))
    )
    return [
        name
        for name, one in zip(names[1:], found, strict=True)
        if not one.ci_low <= 0 <= one.ci_high
    ]


def _part(drawn: Drawn, among: np.ndarray) -> Drawn:
    facts = {name: own[among] for name, own in drawn.facts.items()}
    if facts:
        facts = {"propensity": arm_shares(drawn.w[among], drawn.n_variants)}
    return Drawn(drawn.X[among], drawn.y[among], drawn.w[among], drawn.tau[among], facts)


@cache
def _fresh(experiment: Experiment) -> Drawn:
    return experiment.draw(np.random.default_rng(2**32), FRESH)


def _value(experiment: Experiment, rule: Rule) -> float:
    """The true mean gain of treating by a rule's estimates, on fresh rows."""
    pool = _fresh(experiment)
    given = policy_arms(rule(pool.X))
    effects = np.column_stack([np.zeros(len(given)), pool.tau])
    return float(effects[np.arange(len(given)), given].mean())
