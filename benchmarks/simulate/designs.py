"""What is simulated: samples, how often, what is measured on them and what must come out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.simulate import figures, samples, years
from benchmarks.simulate.figures import Figure
from benchmarks.simulate.judging import claims
from benchmarks.simulate.judging.coverage import coverage
from benchmarks.simulate.judging.populations import Population
from benchmarks.simulate.judging.targeting import targeting
from benchmarks.simulate.measures import Measure, Measured, averages, held_out_qini
from benchmarks.simulate.months import Month, drifts
from benchmarks.simulate.samples import Sample
from benchmarks.simulate.verdicts import Experiment, verdicts
from benchmarks.simulate.years import Year, by_the_rule, each_month, promotions


@dataclass(frozen=True)
class Design:
    """A simulation.

    Parameters
    ----------
    sample : a data set, or a plan of several, by seed
    draws : how often it is drawn
    measure : what is measured on each
    figures : what comes out of them all
    """

    sample: Callable[[int], Any]
    draws: int
    measure: Callable[[Any, int], Measured]
    figures: tuple[Figure, ...]

    def draw(self, seed: int) -> Measured:
        """What one draw measures."""
        return self.measure(self.sample(seed), seed)


# Arms, rows an arm, and draws of the declared design: fewer where a draw takes longer.
SETTINGS = (
    (2, 100, 2000),
    (2, 250, 500),
    (2, 2500, 250),
    (4, 100, 400),
    (4, 250, 300),
    (4, 1250, 250),
    (7, 100, 400),
    (7, 250, 300),
    (7, 714, 250),
)


def _experiments() -> dict[str, Design]:
    """Null experiments, as declared and as they come."""
    made = {}
    for arms, rows, draws in SETTINGS:
        sample = partial(samples.experiment, arms=arms, rows=rows)
        name = f"{arms} arms of {rows} rows"
        declared, as_it_comes = averages("default", True), averages("default", False)
        known = (figures.SPREAD, figures.ERROR, *([figures.CLAIMS] if draws >= 2000 else []))
        made[f"{name}, randomised"] = Design(sample, draws, declared, known)
        made[f"{name}, auto"] = Design(sample, 100, as_it_comes, (figures.SPREAD_ESTIMATED,))
    return made


def _headlines() -> dict[str, Design]:
    """Null experiments of several arms, whose joint intervals count."""
    sample = partial(samples.experiment, arms=7, rows=100)
    measure = averages("linear", True)
    return {"7 arms, linear models": Design(sample, 2000, measure, (figures.CLAIMS,))}


def _rankings() -> dict[str, Design]:
    """Held-out Qini where effects are equal."""
    sample = partial(samples.experiment, arms=2, rows=500)
    declared, as_it_comes = held_out_qini("default", True), held_out_qini("default", False)
    return {
        "held-out Qini, randomised": Design(sample, 4000, declared, figures.QINI),
        "held-out Qini, auto": Design(sample, 600, as_it_comes, figures.QINI_ESTIMATED),
    }


def _confounded() -> dict[str, Design]:
    return {
        f"equal effects, log-odds slope {slope}, auto": Design(
            partial(samples.confounded, slope=slope),
            600,
            averages("default", False),
            (figures.COVERAGE_AT_LEAST,),
        )
        for slope in (0.15, 0.3)
    }


def _coverage() -> dict[str, Design]:
    """Intervals of designs that are hard on them, with linear base models.

    Of 4,000 draws, the standard deviation is known to about 1 %.
    """
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
        name: Design(sample, 4000, measure, (figures.COVERAGE, figures.ERROR_AT_LEAST))
        for name, (sample, measure) in made.items()
    }


def _years() -> dict[str, Design]:
    """Twelve looks at a champion and its challengers."""
    costs = {"noise": years.cost, "effect": 0.0}
    monthly, ruled = promotions(each_month), promotions(by_the_rule)
    equal: dict[str, tuple[dict[str, Any], Measure]] = {
        "one challenger": ({}, promotions()),
        "a new one each month": ({}, monthly),
        "new ones by the rule": ({}, ruled),
        "100 clusters": ({"per_group": 10}, promotions()),
        "the same 100 clusters": ({"per_group": 10, "stay": True}, promotions()),
        "40 clusters, a new one each month": ({"per_group": 25}, monthly),
        "heavy tails": ({**costs, "greedy": 0.9}, promotions()),
        "heavy tails, a new one each month": ({**costs, "greedy": 0.95}, monthly),
        "heavy tails, new ones by the rule": ({**costs, "greedy": 0.9}, ruled),
    }
    made = {
        f"a year of equals, {name}": Design(
            partial(Year, **given), 500, measure, (figures.PROMOTED,)
        )
        for name, (given, measure) in equal.items()
    }
    for name, logged in (("as logged", None), ("logged as by a coin", 0.5)):
        alone = partial(Year, greedy=1.0, logged=logged)
        figure = (figures.NONE_PROMOTED,)
        made[f"a year by the champion alone, {name}"] = Design(alone, 500, promotions(), figure)
    ahead, figure = partial(Year, leads_by=3.0), (figures.PROMOTED_SOON,)
    for number in (1, 3):
        measure = promotions(number=number)
        made[f"a lead of 3 errors, challenger {number}"] = Design(ahead, 500, measure, figure)
    made["leads of 3 errors, new ones by the rule"] = Design(ahead, 500, ruled, figure)
    return made


def _months() -> dict[str, Design]:
    """Features of new rows beside those of training rows."""
    stable: dict[str, dict[str, int]] = {
        "a month without drift": {},
        "a small month without drift": {"train": 2000, "new": 100},
        "a month of 100 groups without drift": {"train": 5000, "new": 1000, "per_group": 10},
    }
    made = {
        name: Design(partial(Month, **given), 2000, drifts, (figures.DRIFTED, figures.BELOW))
        for name, given in stable.items()
    }
    moved = Design(partial(Month, shift=0.5), 500, drifts, (figures.FOUND,))
    return {**made, "a month that moves half a deviation": moved}


def _judged() -> dict[str, Design]:
    """Intervals of figures that judge a rule, which was fitted on as many rows of their own."""
    drawn: dict[str, tuple[Population, str, int]] = {
        "an experiment": (Population(), "linear", 1000),
        "an experiment, small trees": (Population(), "trees", 1000),
        "confounded": (Population(confounded=True), "linear", 1000),
        "three arms": (Population(arms=3), "linear", 1000),
        "200 clusters": (Population(per_group=5), "linear", 1000),
        "weights": (Population(weighted=True), "linear", 1000),
        "1 % treated of 20,000": (Population(treated=0.01), "linear", 20_000),
    }
    return {
        f"judging {name}": Design(partial(_same, population), 400, coverage(*own), figures.JUDGED)
        for name, (population, *own) in drawn.items()
    }


def _targeted() -> dict[str, Design]:
    """Intervals of what policies of three arms gain for a budget."""
    drawn = {
        "three arms": Population(arms=3),
        "200 clusters": Population(arms=3, per_group=5),
        "weights": Population(arms=3, weighted=True),
    }
    return {
        f"targeting {name}": Design(partial(_same, one), 400, targeting(1000), figures.TARGETED)
        for name, one in drawn.items()
    }


def _claims() -> dict[str, Design]:
    """Tests and choices where effects are equal, and where they differ."""
    equal, few = Population(varies=0.0), Population(varies=0.0, per_group=5)
    differ, apart = Population(varies=0.3), Population()
    made: dict[str, tuple[Population, int, Measure, tuple[Figure, ...]]] = {
        "equal effects, tests": (equal, 2000, claims.p_values(500), figures.SIZES),
        "equal effects, sequential": (
            equal,
            2000,
            claims.sequential_p_values(500),
            figures.SEQUENTIAL,
        ),
        "equal effects, sequential, 100 clusters": (
            few,
            2000,
            claims.sequential_p_values(500),
            figures.SEQUENTIAL,
        ),
        "effects that differ, sequential": (
            differ,
            1000,
            claims.sequential_p_values(600),
            figures.POWER,
        ),
        "equal effects, choice": (equal, 500, claims.choice(500), figures.CALLED),
        "a lead of 3 errors, choice": (apart, 200, claims.lead(1000), figures.CHOSEN),
    }
    return {
        f"judging {name}": Design(partial(_same, population), *own)
        for name, (population, *own) in made.items()
    }


def _verdicts() -> dict[str, Design]:
    """Verdicts on experiments with known effects; each is drawn anew by the seed."""
    drawn = {
        "null": Experiment(effects=(0.0, 0.0)),
        "equal effects": Experiment(effects=(0.3,)),
        "effects that differ": Experiment(effects=(0.2, 0.2), slope=0.6),
        "bad overlap": Experiment(effects=(1.0,), confounding=2.5),
        "a harmful arm": Experiment(effects=(-0.3,)),
        "a harmful arm beside a good one": Experiment(effects=(0.3, -0.3)),
        "200 rows": Experiment(rows=200),
    }
    return {
        f"verdict, {name}": Design(partial(_same, own), 300, verdicts, figures.VERDICTS[name])
        for name, own in drawn.items()
    }


def _same(population: Any, seed: int) -> Any:
    """The population that rows of any seed are drawn from."""
    return population


DESIGNS = {
    **_experiments(),
    **_headlines(),
    **_rankings(),
    **_confounded(),
    **_coverage(),
    **_years(),
    **_months(),
    **_judged(),
    **_targeted(),
    **_claims(),
    **_verdicts(),
}
