"""Populations with known effects of each row: what rows are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.special import expit

FEATURES = 5
LIFT = float(np.sqrt(2 / np.pi))  # the mean of a normal's absolute value
FRESH = 200_000  # rows that tell the truth of a fitted rule


@dataclass(frozen=True, eq=False)
class Drawn:
    """Rows of a population.

    Parameters
    ----------
    X : (n, p) features
    y, w : (n,) outcome and arm
    tau : (n, K-1) effects against the control
    facts : `propensity` where it is known, `groups` and `sample_weight` where there are such
    """

    X: np.ndarray
    y: np.ndarray
    w: np.ndarray
    tau: np.ndarray
    facts: Mapping[str, np.ndarray]

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features, outcome and arm, as learners take them."""
        return self.X, self.y, self.w

    @property
    def n_variants(self) -> int:
        """Number of arms."""
        return self.tau.shape[1] + 1

    @property
    def beside(self) -> tuple[Any, Any]:
        """Weights and clusters, as figures take them."""
        return self.facts.get("sample_weight"), self.facts.get("groups")


@dataclass(frozen=True)
class Population:
    """Outcomes that are linear without treatment, and effects that vary with two features.

    Parameters
    ----------
    varies : the effects' slope in features; 0 for one effect of all rows
    arms : number of arms, equal in size
    treated : the share of rows in the only arm beside the control, instead of that
    confounded : whether treatment follows features, and its propensities have to be estimated
    per_group : rows of a cluster, on average, which share their arm, a feature and noise
    weighted : whether rows were sampled by a feature that effects follow, and have weights
    """

    varies: float = 0.5
    arms: int = 2
    treated: float | None = None
    confounded: bool = False
    per_group: int = 1
    weighted: bool = False

    def draw(self, rng: np.random.Generator, n: int) -> Drawn:
        """So many rows."""
        groups = self._groups(rng, n)
        n_groups = int(groups[-1]) + 1
        X = rng.normal(size=(n, FEATURES))
        X[:, 0] = rng.normal(size=n_groups)[groups]
        e = self.propensity(X)
        drawn = rng.permutation(n_groups) if not self.confounded else np.arange(n_groups)
        w = self._arms(rng, e, drawn, groups)
        curved = [X[:, k] + np.abs(X[:, k + 1]) - LIFT for k in range(self._variants - 1)]
        tau = 1 + self.varies * np.column_stack(curved)
        noise = rng.normal(size=n) + (self.per_group > 1) * rng.normal(size=n_groups)[groups]
        effect = np.column_stack([np.zeros(n), tau])[np.arange(n), w]
        facts = {} if self.confounded else {"propensity": e}
        if self.per_group > 1:
            facts["groups"] = groups
        if self.weighted:
            facts["sample_weight"] = np.exp(0.5 * X[:, 0] + 0.5 * X[:, 4])
        return Drawn(X, X @ [1, 1, 0.5, 0, 0] + effect + noise, w, tau, facts)

    @property
    def _variants(self) -> int:
        return 2 if self.treated is not None else self.arms

    def _groups(self, rng: np.random.Generator, n: int) -> np.ndarray:
        if self.per_group == 1:
            return np.arange(n)
        sizes = rng.integers(1, 2 * self.per_group, n)  # 1 to twice the mean less 1
        return np.repeat(np.arange(n), sizes)[:n]

    def propensity(self, X: np.ndarray) -> np.ndarray:
        """(n, K) probabilities of the arms."""
        if self.confounded:
            share = expit(0.6 * X[:, 0] - 0.4 * X[:, 1])
            return np.column_stack([1 - share, share])
        shares = np.full(self._variants, 1 / self._variants)
        if self.treated is not None:
            shares = np.array([1 - self.treated, self.treated])
        return np.tile(shares, (len(X), 1))

    def _arms(
        self, rng: np.random.Generator, e: np.ndarray, drawn: np.ndarray, groups: np.ndarray
    ) -> np.ndarray:
        """(n,) arms of clusters: by coins if confounded, and else by lot, in the known shares."""
        if self.confounded:
            return (rng.uniform(size=len(e)) < e[:, 1]).astype(int)
        ends = np.cumsum(e[0])[:-1]
        return np.searchsorted(ends, (drawn + 0.5) / len(drawn), side="right")[groups]


@cache
def fresh(population: Population) -> Drawn:
    """Rows that no rule was fitted on, the same for all."""
    return population.draw(np.random.default_rng(10**9), FRESH)


def weight_of(rows: Drawn) -> np.ndarray:
    """(n,) weights, ones where there are none."""
    return rows.facts.get("sample_weight", np.ones(len(rows.y)))
