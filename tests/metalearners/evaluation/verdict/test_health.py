"""Each light turns at its limit, whatever the figure is called, and the worst comes first."""

from dataclasses import replace

import numpy as np
import pytest

from metalearners.evaluation.averages.weighting import WeightedBalance
from metalearners.evaluation.balance import Balance, balance
from metalearners.evaluation.design import SampleRatio, sample_ratio
from metalearners.evaluation.judging.calibration import Blp
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.overlap import Overlap
from metalearners.evaluation.verdict.health import Light, Signs, health_of, worst
from metalearners.evaluation.verdict.limits import LIMITS

TWO = np.array([0.5, 0.5])
SOUND = Signs(("none", "mail"), drawn=True, declared=True)


def ratio(p):
    return Signs(**{**vars(SOUND), "ratio": SampleRatio(100 * TWO, 100 * TWO, p)})


def clipped(carried, rows=3):
    found = Overlap(TWO / 50, TWO, rows, rows / 900, np.array([0, carried]))
    return replace(SOUND, overlap=found)


def weighted(left, after=0.0, noise=0.05):
    one = np.array([[after]])
    own = WeightedBalance(one, one, 100 * TWO, 100 * np.array([0.5, 0.5 * left]))
    raw = Balance(one, np.array([[noise]]), np.array([[1.0]]))
    return replace(SOUND, drawn=False, weighted=own, balance=raw, features=["age"])


def drawn(p):
    found = Balance(np.array([[0.3]]), np.array([[0.1]]), np.array([[p]]))
    return replace(SOUND, balance=found, features=["age"])


def line(p, slope=0.2):
    own = Estimate(slope, 0.1, slope - 0.2, slope + 0.2, 99)
    return replace(SOUND, lines={("T", "mail"): Blp(own, own, 0.5, p)})


@pytest.mark.parametrize(
    ("check", "given", "status"),
    [
        ("sample ratio mismatch", ratio(0.002), "ok"),
        ("sample ratio mismatch", ratio(0.0005), "bad"),
        ("randomisation", SOUND, "ok"),
        ("randomisation", replace(SOUND, declared=False), "ok"),
        ("randomisation", replace(SOUND, changed=["mail"]), "warn"),
        ("randomisation", replace(SOUND, drawn=False, robustness=0.1), "warn"),
        ("clipped rows", clipped(0.0, rows=0), "ok"),
        ("clipped rows", clipped(0.0), "warn"),
        ("clipped rows", clipped(0.05), "warn"),
        ("clipped rows", clipped(0.051), "bad"),
        ("overlap", weighted(0.51), "ok"),
        ("overlap", weighted(0.49), "warn"),
        ("overlap", weighted(0.09), "bad"),
        ("balance", drawn(0.06), "ok"),
        ("balance", drawn(0.04), "warn"),
        ("balance", drawn(0.0009), "bad"),
        ("balance", weighted(1, after=0.09), "ok"),
        ("balance", weighted(1, after=-0.12), "warn"),
        ("balance", weighted(1, after=0.12, noise=0.2), "ok"),
        ("balance", weighted(1, after=-0.3), "bad"),
        ("clusters", replace(SOUND, clusters=80 * TWO), "ok"),
        ("clusters", replace(SOUND, clusters=70 * TWO), "warn"),
        ("clusters", replace(SOUND, clusters=18 * TWO), "bad"),
        ("clusters", replace(SOUND, clusters=99 * TWO, rows=99 * TWO, held_out=70 * TWO), "warn"),
        ("few rows", replace(SOUND, rows=100 * TWO), "ok"),
        ("few rows", replace(SOUND, rows=90 * TWO), "warn"),
        ("few rows", replace(SOUND, rows=38 * TWO), "bad"),
        ("few rows", replace(SOUND, rows=500 * TWO, held_out=90 * TWO), "warn"),
        ("few rows", replace(SOUND, rows=38 * TWO, held_out=4 * TWO), "bad"),
        ("few rows", replace(SOUND, held_out=900 * TWO, judged_by_own=False), "warn"),
        ("heavy tails", replace(SOUND, unsure=TWO / 2), "ok"),
        ("heavy tails", replace(SOUND, unsure=TWO), "warn"),
        ("heavy tails", replace(SOUND, unsure=TWO * 1.1), "bad"),
        ("calibration", line(0.06), "ok"),
        ("calibration", line(0.04), "warn"),
        ("calibration", line(0.04, slope=1.8), "ok"),  # they vary too little, which misleads nobody
        ("stability", replace(SOUND, moves={"qini": 0.9, "ate": np.nan}), "ok"),
        ("stability", replace(SOUND, moves={"qini": 1.1, "ate": 0.2}), "warn"),
        ("failed learners", replace(SOUND, failed=["T"]), "warn"),
    ],
)
def test_a_light_turns_at_its_limit(check, given, status):
    found = {one.check: one for one in health_of(given)}

    assert found[check].status == status
    assert {name for name, one in found.items() if one.status == "bad"} <= {check}


