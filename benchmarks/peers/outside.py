"""EconML's and causalml's estimators as candidates, beside calls of the classes themselves.

Each package fits in an environment of its own, which the first run makes. Prints the largest
difference between the effects of both, whether a second fit has the same bits, and seconds. Run as
`python -m benchmarks.peers.outside`.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("econml", "causalml")
N, SEED = 2_000, 7
Cases = Iterator[tuple[type, dict[str, Any], int, Callable[..., Any]]]


def rows(n_arms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, a binary outcome and arms."""
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(N, 4)), rng.integers(0, n_arms, N)
    y = rng.random(N) < 0.3 + 0.2 * (w == 1) * (X[:, 0] > 0) + 0.1 * (w == 2)
    return X, y.astype(int), w


def econml() -> Cases:
    """Classes with parameters, the number of arms, and how their documentation calls them."""
    from econml.dml import CausalForestDML, LinearDML
    from econml.dr import DRLearner
    from econml.metalearners import TLearner
    from sklearn.linear_model import LinearRegression

    def called(factory: type, params: Mapping[str, Any], n_arms: int) -> np.ndarray:
        X, y, w = rows(n_arms)
        model = factory(**params).fit(y.astype(float), w, X=X)
        return np.column_stack([model.effect(X, T0=0, T1=k) for k in range(1, n_arms)])

    seeded, discrete = {"random_state": SEED}, {"discrete_treatment": True}
    yield CausalForestDML, {**seeded, **discrete, "n_jobs": 1}, 3, called
    yield LinearDML, {**seeded, **discrete}, 3, called
    yield DRLearner, seeded, 3, called
    yield TLearner, {"models": LinearRegression()}, 2, called


def causalml() -> Cases:
    """As `econml`."""
    from causalml.inference.meta import BaseTRegressor, BaseXRegressor
    from causalml.inference.tree import CausalRandomForestRegressor, UpliftRandomForestClassifier
    from sklearn.linear_model import LinearRegression

    def called(factory: type, params: Mapping[str, Any], n_arms: int) -> np.ndarray:
        X, y, w = rows(n_arms)
        labels = w.astype(str)  # its causal forest reads labels as numbers
        model = factory(control_name="0", **params)
        model.fit(X=X, treatment=labels, y=y.astype(float))
        return np.asarray(model.predict(X)).reshape(N, -1)

    yield UpliftRandomForestClassifier, {"random_state": SEED, "n_jobs": 1}, 3, called
    yield CausalRandomForestRegressor, {"random_state": SEED, "n_jobs": 1}, 3, called
    yield BaseTRegressor, {"learner": LinearRegression()}, 3, called
    yield BaseXRegressor, {"learner": LinearRegression()}, 2, called


def measure(package: str) -> None:
    """Print a line for each class of a package, in whose environment this runs."""
    from metalearners.slearner import OutsideLearner

    def ours(factory: type, params: Mapping[str, Any], n_arms: int) -> np.ndarray:
        X, y, w = rows(n_arms)
        learner = OutsideLearner(True, n_arms, factory, nuisance_model_params=params, n_folds=2)
        return learner.fit(X, y, w).predict(X, is_oos=True)[:, :, -1]

    for factory, params, n_arms, called in {"econml": econml, "causalml": causalml}[package]():
        given = (factory, params, n_arms)
        theirs, begun = called(*given), time.perf_counter()
        found = ours(*given)
        seconds = time.perf_counter() - begun
        far, same = np.abs(found - theirs).max(), np.array_equal(found, ours(*given))
        print(f"{package:9} {factory.__name__:30} {far:9.1e} {same!s:6} {seconds:6.1f} s")


def main() -> None:
    """Measure each package in its own environment."""
    from benchmarks.peers.environments import python_of

    print("package   class                          difference same   three fits")
    for package in PACKAGES:
        command = [str(python_of(package)), "-W", "ignore", __file__, package]
        paths = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        subprocess.run(command, env=paths, check=True)


if __name__ == "__main__":
    measure(sys.argv[1]) if sys.argv[1:] else main()
