"""A base model as a value: a factory and its parameters, with a digest of both."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from metalearners._typing import Ref
from metalearners.base_models.estimators import build, factory_name
from metalearners.digests.digest import estimator_digest
from metalearners.digests.walk import Identity, identify


@dataclass(frozen=True, eq=False)
class EstimatorSpec:
    """A factory of estimators with its parameters; equal specifications have equal digests.

    The factory is a class with scikit-learn's estimator interface, or returns an estimator.
    """

    factory: Callable[..., Any]
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name in messages."""
        return factory_name(self.factory)

    @cached_property
    def identity(self) -> Identity:
        """Digest of the factory and the parameters, and what the digest doesn't cover.

        It covers the versions of packages, and of the user's code everything that it refers to.
        """
        return identify(lambda: estimator_digest(self.factory, self.params))

    @cached_property
    def unkept(self) -> tuple[str, ...]:
        """Why its fits can't be kept for another process; empty where they can be."""
        try:
            pickle.dumps(self.build())
        except Exception:  # whatever a part of it raises
            return (*self.identity.gaps, "what can't be pickled, such as a lambda")
        return self.identity.gaps

    @cached_property
    def outline(self) -> Ref:
        """Digest without what the user's code refers to; seeds are drawn by it.

        So seeds stay the same where the user's code counts its calls in a global, for example.
        """
        made = identify(lambda: estimator_digest(self.factory, self.params), reaching=False)
        return made.digest

    @property
    def digest(self) -> Ref:
        """The digest of `identity`."""
        return self.identity.digest

    def build(self, seed: int | None = None, threads: int | None = None) -> Any:
        """A new, unfitted estimator; see `build`."""
        return build(self.factory, self.params, seed, threads)
