"""Candidates against each other: one part of the rows chooses, the other judges."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import optimize

from metalearners._typing import Array, Floats
from metalearners.data.arguments import check_shape, count, numbers
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import as_array
from metalearners.data.folds import draw_half
from metalearners.evaluation.judging.rate import AUTOC, Ranking, p_values, rate_means
from metalearners.evaluation.means import (
    Estimate,
    Means,
    check_level,
    n_clusters,
    same_rows,
)
from metalearners.evaluation.multiplicity import holm
from metalearners.showing.results import Several, Shown

STACK = "stack"
_LEAST_SHOWN = 0.001  # of p-values in sentences


@dataclass(frozen=True)
class Candidate(Shown):
    """A candidate's figures; with several arms, means over the arms.

    Parameters
    ----------
    candidate : str
        Its name.
    rate : Estimate
        AUTOC, in units of the outcome.
    dr_loss : Estimate
        Mean squared distance from doubly robust scores, in squared units of the outcome.
    difference_to_best, dr_loss_to_best : Estimate
        Its AUTOC and its DR-loss less those of the best, row by row. The intervals hold for all
        candidates at once. The best has 0, without an error.
    """

    candidate: str
    rate: Estimate
    dr_loss: Estimate
    difference_to_best: Estimate
    dr_loss_to_best: Estimate


@dataclass(frozen=True, eq=False)
class Comparison(Shown):
    """Which candidate was chosen, and what rows that had no say in the choice tell of it.

    Parameters
    ----------
    ranking : tuple of Candidate
        In the order of the choice, with figures of the rows that judge. A stack is last.
    chosen : str
        The candidate with the highest AUTOC on the rows that choose.
    runner_up : str or None
        The second there; None for a single candidate.
    difference : Estimate or None
        The chosen one's AUTOC less the runner-up's, on the rows that judge.
    p_constant : tuple of float
        By arm, one-sided p-values of the hypothesis that the chosen one ranks rows no better than
        a constant effect does, adjusted over the arms (Holm).
    distinguishable_from_runner_up : bool
        Whether the interval of `difference` is above 0.
    distinguishable_from_constant : bool
        Whether one of `p_constant` is below 1 - level.
    rule : str
        What was chosen, why, and how sure that is, in words.
    stack : dict of float
        Weights of the candidates in the stack; empty if none was asked for.
    judged : (n,) array of bool
        The rows that judge.
    """

    ranking: tuple[Candidate, ...]
    chosen: str
    runner_up: str | None
    difference: Estimate | None
    p_constant: tuple[float, ...]
    distinguishable_from_runner_up: bool
    distinguishable_from_constant: bool
    rule: str
    stack: dict[str, float]
    judged: Array


def compare(
    candidates: Mapping[str, Floats],
    scores: Floats,
    best: str,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    arms: Array | None = None,
    level: float = 0.95,
    tolerance: float | None = None,
    draws: int = 20_000,
) -> list[Candidate]:
    r"""Candidates' AUTOC and DR-loss on the same rows, and their differences to one of them.

    Differences are paired: :math:`\psi_{ic} - \psi_{ib}` with the influences of a row on both
    figures, whose noise is mostly the same. Their intervals are sup-t bands over the candidates.

    Parameters
    ----------
    candidates : mapping of str to (n,) or (n, K-1) array
        Estimates by name, fitted on other rows.
    scores : (n,) or (n, K-1) array
        Doubly robust scores of the effect, by nuisances that belong to no candidate.
    best : str
        The one that others are compared with. If these same rows chose it, differences flatter it.
    weight, groups, arms, level
        As for `mean_with_error`.
    tolerance : float, optional
        Estimates closer than this are ties; by default the `rounding` of the estimates.
    draws : int
        Number of draws for the joint intervals, from a fixed seed.

    Raises
    ------
    ValueError
        As for `mean_with_error`, or if there is no such candidate, or shapes differ.

    References
    ----------
    Yadlowsky, Fleming, Shah, Brunskill and Wager (2025), JASA 120(549): differences of RATEs.
    Montiel Olea and Plagborg-Møller (2019), Journal of Applied Econometrics 34(1): sup-t bands.
    """
    check_level(level)
    count("draws", draws)
    rows = _Rows.of(candidates, scores, weight, groups, arms, tolerance)
    if best not in rows.candidates:
        known = ", ".join(rows.candidates)
        raise ValueError(f"Expected best as one of the candidates, {known}; found {best!r}.")
    return Several(rows.judged(best, level, draws))


def choose_and_judge(
    candidates: Mapping[str, Floats],
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    arms: Array | None = None,
    seed: int = 0,
    stack: bool = False,
    level: float = 0.95,
    tolerance: float | None = None,
    draws: int = 20_000,
) -> Comparison:
    r"""The best candidate by a random half of the rows, judged by the other half.

    The highest AUTOC decides, with several arms its mean over the arms. Among candidates that rank
    rows alike, the DR-loss decides. Rows that choose would flatter what they chose; so all figures
    are of the other half.

    A stack is the mixture :math:`\sum_c a_c \hat\tau_c`, with :math:`a_c \ge 0` that sum to 1, of
    the least DR-loss on the half that chooses. It is judged beside the candidates, but never
    chosen, as its weights know the rows of the choice.

    Parameters
    ----------
    candidates, scores, weight, groups, arms, level, tolerance, draws
        As for `compare`. No candidate was fitted on any of the rows.
    seed : int
        Draws the halves, of whole clusters and within arms.
    stack : bool
        Whether to judge a stack too, by the name ``stack``.

    Raises
    ------
    ValueError
        As for `compare`, or if a half has a single row or cluster.
    """
    check_level(level)
    count("seed", seed, least=0)
    count("draws", draws)
    rows = _Rows.of(candidates, scores, weight, groups, arms, tolerance)
    judge = rows.half(seed)
    choosing, mixture = rows.among(~judge), {}
    order = choosing.order()
    if stack:
        mixture = choosing.mixture()
        rows, order = rows.with_stack(mixture), [*order, STACK]
    judging = rows.among(judge).sorted(order)
    chosen, runner_up = order[0], (order[1] if len(candidates) > 1 else None)
    difference = None if runner_up is None else judging.difference(chosen, runner_up, level)
    p_constant = judging.p_constant(chosen)
    found = Comparison(
        ranking=tuple(judging.judged(chosen, level, draws)),
        chosen=chosen,
        runner_up=runner_up,
        difference=difference,
        p_constant=p_constant,
        distinguishable_from_runner_up=difference is not None and difference.ci_low > 0,
        distinguishable_from_constant=min(p_constant) < 1 - level,
        rule="",
        stack=mixture,
        judged=judge,
    )
    return replace(found, rule=_rule(found, len(candidates), level))


def _rule(found: Comparison, n_candidates: int, level: float) -> str:
    """What was chosen, why, and how sure that is."""
    figure = "AUTOC" if len(found.p_constant) == 1 else "mean AUTOC over the arms"
    why = f"the highest {figure} of {n_candidates} candidates on a random half of the rows"
    first = f"{found.chosen} was chosen: it has {why}."
    if found.runner_up is None:
        first = f"{found.chosen} was chosen: it is the only candidate."
    other = "The rest of the rows judges. There,"
    sure = "better than" if found.distinguishable_from_constant else "not shown to be better than"
    p = min(found.p_constant)
    shown = f"p = {p:.2g}" if p >= _LEAST_SHOWN else f"p < {_LEAST_SHOWN}"
    if len(found.p_constant) > 1:
        shown += f" for the arm where that is surest, adjusted for {len(found.p_constant)} arms"
    constant = f"its ranking is {sure} that of a constant effect ({shown})"
    if found.difference is None:
        return f"{first} {other} {constant}."
    d, sure = found.difference, "" if found.distinguishable_from_runner_up else "not shown to be "
    interval = f"{100 * level:.4g} % interval {d.ci_low:.3g} to {d.ci_high:.3g}"
    runner_up = f"that of the runner-up, {found.runner_up} ({d.estimate:.3g}, {interval})"
    return f"{first} {other} {constant}, and its AUTOC is {sure}higher than {runner_up}."


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows with the estimates of all candidates; A arms but the control."""

    candidates: dict[str, Floats]  # (n, A)
    scores: Floats  # (n, A)
    weight: Floats
    groups: Array | None
    arms: Array | None
    tolerance: float | None

    @classmethod
    def of(
        cls,
        candidates: Mapping[str, Any],
        scores: Any,
        weight: Any,
        groups: Any,
        arms: Any,
        tolerance: float | None,
    ) -> "_Rows":
        if not candidates:
            raise ValueError("Expected a candidate or more; found none. Pass estimates by name.")
        named = {f"estimates of {name}": one for name, one in candidates.items()}
        check_same_rows(scores=scores, **named, weight=weight, groups=groups, arms=arms)
        wanted = _columns("scores", scores)
        found = [_columns(name, one) for name, one in named.items()]
        for name, one in zip(named, found, strict=True):
            check_shape(name, one.shape == wanted.shape, f"{wanted.shape}", one.shape)
        _, weight, groups = same_rows(weight, groups, scores=wanted[:, 0])
        codes = None if arms is None else as_array(arms).astype(np.int64)
        own = dict(zip(candidates, found, strict=True))
        return cls(own, wanted, weight, groups, codes, tolerance)

    def among(self, rows: Array) -> "_Rows":
        """Some of the rows."""
        return replace(
            self,
            candidates={name: one[rows] for name, one in self.candidates.items()},
            scores=self.scores[rows],
            weight=self.weight[rows],
            groups=None if self.groups is None else self.groups[rows],
            arms=None if self.arms is None else self.arms[rows],
        )

    def half(self, seed: int) -> Array:
        """(n,) a random half of the clusters, within arms; rows without weight are on their own."""
        arms = np.zeros(len(self.weight), dtype=np.int64) if self.arms is None else self.arms
        found = draw_half(2 * arms + (self.weight > 0), seed, self.groups)
        halves = (self.among(found), self.among(~found))
        fewest = min(n_clusters(one.weight, one.groups) for one in halves)
        if fewest < 2:
            raise ValueError(
                f"Expected two rows or clusters or more with a weight in each half; found {fewest}."
                " Pass more rows, or cluster by a finer group."
            )
        return found

    def sorted(self, order: Iterable[str]) -> "_Rows":
        """The same with candidates in an order."""
        return replace(self, candidates={name: self.candidates[name] for name in order})

    @cached_property
    def rankings(self) -> dict[str, list[Ranking]]:
        """By candidate, and arm."""
        return {
            name: [Ranking.of(column, self.weight, self.tolerance) for column in own.T]
            for name, own in self.candidates.items()
        }

    def rates(self, name: str) -> Floats:
        """(n, A) influences on a candidate's AUTOC by arm."""
        pairs = zip(self.rankings[name], self.scores.T, strict=True)
        return np.column_stack([one.influences(scores, AUTOC) for one, scores in pairs])

    def of_rates(self, influences: Floats, names: Iterable[str]) -> Means:
        """Means of influences on AUTOCs of candidates."""
        rankings = [one for name in names for one in self.rankings[name]]
        return rate_means(influences, rankings, AUTOC, self.weight, self.groups, self.arms)

    def losses(self, name: str) -> Floats:
        """(n,) squared distances from the scores, a mean over arms."""
        return np.asarray(((self.scores - self.candidates[name]) ** 2).mean(axis=1))

    def means(self, columns: Floats) -> Means:
        """Weighted means of columns."""
        return Means.of(columns, self.weight, self.groups, self.arms)

    def order(self) -> list[str]:
        """Candidates, the highest AUTOC first, and the lowest DR-loss first among equal ones."""
        own = self.weight / self.weight.sum()
        rate = {name: float((own @ self.rates(name)).mean()) for name in self.candidates}
        unit = max(map(abs, rate.values())) or 1.0
        loss = {name: float(own @ self.losses(name)) for name in self.candidates}
        return sorted(rate, key=lambda name: (-round(rate[name] / unit, 9), loss[name]))

    def judged(self, best: str, level: float, draws: int) -> list[Candidate]:
        """Figures of all candidates, in their order."""
        rates = np.column_stack([self.rates(name).mean(axis=1) for name in self.candidates])
        losses = np.column_stack([self.losses(name) for name in self.candidates])
        at = [*self.candidates].index(best)
        own = [
            self.of_rates(column[:, None], [name]).estimates(level)[0]
            for name, column in zip(self.candidates, rates.T, strict=True)
        ]
        to_best = self.of_rates(rates - rates[:, [at]], self.candidates)
        less = self.means(losses - losses[:, [at]])
        joint = (self._joint(one, level, draws) for one in (to_best, less))
        found = zip(self.candidates, own, self.means(losses).estimates(level), *joint, strict=True)
        return [Candidate(*one) for one in found]

    @staticmethod
    def _joint(made: Means, level: float, draws: int) -> list[Estimate]:
        """Differences with intervals that hold for all of them at once."""
        ends = zip(made.estimates(level), made.joint(level, draws), strict=True)
        return [replace(one, ci_low=low, ci_high=high) for one, (low, high) in ends]

    def difference(self, one: str, other: str, level: float) -> Estimate:
        """The AUTOC of one less that of another."""
        moves = (self.rates(one) - self.rates(other)).mean(axis=1)
        return self.of_rates(moves[:, None], [one, other]).estimates(level)[0]

    def p_constant(self, name: str) -> tuple[float, ...]:
        """One-sided p-values of a candidate's AUTOC by arm, adjusted."""
        by_arm = self.of_rates(self.rates(name), [name]).estimates(0.95)
        return tuple(holm(np.array([p_values(one)[1] for one in by_arm])).tolist())

    def mixture(self) -> dict[str, float]:
        """Weights of candidates in the mixture of the least DR-loss."""
        root = np.sqrt(self.weight / self.weight.sum())[:, None]
        away = np.column_stack(
            [(root * (one - self.scores)).ravel() for one in self.candidates.values()]
        )
        # With b = s a, where a sums to 1: |away b|^2 + (sum b - 1)^2 is least in s at f / (1 + f),
        # which rises with f = |away a|^2. So the least over b >= 0 has the a of the least f.
        squares = away.T @ away
        value, vector = np.linalg.eigh(squares / (np.trace(squares) or 1.0))
        factor = np.sqrt(np.maximum(value, 0))[:, None] * vector.T
        ones = np.ones((1, len(self.candidates)))
        target = np.append(np.zeros(len(factor)), 1.0)
        shares = optimize.nnls(np.vstack([factor, ones]), target)[0]
        return dict(zip(self.candidates, (shares / shares.sum()).tolist(), strict=True))

    def with_stack(self, shares: Mapping[str, float]) -> "_Rows":
        """The same with a mixture as one more candidate."""
        if STACK in self.candidates:
            raise ValueError(f"Expected another name than {STACK!r} for a candidate. Rename it.")
        parts = [share * self.candidates[name] for name, share in shares.items()]
        return replace(self, candidates={**self.candidates, STACK: np.sum(parts, axis=0)})


def _columns(name: str, values: Any) -> Floats:
    """(n, A) numbers; those of one arm may be given as (n,)."""
    found = numbers(name, as_array(values), "Leave those rows out.")
    found = found[:, None] if found.ndim == 1 else found
    check_shape(name, found.ndim == 2 and found.size > 0, "(n,) or (n, K-1)", found.shape)
    return found
