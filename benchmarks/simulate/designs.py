"""What is simulated: samples, how often, what is measured on them and what must come out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.simulate import figures, samples
from benchmarks.simulate.figures import Figure
from benchmarks.simulate.measures import Measure, Measured, averages, held_out_qini
from benchmarks.simulate.samples import Sample

MOST_ROWS = 5000


@dataclass(frozen=True)
class Design:
    """A simulation.

    Parameters
    ----------
    sample : a data set by seed
    draws : how often it is drawn
    measure : what is measured on each
    figures : what comes out of them all
    """

    sample: Callable[[int], Sample]
    draws: int
    measure: Measure
    figures: tuple[Figure, ...]

    def draw(self, seed: int) -> Measured:
        """What one draw measures."""
        return self.measure(self.sample(seed), seed)


def _experiments() -> dict[str, Design]:
    """Null experiments, as declared and as they come; draws by what they cost."""
    made = {}
    for arms in (2, 4, 7):
        for rows, draws in ((100, 2000), (250, 500), (MOST_ROWS // arms, 300)):
            where = f"{arms} arms of {rows} rows"
            sample = partial(samples.experiment, arms=arms, rows=rows)
            known = (figures.SPREAD, figures.ERROR)
            headline = (figures.CLAIMS,) if draws == 2000 else ()
            made[f"{where}, randomised"] = Design(
                sample, draws, averages("default", True), known + headline
            )
            made[f"{where}, auto"] = Design(
                sample, 100, averages("default", False), (figures.SPREAD_ESTIMATED,)
            )
    return made


def _rankings() -> dict[str, Design]:
    """Held-out Qini where effects are equal."""
    sample = partial(samples.experiment, arms=2, rows=500)
    return {
        "held-out Qini, randomised": Design(
            sample, 4000, held_out_qini("default", True), figures.QINI
        ),
        "held-out Qini, auto": Design(sample, 4000, held_out_qini("default", False), figures.QINI),
    }


def _confounded() -> dict[str, Design]:
    return {
        f"equal effects, log-odds slope {slope}, auto": Design(
            partial(samples.confounded, slope=slope),
            1000,
            averages("default", False),
            (figures.COVERAGE_AT_LEAST,),
        )
        for slope in (0.15, 0.3)
    }


def _coverage() -> dict[str, Design]:
    """Intervals of designs that are hard on them, with linear base models."""
    uneven = {"sigma": 1.2}
    known, estimated = averages("linear", True), averages("linear", False)
    made: dict[str, tuple[Callable[[int], Sample], Measure]] = {
        "100 log-normal clusters": (
            partial(samples.clusters, n_clusters=100, treated=50, **uneven),
            known,
        ),
        "40 log-normal clusters": (
            partial(samples.clusters, n_clusters=40, treated=20, **uneven),
            known,
        ),
        "5 treated of 100 clusters": (
            partial(samples.clusters, n_clusters=100, treated=5, sigma=0),
            known,
        ),
        "0.5 % arm, known": (samples.rare_arm, known),
        "0.5 % arm, estimated": (samples.rare_arm, estimated),
        "overlap down to .03": (samples.thin_overlap, estimated),
        "revenue, 90 % zeros": (samples.revenue, known),
        "Pareto weights of shape 3": (samples.heavy_weights, known),
    }
    return {
        name: Design(sample, 1000, measure, (figures.COVERAGE, figures.ERROR_AT_LEAST))
        for name, (sample, measure) in made.items()
    }


DESIGNS = {**_experiments(), **_rankings(), **_confounded(), **_coverage()}
