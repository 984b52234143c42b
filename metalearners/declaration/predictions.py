"""Predictions of a learner's base models, computed when a formula first needs them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from metalearners._typing import Array, Matrix, Name, Ref
from metalearners.data.containers import Features, select
from metalearners.declaration.prefitted import Prefitted
from metalearners.digests.matrices import matrix_digest


@dataclass(eq=False, repr=False)
class Predictions(Mapping[Name, Array]):
    """(n, c) predictions by (model kind, ordinal)."""

    models: Mapping[str, Sequence[Prefitted]]  # by kind
    X: Matrix | None  # (n, p) features; None for the rows fitted on, without proof that it is they
    columns: Callable[[str], Features]  # a kind's features
    is_oos: bool  # False for the rows fitted on: models predict each row that haven't seen it
    oos_method: Callable[[str], str]  # how a kind predicts other rows
    known: Mapping[Name, Array]  # predictions that are known, such as a design's propensities

    def __post_init__(self) -> None:
        self._made: dict[Name, Array] = dict(self.known)
        self._contents: dict[Features, Ref] = {}

    def __getitem__(self, name: Name) -> Array:
        if name not in self._made:
            self._made[name] = self._predict(name)
        return self._made[name]

    def __iter__(self) -> Iterator[Name]:
        names = [(kind, str(k)) for kind, own in self.models.items() for k in range(len(own))]
        return iter(dict.fromkeys([*self._made, *names]))

    def __len__(self) -> int:
        return len(list(iter(self)))  # list(self) would call this method

    def _predict(self, name: Name) -> Array:
        kind, ordinal = name
        models = self.models.get(kind, ())
        model = models[int(ordinal)] if models else None
        if model is None or model.crossfit is None:
            raise ValueError(
                f"Expected a fitted {kind}; it isn't, or wasn't stored. Call fit; a learner that "
                "was fitted with known propensities that differ by row needs those of the new rows "
                "as `propensity`."
            )
        if self.X is None:
            return model.crossfit.column
        columns = self.columns(kind)
        features = select(self.X, columns)
        if self.is_oos:
            return model.values(features, True, self.oos_method(kind))
        if columns not in self._contents:  # a digest reads all values, so it is computed once
            self._contents[columns] = matrix_digest(features)[0]
        return model.values(features, False, None, self._contents[columns])
