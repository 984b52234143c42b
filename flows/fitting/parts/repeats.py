"""All fits of a study again, with other draws of the folds and of the hold-out."""

from dataclasses import dataclass, field

from flows.fitting.parts.again import Again
from flows.fitting.regressions import ask_judging, ask_nuisances, ask_treatments
from flows.inputs.study import Study
from metalearners._typing import Name
from metalearners.fits.crossfit import CrossFit
from metalearners.fits.execute import run_stage
from metalearners.metalearner import Job


@dataclass(eq=False)
class Repeats(Again):
    """The repeats of a study, beside its own fits."""

    _fits: dict[int, dict[Name, CrossFit]] = field(default_factory=dict)  # by repeat

    @property
    def count(self) -> int:
        """Number of repeats: one fewer than `folds.repeats`, as the study is one."""
        return len(self.study.repeats)

    def label(self, part: int) -> str:
        """What a repeat is called."""
        return f"repeat {part + 2}/{self.count + 1}"

    def fit_part(self, part: int, job: Job) -> None:
        """Fit all learners with the folds of a repeat, and evaluation's own nuisances."""
        self._fits[part] = _fit_all(self._of(part), job)

    def _of(self, part: int) -> Study:
        """The study of a repeat, with the learners that could be fitted."""
        return self.study.repeats[part].only(self.study.learners)

    def fitted(self) -> list[tuple[Study, dict[Name, CrossFit]]]:
        """The repeats with their fits; none if some failed."""
        parts = () if self.failed else range(self.count)
        return [(self._of(part), self._fits[part]) for part in parts]


def _fit_all(study: Study, job: Job) -> dict[Name, CrossFit]:
    nuisances = {k: v for own in ask_nuisances(study).values() for k, v in own.items()}
    fits = run_stage(nuisances, study.dataset, job.store, job.execute)
    if study.judging is not None:
        fits |= run_stage(ask_judging(study), study.judging, job.store, job.execute)
    for name in study.learners:
        treatments = ask_treatments(study, name, fits)
        if treatments:
            fits |= run_stage(treatments, study.dataset, job.store, job.execute)
    return fits
