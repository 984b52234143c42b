"""What tests claim where effects are equal, and where they differ; and what a choice claims."""

import numpy as np
from sklearn.linear_model import LinearRegression

from benchmarks.simulate.judging.populations import Drawn, Population, fresh
from benchmarks.simulate.judging.rules import Rule, judge, scores
from benchmarks.simulate.judging.truth import Truth
from benchmarks.simulate.measures import Measure, Measured
from metalearners import TLearner
from metalearners.evaluation import blp, choose_and_judge, compare, gates, rate
from metalearners.resampling import sequential_rate

LEAD = 3.0  # standard errors of the difference of AUTOCs
MANY = 4000  # rows of which as many are taken as put a lead at so many errors


def p_values(rows: int) -> Measure:
    """Of linear models' estimates, on as many rows as they were fitted on."""

    def measure(population: Population, seed: int) -> Measured:
        rng = np.random.default_rng(seed)
        train, held_out = population.draw(rng, rows), population.draw(rng, rows)
        gamma = _contrast(held_out, seed)
        given = (Rule("linear", train, seed)(held_out.X)[:, 0], gamma, *held_out.beside)
        arms = held_out.w
        autoc, qini = rate(*given, arms=arms), rate(*given, kind="qini", arms=arms)
        groups, line = gates(*given, arms=arms, draws=1000), blp(*given, arms=arms)
        assert line is not None
        return {
            "autoc": autoc.p_value,
            "autoc above": autoc.p_greater,
            "qini": qini.p_value,
            "qini above": qini.p_greater,
            "extremes": groups.p_value,
            "extremes above": groups.p_greater,
            "monotone": groups.p_monotone,
            "slope": line.p_value,
        }

    return measure


def sequential_p_values(rows: int) -> Measure:
    """Of the sequential test of linear models' estimates, and of a hold-out of half the rows."""

    def measure(population: Population, seed: int) -> Measured:
        rng = np.random.default_rng(seed)
        half, held_out = population.draw(rng, rows // 2), population.draw(rng, rows - rows // 2)
        both = _together(half, held_out)
        learner = TLearner(
            False, 2, nuisance_model_factory=LinearRegression, n_folds=2, random_state=seed
        )
        (found,) = sequential_rate(learner, judge(2, seed), *both.rows, **both.facts)
        estimates = Rule("linear", half, seed)(held_out.X)[:, 0]
        by_half = rate(estimates, _contrast(held_out, seed), *held_out.beside, arms=held_out.w)
        return {
            "sequential": found.p_value,
            "sequential above": found.p_greater,
            "hold-out above": by_half.p_greater,
        }

    return measure


def choice(rows: int) -> Measure:
    """Whether the candidate that half of the held-out rows choose is called better by the others.

    Better than a constant effect, or than the runner-up.
    """

    def measure(population: Population, seed: int) -> Measured:
        rng = np.random.default_rng(seed)
        train, held_out = population.draw(rng, rows), population.draw(rng, rows)
        candidates = {
            kind: Rule(kind, train, seed)(held_out.X)[:, 0]
            for kind in ("linear", "trees", "others")
        }
        gamma = _contrast(held_out, seed)
        found = choose_and_judge(
            candidates, gamma, *held_out.beside, arms=held_out.w, seed=seed, draws=100
        )
        return {
            "better": found.distinguishable_from_constant,
            "better than the next": found.distinguishable_from_runner_up,
        }

    return measure


def lead(rows: int) -> Measure:
    """Whether the best candidate is chosen, by as many rows as its lead is three errors of.

    Fitted on `rows` rows. The lead is true, and over the second best.
    """

    def measure(population: Population, seed: int) -> Measured:
        rng = np.random.default_rng(seed)
        train, held_out = population.draw(rng, rows), population.draw(rng, MANY)
        pool = fresh(population)
        rules = {kind: Rule(kind, train, seed) for kind in ("linear", "others", "last")}
        ones = np.ones(len(pool.y))
        truth = {
            kind: Truth.of(rule(pool.X)[:, 0], pool.tau[:, 0], ones).autoc
            for kind, rule in rules.items()
        }
        best, second, *_ = sorted(truth, key=lambda kind: -truth[kind])
        candidates = {kind: rule(held_out.X)[:, 0] for kind, rule in rules.items()}
        gamma = _contrast(held_out, seed)
        found = {
            one.candidate: one.difference_to_best.std_error
            for one in compare(candidates, gamma, best, arms=held_out.w, draws=10)
        }
        needed = MANY * (LEAD * found[second] / (truth[best] - truth[second])) ** 2
        n = int(np.clip(np.ceil(needed), 20, MANY))
        taken = {kind: one[:n] for kind, one in candidates.items()}
        chosen = choose_and_judge(taken, gamma[:n], arms=held_out.w[:n], seed=seed, draws=10).chosen
        return {"chosen": chosen == best, "rows": n}

    return measure


def _contrast(held_out: Drawn, seed: int) -> np.ndarray:
    """(n,) scores of the first arm's effect."""
    found = scores(held_out, seed)
    return found[:, 1] - found[:, 0]


def _together(first: Drawn, second: Drawn) -> Drawn:
    """The rows of both; clusters of the second are others."""
    parts = zip(first.rows, second.rows, strict=True)
    X, y, w = (np.concatenate(pair) for pair in parts)
    facts = {k: np.concatenate([v, second.facts[k]]) for k, v in first.facts.items()}
    if "groups" in facts:
        facts["groups"] = np.append(first.facts["groups"], len(y) + second.facts["groups"])
    return Drawn(X, y, w, np.concatenate([first.tau, second.tau]), facts)
