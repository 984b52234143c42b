"""Learners fitted again on parts of the rows: one task for each part."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from flows.fitting.workspace import Workspace
from flows.inputs.study import Study
from metalearners.fits.store import Store
from metalearners.fits.unit import FitUnit
from metalearners.metalearner import Job


@dataclass(eq=False)
class Again(ABC):
    """Fits of a study's learners on parts of the rows, with what they share fitted once a part."""

    study: Study
    place: Workspace
    failed: bool = False  # then nothing comes of it
    _units: dict[int, list[FitUnit]] = field(default_factory=dict)  # by part

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of parts."""

    @abstractmethod
    def label(self, part: int) -> str:
        """What a part is called."""

    def title(self, part: int) -> str:
        """What a part is called among those of all outcomes."""
        return f"{self.study.outcome} {self.label(part)}".lstrip()

    @abstractmethod
    def fit_part(self, part: int, job: Job) -> None:
        """Fit all learners on a part, as the job says, and keep what comes of it."""

    def fit(self, part: int) -> None:
        """Fit all learners on a part; what the fits read is freed at the end."""
        self._units[part] = []  # in place of those of a try before

        def execute(units: Sequence[FitUnit], store: Store) -> None:
            own = [replace(unit, label=f"{self.label(part)} {unit.label}") for unit in units]
            self._units[part].extend(own)
            self.place.obtain_all(own, store)

        store = self.place.store.apart()
        try:
            self.fit_part(part, Job(self.study.dataset, {}, store, execute))
        finally:
            self.place.workers.forget(store.beyond(self.place.store))

    @property
    def units(self) -> list[FitUnit]:
        """Those of all parts, before equal ones are merged."""
        return [unit for own in self._units.values() for unit in own]
