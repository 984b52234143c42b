"""A walk through a value while its digest is taken: its place, and what has no digest."""

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from metalearners._typing import Ref
from metalearners.digests.names import combine


@dataclass(frozen=True)
class Identity:
    """The digest of a value, and its parts without a digest, which are named by type alone."""

    digest: Ref
    gaps: tuple[str, ...] = ()


@dataclass(eq=False)
class Walk:
    """A walk through a value: its mode, the code around its place, and the code behind it.

    Parameters
    ----------
    lenient : bool
        Whether the walk lists what has no digest in `gaps`, instead of an error.
    reaching : bool
        Whether the walk follows what code reads.
    """

    lenient: bool
    reaching: bool
    gaps: dict[str, None] = field(default_factory=dict)
    within: list[Any] = field(default_factory=list)
    seen: dict[int, tuple[Any, Ref]] = field(default_factory=dict)  # with the value, to keep its id

    def once(self, value: Any, parts: Callable[[], Iterable[str]]) -> Ref:
        """Digest of code that may refer to itself: it does so by its place in the walk."""
        for place, outer in enumerate(self.within):
            if outer is value:
                return combine("again", [str(place)])
        if id(value) not in self.seen:
            self.within.append(value)
            try:
                made = combine("code", parts())
            finally:
                self.within.pop()
            self.seen[id(value)] = (value, made)
        return self.seen[id(value)][1]


WALK: ContextVar[Walk | None] = ContextVar("walk", default=None)


def walked(walk: Walk, make: Callable[[], Ref]) -> Ref:
    """The digest that `make` returns in a walk."""
    token = WALK.set(walk)
    try:
        return make()
    finally:
        WALK.reset(token)


def identify(make: Callable[[], Ref], reaching: bool = True) -> Identity:
    """The digest that `make` returns, with its gaps instead of an error.

    With `reaching`, it covers what the user's code reads.
    """
    walk = Walk(lenient=True, reaching=reaching)
    return Identity(walked(walk, make), tuple(walk.gaps))


def without_digest(what: str, remedy: str = "Pass a plain value instead.") -> Ref:
    """Refuse what has no digest; a lenient walk lists it instead."""
    walk = WALK.get()
    if walk is not None and walk.lenient:
        walk.gaps[what] = None
        return combine("unknown", [what])
    raise TypeError(
        "Expected a parameter with a content digest (numbers, strings, lists, dicts, arrays, "
        "estimators, splitters, scorers, distributions, functions); found "
        f"{what}. {remedy}"
    )
