"""Simulations with known effects that other people have published numbers for."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit


@dataclass(frozen=True, eq=False)
class Draw:
    """Rows drawn from a design, with the truth about each.

    Parameters
    ----------
    X : (n, p) features
    y, w : (n,) outcome and arm
    tau : (n, K-1) effects against the control
    """

    X: np.ndarray
    y: np.ndarray
    w: np.ndarray
    tau: np.ndarray

    def take(self, rows: np.ndarray) -> "Draw":
        """Some of the rows."""
        return Draw(self.X[rows], self.y[rows], self.w[rows], self.tau[rows])


# Nie and Wager (2021), Biometrika 108(2), section 6.1: what a function of the features gives is
# the main effect b, the propensity e and the effect tau of Y = b + (W - 1/2) tau + noise.


def _confounded(X: np.ndarray) -> tuple[np.ndarray, ...]:
    wave = np.sin(np.pi * X[:, 0] * X[:, 1])
    b = wave + 2 * (X[:, 2] - 0.5) ** 2 + X[:, 3] + 0.5 * X[:, 4]
    return b, np.clip(wave, 0.1, 0.9), (X[:, 0] + X[:, 1]) / 2


def _randomised(X: np.ndarray) -> tuple[np.ndarray, ...]:
    b = np.maximum(np.maximum(X[:, 0] + X[:, 1], X[:, 2]), 0) + np.maximum(X[:, 3] + X[:, 4], 0)
    return b, np.full(len(X), 0.5), X[:, 0] + np.log1p(np.exp(X[:, 1]))


def _constant(X: np.ndarray) -> tuple[np.ndarray, ...]:
    b = 2 * np.log1p(np.exp(X[:, 0] + X[:, 1] + X[:, 2]))
    return b, expit(-X[:, 1] - X[:, 2]), np.ones(len(X))


def _unrelated(X: np.ndarray) -> tuple[np.ndarray, ...]:
    treated = np.maximum(X[:, 0] + X[:, 1] + X[:, 2], 0)
    control = np.maximum(X[:, 3] + X[:, 4], 0)
    e = 1 / (1 + np.exp(-X[:, 0]) + np.exp(-X[:, 1]))
    return (treated + control) / 2, e, treated - control


SETUPS: dict[str, Callable[[np.ndarray], tuple[np.ndarray, ...]]] = {
    "A": _confounded,
    "B": _randomised,
    "C": _constant,
    "D": _unrelated,
}


def nie_wager(setup: str, n: int, seed: int, d: int = 6, sigma: float = 1.0) -> Draw:
    """Rows of one of the set-ups A to D; features are uniform in A, normal elsewhere."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(n, d)) if setup == "A" else rng.normal(size=(n, d))
    b, e, tau = SETUPS[setup](X)
    w = rng.binomial(1, e)
    return Draw(X, b + (w - 0.5) * tau + sigma * rng.normal(size=n), w, tau[:, None])


# The benchmark in the documentation of the package metalearners (benchmarks/readme.md).


@dataclass(frozen=True)
class Published:
    """A design of that benchmark, and the errors published for it.

    Parameters
    ----------
    arms : probability of each arm
    effects : constant effects of the arms but the control; None where they are linear
    is_classification : whether the outcome is 0 or 1
    rmse : published out-of-sample errors, by learner
    """

    arms: tuple[float, ...]
    effects: tuple[float, ...] | None
    is_classification: bool
    rmse: dict[str, float]


def _errors(*rmse: float) -> dict[str, float]:
    return dict(zip("STXR", rmse[:4], strict=True)) | {"DR": rmse[4]}


FIVE_ARMS = (0.2, 0.1, 0.3, 0.15, 0.25)
DESIGNS = {
    "continuous, two arms, linear": Published(
        (0.7, 0.3), None, False, _errors(14.62, 0.0456, 0.0456, 0.0477, 0.0453)
    ),
    "binary, two arms, linear": Published(
        (0.7, 0.3), None, True, _errors(0.2286, 0.0218, 0.3018, 0.3018, 0.3018)
    ),
    "continuous, five arms, linear": Published(
        FIVE_ARMS, None, False, _errors(14.19, 0.0617, 0.0617, 0.2776, 0.0622)
    ),
    "continuous, five arms, constant": Published(
        FIVE_ARMS, (-2, 5, 0, 3), False, _errors(0.0090, 0.0753, 0.0753, 0.0810, 0.0758)
    ),
}


def published(design: Published, n: int, seed: int, p: int = 25) -> Draw:
    """Rows of one of that benchmark's designs."""
    rng = np.random.default_rng(seed)
    X = _correlated(rng, n, p)
    w = rng.choice(len(design.arms), size=n, p=design.arms)
    mu0 = X @ rng.uniform(size=p)
    if design.effects is None:
        tau = X @ rng.uniform(size=(p, len(design.arms) - 1))
    else:
        tau = np.tile(np.array(design.effects, dtype=float), (n, 1))
    mean = mu0 + np.column_stack([np.zeros(n), tau])[np.arange(n), w]
    y = mean + rng.normal(size=n) + 0.5 * (w > 0) * rng.normal(size=n)
    if not design.is_classification:
        return Draw(X, y, w, tau)
    middle = np.median(mean)
    tau = expit(mu0[:, None] + tau - middle) - expit(mu0 - middle)[:, None]
    return Draw(X, rng.binomial(1, expit(y - middle)), w, tau)


def _correlated(rng: np.random.Generator, n: int, p: int) -> np.ndarray:
    """Normal features with means in [-5, 5] and a covariance drawn from Wishart(p, I)."""
    mean, root = rng.uniform(-5, 5, size=p), rng.normal(size=(p, p))
    return mean + rng.normal(size=(n, p)) @ root


def halves(draw: Draw, share: float, seed: int) -> tuple[Draw, Draw]:
    """Training rows, and a share of test rows."""
    rows = np.random.default_rng(seed).permutation(len(draw.y))
    n_test = int(share * len(rows))
    return draw.take(rows[n_test:]), draw.take(rows[:n_test])
