"""The learners, with a line for each: the only place for their names, classes and colours.

A learner's module is imported when its class is first needed.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metalearners.metalearner import MetaLearner


@dataclass(frozen=True)
class Entry:
    """A learner, and how pictures draw it; no two learners share a colour, marker or dash."""

    prefix: str  # of the class <prefix>Learner; its module has the same name in lower case
    colour: str
    marker: str
    dash: str  # empty for a solid line

    @property
    def name(self) -> str:
        """Name of the class; configs use it."""
        return f"{self.prefix}Learner"

    @property
    def module(self) -> str:
        """Path of the class's module."""
        return f"metalearners.{self.name.lower()}"

    def load(self) -> type["MetaLearner"]:
        """The class."""
        learner: type[MetaLearner] = getattr(import_module(self.module), self.name)
        return learner

    @property
    def kinds(self) -> tuple[str, ...]:
        """The learner's model kinds, those of nuisance models first."""
        learner = self.load()
        return learner.NUISANCE_KINDS + learner.TREATMENT_KINDS


_ENTRIES = (
    Entry("S", "#882255", "v", "1.5 1.5"),
    Entry("T", "#b07d00", "^", "6 2"),
    Entry("X", "#117755", "s", "4 1.5 1 1.5"),
    Entry("R", "#cc3311", "D", "9 2 2 2"),
    Entry("DR", "#332288", "o", ""),
    Entry("U", "#8467dc", "P", "12 3"),
    Entry("RA", "#2e97bf", "X", "6 1.5 1 1.5 1 1.5"),
)

REGISTRY = {entry.name: entry for entry in _ENTRIES}
"""Learners by the name of their class, in the order in which users see them."""
