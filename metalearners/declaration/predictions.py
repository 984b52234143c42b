"""Predictions of a learner's base models, each made when a formula first asks for it."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from metalearners._typing import Array, Matrix, Name, Ref
from metalearners.data.containers import Features, select
from metalearners.declaration.prefitted import Prefitted
from metalearners.digests.matrices import matrix_digest


class Predictions(Mapping[Name, Array]):
    """(n, c) predictions by (model kind, ordinal).

    Parameters
    ----------
    models : by kind
    X : (n, p) features; None for the rows fitted on, without proof that they are these
    columns : a kind's features
    is_oos : False for the rows fitted on, each predicted by models that haven't seen it
    oos_method : how other rows are predicted, by kind
    known : predictions that are known, such as a design's propensities
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
        return iter(
            dict.fromkeys(
                [
                    *self._made,
                    *(
                        (kind, str(k))
                        for kind, own in self._models.items()
                        for k in range(len(own))
                    ),
                ]
            )
        )

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _predict(self, name: Name) -> Array:
        kind, ordinal = name
        own = self._models.get(kind, ())
        model = own[int(ordinal)] if own else None
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
        if columns not in self._contents:  # a digest reads all values: once is enough
            self._contents[columns] = matrix_digest(features)[0]
        return model.values(features, False, None, self._contents[columns])
