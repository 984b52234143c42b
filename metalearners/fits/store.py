"""Stores: they keep values under the digest of their content, and fits under their unit's key."""

import copy
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, Self

import numpy as np

from metalearners._typing import Ref
from metalearners.data.containers import is_matrix
from metalearners.digests.digest import digest
from metalearners.digests.matrices import matrix_digest
from metalearners.digests.names import unkept
from metalearners.digests.walk import identify
from metalearners.fits.unit import Fit, FitUnit


class Store(Protocol):
    """Inputs by the digest of their content, fits by key; `lasting` if fits outlive the process."""

    lasting: bool

    def put(self, value: Any) -> Ref:
        """Keep an input and return its name."""

    def get(self, ref: Ref) -> Any:
        """The input of that name."""

    def only(self, refs: Iterable[Ref]) -> "Store":
        """A store with some of the inputs and nothing else."""

    def forget_fits(self) -> None:
        """Forget the fits in memory."""

    def find(self, key: Ref) -> Fit | None:
        """The fit kept under a key; None if there is none, or it is damaged."""

    def fetch(self, key: Ref) -> Fit:
        """The fit that must be under a key; a KeyError if there is none."""

    def keep(self, key: Ref, fit: Fit, label: str = "") -> None:
        """Keep a fit; the label says what its unit is for."""

    def claim(self, key: Ref) -> AbstractContextManager[None]:
        """Wait until nobody else fits a key's unit, and keep others from it meanwhile."""


class MemoryStore:
    """A store that lasts as long as its process."""

    lasting = False

    def __init__(self) -> None:
        self._inputs: dict[Ref, Any] = {}
        self._fits: dict[Ref, Fit] = {}
        self._names: dict[int, tuple[Any, Ref]] = {}

    def put(self, value: Any) -> Ref:
        """Keep an input under the digest of its content.

        An object is hashed once, however many regressions share it; it must not change afterwards.
        A value without a digest, such as a callback, gets a unique name.
        """
        known = self._names.get(id(value))
        if known is not None and known[0] is value:
            return known[1]
        flat = isinstance(value, np.ndarray) and value.ndim != 2
        matrix = is_matrix(value) and not flat
        ref = "-".join(matrix_digest(value)) if matrix else _name_of(value)
        value = self._inputs.setdefault(ref, value)
        self._names[id(value)] = (value, ref)
        return ref

    def get(self, ref: Ref) -> Any:
        """The input of that name."""
        return self._inputs[ref]

    def only(self, refs: Iterable[Ref]) -> "MemoryStore":
        """A store with some of the inputs and nothing else, to send to a worker."""
        part = MemoryStore()
        part._inputs = {ref: self.get(ref) for ref in refs}
        return part

    def apart(self) -> Self:
        """A store that knows these inputs, and whose own inputs and fits are freed with it."""
        made = copy.copy(self)
        made._inputs, made._names, made._fits = dict(self._inputs), dict(self._names), {}
        return made

    def beyond(self, other: "MemoryStore") -> set[Ref]:
        """Names of the inputs that another store doesn't have."""
        return self._inputs.keys() - other._inputs.keys()

    def forget_fits(self) -> None:
        """Forget the fits in memory, but keep the inputs."""
        self._fits.clear()

    def holds(self, key: Ref) -> bool:
        """Whether the fit of a key is in memory."""
        return key in self._fits

    def find(self, key: Ref) -> Fit | None:
        """The fit kept under a key, or None."""
        return self._fits.get(key)

    def fetch(self, key: Ref) -> Fit:
        """The fit that must be under a key; a KeyError if there is none."""
        fit = self.find(key)
        if fit is None:
            raise KeyError(f"No fit under {key}.")
        return fit

    def keep(self, key: Ref, fit: Fit, label: str = "") -> None:
        """Keep a fit."""
        self._fits[key] = fit

    def claim(self, key: Ref) -> AbstractContextManager[None]:
        """Nothing: nobody else has this store."""
        return nullcontext()


def _name_of(value: Any) -> Ref:
    named = identify(lambda: digest(value))
    return unkept() if named.gaps else named.digest


def obtain(unit: FitUnit, store: Store, fit: Callable[[FitUnit, Store], Fit]) -> None:
    """Fit a unit and keep the result, unless the store has it or another process makes it now."""
    with store.claim(unit.key):
        if store.find(unit.key) is None:
            store.keep(unit.key, fit(unit, store), unit.label)
