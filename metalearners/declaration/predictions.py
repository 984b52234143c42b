"""Predictions of a learner's base models, computed when a formula first needs them."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from metalearners._typing import Array, Matrix, Name, Ref
from metalearners.data.containers import Features, select
from metalearners.declaration.prefitted import Prefitted
from metalearners.digests.matrices import matrix_digest


class Predictions(Mapping[Name, Array]):
    """(n, c) predictions by (model kind, ordinal).

    Parameters
    ----------
    models : dict of lists of CrossFitEstimator
        By kind.
    X : array or data frame of shape (n, p), or None
        Features; None for the rows fitted on, without proof that they are these.
    columns, oos_method : callables
        From a kind to its features, and to how other rows than those fitted on are predicted.
    is_oos : bool
        False for the rows fitted on: models predict each row that haven't seen it.
    known : dict of arrays
        Predictions that are known, such as a design's propensities.
    """

    def __init__(
        self,
        models: Mapping[str, Sequence[Prefitted]],
        X: Matrix | None,
        columns: Callable[[str], Features],
        is_oos: bool,
        oos_method: Callable[[str], str],
        known: Mapping[Name, Array],
    ) -> None:
        self._models = models
        self._X = X
        self._columns = columns
        self._is_oos = is_oos
        self._oos_method = oos_method
        self._made: dict[Name, Array] = dict(known)
        self._contents: dict[Features, Ref] = {}

    def __getitem__(self, name: Name) -> Array:
        if name not in self._made:
            self._made[name] = self._predict(name)
        return self._made[name]

    def __iter__(self) -> Iterator[Name]:
        names = [(kind, str(k)) for kind, own in self._models.items() for k in range(len(own))]
        return iter(dict.fromkeys([*self._made, *names]))

    def __len__(self) -> int:
        return len(list(iter(self)))  # list(self) would call this method

    def _predict(self, name: Name) -> Array:
        kind, ordinal = name
        models = self._models.get(kind, ())
        model = models[int(ordinal)] if models else None
        if model is None or model.crossfit is None:
            raise ValueError(
                f"Expected a fitted {kind}; it isn't, or wasn't stored. Call fit; a learner that "
                "was fitted with known propensities that differ by row needs those of the new rows "
                "as `propensity`."
            )
        if self._X is None:
            return model.crossfit.column
        columns = self._columns(kind)
        features = select(self._X, columns)
        if self._is_oos:
            return model.values(features, True, self._oos_method(kind))
        if columns not in self._contents:  # a digest reads all values, so it is computed once
            self._contents[columns] = matrix_digest(features)[0]
        return model.values(features, False, None, self._contents[columns])
