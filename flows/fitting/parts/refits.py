"""Learners fitted again on half-samples, for intervals of their estimates."""

from dataclasses import dataclass, field

from flows.fitting.parts.again import Again
from metalearners.intervals import refitted
from metalearners.metalearner import Job, MetaLearner


@dataclass(eq=False)
class Refits(Again):
    """The refits of a study: each draw has every learner."""

    _learners: dict[int, dict[str, MetaLearner]] = field(default_factory=dict)  # by draw, and name

    @property
    def count(self) -> int:
        """Number of half-samples."""
        return self.study.config.evaluation.refits

    def label(self, part: int) -> str:
        """What a draw is called."""
        return f"half-sample {part + 1}/{self.count}"

    def fit_part(self, part: int, job: Job) -> None:
        """Fit all learners on a half-sample."""
        self._learners[part] = {
            name: refitted(learner, job, part) for name, learner in self.study.learners.items()
        }

    def of_learners(self) -> dict[str, list[MetaLearner]]:
        """The refits by learner, in the order of the draws; none if some failed."""
        if self.failed or not self.count:
            return {}
        ordered = [self._learners[draw] for draw in range(self.count)]
        return {name: [one[name] for one in ordered] for name in self.study.learners}
