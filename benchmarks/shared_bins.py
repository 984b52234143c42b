"""What shared bins change: errors of effects, and processor time, over those of plain fits.

For each seed, both kinds of fit learn from the same rows, with the same folds and seeds. An error
is the root mean square of the difference between the out-of-fold effect and the true effect. The
time is that of the processor, for the five learners one after another with one store.
"""

import argparse
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor

from metalearners import DRLearner, RLearner, SLearner, TLearner, XLearner
from metalearners.metalearner import PROPENSITY_MODEL, MetaLearner
from metalearners.store import MemoryStore

LEARNERS: tuple[type[MetaLearner], ...] = (SLearner, TLearner, XLearner, RLearner, DRLearner)
TREES = {"n_estimators": 100, "num_leaves": 15, "n_jobs": 1, "verbosity": -1}
SIZES = ((5_000, 10), (50_000, 20))


def main() -> None:
    """Print a table of errors and one of times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=50, help="number of seeds for errors")
    parser.add_argument("--rows", type=int, default=2_000, help="rows for errors")
    parser.add_argument("--turns", type=int, default=3, help="turns for times")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "X is turned into a data frame")
    print_errors([errors(seed, options.rows) for seed in range(options.seeds)])
    print_times(options.turns)


def print_errors(found: list[dict[str, float]]) -> None:
    """Ratios of errors by learner, shared over plain: mean and standard error over seeds."""
    print(f"| learner | error, shared / plain ({len(found)} seeds) | standard error |")
    print("|---|---|---|")
    for name in found[0]:
        ratios = np.array([own[name] for own in found])
        error = ratios.std(ddof=1) / np.sqrt(len(ratios)) if len(ratios) > 1 else np.nan
        print(f"| {name} | {ratios.mean():.4f} | {error:.4f} |")


def print_times(turns: int) -> None:
    """Processor time by size, shared over plain, in turns: the median, the least and the most."""
    print("\n| rows x features | processor time, shared / plain | from | to |")
    print("|---|---|---|---|")
    for n, p in SIZES:
        ratios = [seconds(n, p, True) / seconds(n, p, False) for _ in range(turns)]
        print(f"| {n:,} x {p} | {np.median(ratios):.3f} | {min(ratios):.3f} | {max(ratios):.3f} |")


def errors(seed: int, rows: int) -> dict[str, float]:
    """The ratio of each learner's errors, shared over plain, on the rows of one seed."""
    X, y, w, tau = draw(rows, 10, seed)
    plain, shared = (
        {type(m).__name__: m.predict(X, is_oos=False)[:, 0, 0] for m in fitted(X, y, w, on, seed)}
        for on in (False, True)
    )
    return {name: _rmse(shared[name] - tau) / _rmse(plain[name] - tau) for name in plain}


def seconds(n: int, p: int, share_bins: bool) -> float:
    """Processor time of the fits of five learners."""
    X, y, w, _ = draw(n, p, 0)
    begun = time.process_time()
    for _ in fitted(X, y, w, share_bins, 0):
        pass
    return time.process_time() - begun


def fitted(X: Any, y: Any, w: Any, share_bins: bool, seed: int) -> Iterator[MetaLearner]:
    """Each learner, fitted."""
    store = MemoryStore()
    for made in LEARNERS:
        effects: dict[str, Any] = {}
        if made.TREATMENT_KINDS:
            effects = {"treatment_model_factory": LGBMRegressor, "treatment_model_params": TREES}
        if PROPENSITY_MODEL in made.NUISANCE_KINDS:
            effects |= {"propensity_model_factory": LGBMClassifier}
            effects |= {"propensity_model_params": TREES}
        learner = made(
            False,
            2,
            LGBMRegressor,
            nuisance_model_params=TREES,
            n_folds=5,
            random_state=seed,
            **effects,
        )
        yield learner.fit(X, y, w, store=store, share_bins=share_bins)


def draw(n: int, p: int, seed: int) -> tuple[np.ndarray, ...]:
    """Features, outcome, arm and effect: a confounded design whose effect bends."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    tau = X[:, 0] + np.log1p(np.exp(X[:, 1]))
    w = (rng.uniform(size=n) < 1 / (1 + np.exp(-X[:, 2]))).astype(int)
    y = np.sin(2 * X[:, 3]) + X[:, 2] + w * tau + rng.normal(size=n)
    return X, y, w, tau


def _rmse(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(error**2)))


if __name__ == "__main__":
    main()
