"""The sequential test: learners fitted on earlier folds, judged on the next one."""

from dataclasses import dataclass, field
from functools import cached_property

from flows.fitting.parts.again import Again
from metalearners.evaluation.judging.rate import Rate
from metalearners.evaluation.judging.sequential import Sequential, sequential
from metalearners.metalearner import Job
from metalearners.resampling.steps import Step, step_rates, steps_of


@dataclass(eq=False)
class SequentialTest(Again):
    """The steps of a study's test of whether the effect differs between rows."""

    _rates: dict[int, dict[str, list[Rate]]] = field(default_factory=dict)  # by step, and learner

    @cached_property
    def steps(self) -> list[Step]:
        """Those of all rows; none where the test isn't asked for."""
        config = self.study.config
        wanted = config.evaluation.sequential
        return steps_of(self.study.dataset, config.folds.n_folds) if wanted else []

    @property
    def count(self) -> int:
        """Number of steps."""
        return len(self.steps)

    def label(self, part: int) -> str:
        """What a step is called."""
        return f"step {part + 1}/{self.count}"

    def fit_part(self, part: int, job: Job) -> None:
        """Fit all learners on the rows before a step, and judge them on its rows."""
        step, study = self.steps[part], self.study
        self._rates[part] = step_rates(study.learners, study.reference, job, step)

    def of_learners(self) -> dict[str, list[Sequential]]:
        """The tests by learner, and arm; none if a fit failed."""
        if self.failed or not self.count:
            return {}
        ordered = [self._rates[step] for step in range(self.count)]
        return {
            name: [sequential(own) for own in zip(*(one[name] for one in ordered), strict=True)]
            for name in self.study.learners
        }
