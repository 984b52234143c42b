"""A walk through a value that is digested: where it is, and what in it has no digest."""

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from metalearners._typing import Ref
from metalearners.digests.names import combine


@dataclass(frozen=True)
class Identity:
    """The digest of a value, and what in it has none and is named by its type alone."""

    digest: Ref
    gaps: tuple[str, ...] = ()


@dataclass(eq=False)
class Walk:
    """A walk through a value: what it may pass by, and the code that it is in or has been through.

    Parameters
    ----------
    lenient : whether what has no digest is noted in `gaps`, not refused
    reaching : whether the walk follows what code reads
    """

    lenient: bool
    reaching: bool
    gaps: dict[str, None] = field(default_factory=dict)
    within: list[Any] = field(default_factory=list)
    seen: dict[int, tuple[Any, Ref]] = field(default_factory=dict)  # with the value, to keep its id

    def once(self, value: Any, parts: Callable[[], Iterable[str]]) -> Ref:
        """Digest of code that may refer to itself: inside of it, it is its place in the walk."""
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
    """What a digest comes to in a walk."""
    token = WALK.set(walk)
    try:
        return make()
    finally:
        WALK.reset(token)


def identify(make: Callable[[], Ref], reaching: bool = True) -> Identity:
    """What a digest comes to where parts that have none are let pass.

    Parameters
    ----------
    make : gives the digest
    reaching : whether it covers what the user's code reads
    """
    walk = Walk(lenient=True, reaching=reaching)
    return Identity(walked(walk, make), tuple(walk.gaps))


def without_digest(what: str, remedy: str = "Pass a plain value instead.") -> Ref:
    """Refuse what has no digest, or note it, if the walk may pass by."""
    walk = WALK.get()
    if walk is not None and walk.lenient:
        walk.gaps[what] = None
        return combine("unknown", [what])
    raise TypeError(
        "Expected a parameter with a content digest (numbers, strings, lists, dicts, arrays, "
        "estimators, splitters, scorers, distributions, functions); found "
        f"{what}. {remedy}"
    )
