"""A fit unit and the result of its fit: what plans, executors and stores pass on."""

import pickle
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from metalearners import base_models
from metalearners._typing import Array, Ref
from metalearners.digests.names import combine
from metalearners.fits.estimator_spec import EstimatorSpec


@dataclass(frozen=True)
class FitParam:
    """An argument of an estimator's `fit`: its name, its value's digest, whether it has rows."""

    name: str
    value: Ref
    by_row: bool


@dataclass(frozen=True, eq=False)
class FitUnit:
    """One estimator and one training set, every input named by content.

    The training set is a mask with a bit for each row (see `as_mask`), as positions would need as
    much memory as features.

    Units are equal when their keys are: the key is the digest of what the fit depends on, and its
    cache key. `label` says what the unit is for and doesn't enter the key. Where no digest covers
    what a fit depends on, `alone` is a unique name: the fit is neither shared nor kept.
    """

    estimator: EstimatorSpec
    X: Ref
    target: Ref
    train: Ref
    test: Ref | None
    weight: Ref | None
    arm: Ref | None
    n_arms: int
    method: str
    seed: int
    keep: bool
    interactions: bool = False
    fit_params: tuple[FitParam, ...] = ()
    share_bins: bool = False  # whether its bins are those of all rows (see `binning`)
    label: str = ""
    alone: Ref = ""

    @cached_property
    def key(self) -> Ref:
        """Digest of everything that the predictions and the kept model depend on."""
        parts = (self.X, self.target, self.train, self.test, self.weight, self.arm)
        plain = (self.n_arms, self.method, self.seed, self.keep, self.interactions, self.fit_params)
        named = [_fit_code(), self.estimator.digest, repr(parts), repr(plain)]
        own = combine("unit", [*named, "share_bins"] if self.share_bins else named)
        return self.alone + own if self.alone else own

    @property
    def inputs(self) -> list[Ref]:
        """Names of the values that the fit reads from a store."""
        named = [self.X, self.target, self.train, self.test, self.weight, self.arm]
        return [ref for ref in named if ref] + [param.value for param in self.fit_params]

    @property
    def content(self) -> Ref:
        """Digest of the feature values, whatever their container."""
        return self.X.partition("-")[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FitUnit) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@cache
def _fit_code() -> Ref:
    """Digest of the code that fits depend on: a change of it must not reuse older results."""
    folder = Path(base_models.__file__).parent
    parts: list[str | bytes] = []
    for path in sorted(folder.rglob("*.py")):
        parts += [path.relative_to(folder).as_posix(), path.read_bytes()]
    return combine("code", parts)


@dataclass(frozen=True, eq=False)
class Fit:
    """The result of fitting a unit."""

    # (m, c) of the unit's test rows, (m, K, c) with the arm as a feature; None without test rows
    predictions: Array | None
    model: Any = None  # fitted, if the unit keeps it
    # The model's pickle, if it came as one: it is passed on, as many models take long to pickle.
    pickled: bytes | None = None
    offset: float = 0.0  # added to predictions, as the model learnt outcomes less this constant

    def __getstate__(self) -> dict[str, Any]:
        return dict(vars(self)) if self.pickled is None else {**vars(self), "model": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.pickled is not None:
            vars(self).update(model=pickle.loads(self.pickled), pickled=None)