def test_what_is_not_known_has_no_light():
    assert [one.check for one in health_of(SOUND)] == ["randomisation"]


def test_lights_come_in_the_order_of_the_table():
    every = replace(
        weighted(0.4, 0.2), ratio=ratio(0.5).ratio, overlap=clipped(0.01).overlap, rows=30 * TWO
    )
    checks = [one.check for one in health_of(replace(every, unsure=TWO, lines=line(0.01).lines))]

    order = list(dict.fromkeys(one.check for one in LIMITS))
    assert len(checks) == 8
    assert checks == sorted(checks, key=order.index)


def test_the_worst_light_is_doubted_first():
    ok, warn, bad, other = (
        Light(name, status, "")
        for name, status in [("a", "ok"), ("b", "warn"), ("c", "bad"), ("d", "bad")]
    )

    assert worst([ok, warn, bad, other]) is bad
    assert worst([ok, warn]) is warn
    assert worst([ok]) is None
    assert worst([]) is None


def test_sound_experiments_have_no_bad_light_and_few_that_warn():
    """Of the arms' sizes and of balance, whose tests have sizes of .001 and .05."""
    lights = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        X, w = rng.normal(size=(300, 4)), rng.integers(0, 3, 300)
        thirds = np.full((300, 3), 1 / 3)
        signs = replace(
            SOUND,
            arms=("a", "b", "c"),
            ratio=sample_ratio(w, thirds),
            balance=balance(X, w, 3),
            features=list("pqrs"),
        )
        lights.append(worst(health_of(signs)))

    assert np.mean([one is not None for one in lights]) <= 0.09
    assert sum(one is not None and one.status == "bad" for one in lights) <= 2


def test_a_difference_after_weighting_is_the_largest_of_many():
    """What is beyond the noise of one difference is within that of twenty."""
    noise, differs = np.full((20, 1), 0.1), np.zeros((20, 1))
    differs[3] = 0.12
    one = weighted(1, after=0.12, noise=0.1)
    own = replace(one.weighted, after=differs, before=differs)
    raw = Balance(differs, noise, np.ones((20, 1)))
    many = replace(one, weighted=own, balance=raw, features=[f"x{k}" for k in range(20)])

    found = [{light.check: light.status for light in health_of(signs)} for signs in (one, many)]

    assert [lights["balance"] for lights in found] == ["warn", "ok"]


def test_sentences_count_what_they_are_about():
    of_clusters = replace(weighted(0.4), clusters=99 * TWO)
    (own,) = line(0.01).lines.values()
    lines = {("T", "mail"): own, ("X", "mail"): replace(own, p_calibrated=0.9)}

    said = {one.check: one.sentence for one in health_of(of_clusters)}
    found = {one.check: one.sentence for one in health_of(replace(SOUND, lines=lines))}
    sound = {one.check: one.sentence for one in health_of(line(0.9))}

    assert "effective clusters)" in said["overlap"]
    assert "the surest of 1 out of 2 lines (adjusted p = 0.02)" in found["calibration"]
    assert sound["calibration"].endswith("between estimates of T overstate those of effects.")


def test_a_lost_tenth_of_an_arm_and_a_feature_of_after_the_treatment_are_found():
    rng = np.random.default_rng(0)
    w = np.repeat([0, 1], [10_000, 9_000])
    x = rng.normal(size=19_000) + 0.1 * w
    lost = replace(SOUND, ratio=sample_ratio(w, np.full((19_000, 2), 0.5)))
    moved = replace(SOUND, balance=balance(x[:, None], w, 2), features=["visits"])

    assert worst(health_of(lost)).check == "sample ratio mismatch"
    assert "mail has 9,000 where 9,500 are expected" in worst(health_of(lost)).sentence
    found = worst(health_of(moved))
    assert (found.check, found.status) == ("balance", "bad")
    assert "visits" in found.sentence
