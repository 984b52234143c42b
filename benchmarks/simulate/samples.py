"""Data sets with known average effects; each function's first argument is the seed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit, logit

FEATURES = 6


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows drawn from a design, with the truth about their population.

    Parameters
    ----------
    X : (n, p) features
    y, w : (n,) outcome and arm
    truth : (K-1,) average effects against the control
    beside : `groups` and `sample_weight`, where the design has such
    """

    X: np.ndarray
    y: np.ndarray
    w: np.ndarray
    truth: np.ndarray
    beside: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def n_variants(self) -> int:
        """Number of arms."""
        return len(self.truth) + 1


def experiment(seed: int, arms: int, rows: int) -> Sample:
    """A null experiment with so many rows an arm; features explain half of the variance."""
    rng = np.random.default_rng(seed)
    X, y = _explained(rng, arms * rows)
    return Sample(X, y, rng.permutation(np.arange(len(y)) % arms), np.zeros(arms - 1))


def confounded(seed: int, slope: float, n: int = 2000) -> Sample:
    """Equal effects; the log-odds of treatment rise with all that features say of the outcome."""
    rng = np.random.default_rng(seed)
    X, y = _explained(rng, n)
    w = rng.binomial(1, expit(slope * X.sum(axis=1) / np.sqrt(FEATURES)))
    return Sample(X, y + w, w, np.ones(1))


def clusters(seed: int, n_clusters: int, treated: int, sigma: float, mean: int = 20) -> Sample:
    """Clusters with a part of the outcome in common, treated as a whole; sizes are log-normal."""
    rng = np.random.default_rng(seed)
    sizes = mean * np.exp(sigma * rng.normal(size=n_clusters) - sigma**2 / 2)
    groups = np.repeat(np.arange(n_clusters), np.maximum(1, sizes.round()).astype(int))
    w = rng.permutation(np.arange(n_clusters) < treated)[groups].astype(int)
    X, y = _explained(rng, len(groups))
    shared = 0.7 * rng.normal(size=n_clusters)[groups]
    return Sample(X, y + shared + w, w, np.ones(1), {"groups": groups})


def rare_arm(seed: int, share: float = 0.005, n: int = 24_000) -> Sample:
    """An arm that few rows are in."""
    rng = np.random.default_rng(seed)
    X, y = _explained(rng, n)
    w = rng.permutation(np.arange(n) < round(share * n)).astype(int)
    return Sample(X, y + w, w, np.ones(1))


def thin_overlap(seed: int, least: float = 0.03, n: int = 2000) -> Sample:
    """Propensities from `least` to one less that, and effects that go with them."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, size=(n, 3))
    w = rng.binomial(1, expit(logit(1 - least) * X[:, 0]))
    y = X.sum(axis=1) + w * (1 + X[:, 0]) + rng.normal(size=n)
    return Sample(X, y, w, np.ones(1))


def revenue(seed: int, n: int = 5000, buyers: float = 0.1, gain: float = 0.2) -> Sample:
    """Nine in ten buy nothing, the others log-normal amounts, which treatment raises."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    w = rng.permutation(np.arange(n) % 2)
    amount = np.exp(0.5 * X[:, 0] + rng.normal(size=n)) * (1 + gain * w)
    y = amount * (rng.uniform(size=n) < buyers)
    return Sample(X, y, w, np.array([buyers * gain * np.exp((0.5**2 + 1) / 2)]))


def heavy_weights(seed: int, shape: float = 3, n: int = 1000) -> Sample:
    """Sampling weights with a Pareto distribution's tail, and effects that differ by row."""
    rng = np.random.default_rng(seed)
    X, y = _explained(rng, n)
    w = rng.permutation(np.arange(n) % 2)
    y = y + w * (1 + 0.5 * X[:, 0])
    return Sample(X, y, w, np.ones(1), {"sample_weight": 1 + rng.pareto(shape, size=n)})


def _explained(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Features, and an outcome half of whose variance they explain linearly."""
    X = rng.normal(size=(n, FEATURES))
    return X, X.sum(axis=1) / np.sqrt(FEATURES) + rng.normal(size=n)
