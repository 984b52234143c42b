"""Learners fitted again on half-samples, for intervals of their estimates."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from flows.fitting.workspace import Workspace
from flows.inputs.study import Study
from metalearners.fits.store import Store
from metalearners.fits.unit import FitUnit
from metalearners.intervals import refitted
from metalearners.metalearner import Job, MetaLearner


@dataclass(eq=False)
class Refits:
    """The refits of a study: each draw has every learner, with what they share fitted once."""

    study: Study
    place: Workspace
    _learners: dict[int, dict[str, MetaLearner]] = field(default_factory=dict)  # by draw, and name
    _units: dict[int, list[FitUnit]] = field(default_factory=dict)  # by draw

    @property
    def draws(self) -> int:
        """Number of half-samples."""
        return self.study.config.evaluation.refits

    def fit(self, draw: int) -> None:
        """Fit all learners on a half-sample; what the fits read is freed at the end."""
        self._units[draw] = []  # in place of those of a try before

        def execute(units: Sequence[FitUnit], store: Store) -> None:
            own = [replace(unit, label=f"{self.label(draw)} {unit.label}") for unit in units]
            self._units[draw].extend(own)
            self.place.obtain_all(own, store)

        store = self.place.store.apart()
        job = Job(self.study.dataset, {}, store, execute)
        try:
            self._learners[draw] = {
                name: refitted(learner, job, draw) for name, learner in self.study.learners.items()
            }
        finally:
            self.place.workers.forget(store.beyond(self.place.store))

    @property
    def units(self) -> list[FitUnit]:
        """Those of all draws, before equal ones are merged."""
        return [unit for own in self._units.values() for unit in own]

    def label(self, draw: int) -> str:
        """What a draw is called."""
        return f"half-sample {draw + 1}/{self.draws}"

    def of_learners(self) -> dict[str, list[MetaLearner]]:
        """The refits by learner, in the order of the draws."""
        ordered = [self._learners[draw] for draw in range(self.draws)]
        return {name: [one[name] for one in ordered] for name in self.study.learners}
