"""Simulations: samples as described, draws kept and resumed, and a small part of them run."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from benchmarks.simulate import figures, rows, samples
from benchmarks.simulate.__main__ import README, simulate
from benchmarks.simulate.designs import DESIGNS
from benchmarks.simulate.figures import Figure
from benchmarks.simulate.judging.populations import Population
from benchmarks.simulate.judging.truth import Truth
from benchmarks.simulate.table import BEGIN, END, between, lines, misses, written
from metalearners.evaluation import (
    aipw_scores,
    blp,
    gain_curve,
    gates,
    mean_with_error,
    rate,
)
from tests.conftest import REPOSITORY

QUICK = "overlap down to .03"
LONG = re.compile(" rows|judging (?!an experiment$|equal|effects|a lead)")
SMALL = [name for name in DESIGNS if " 100 rows" in name or not LONG.search(name)]
DRAWS = 100  # of the small part


# Samples


@pytest.mark.parametrize("arms", [2, 7])
def test_features_explain_half_of_an_experiment_without_effects(arms):
    s = samples.experiment(0, arms, 3000)

    assert np.bincount(s.w).tolist() == [3000] * arms
    assert LinearRegression().fit(s.X, s.y).score(s.X, s.y) == pytest.approx(0.5, abs=0.03)
    np.testing.assert_array_equal(s.truth, np.zeros(arms - 1))


def test_clusters_are_treated_as_a_whole_and_differ_in_size():
    s = samples.clusters(0, n_clusters=100, treated=5, sigma=1.2)

    treated = {(g, w) for g, w in zip(s.beside["groups"], s.w, strict=True)}
    assert len(treated) == 100
    assert sum(w for _, w in treated) == 5
    sizes = np.bincount(s.beside["groups"])
    assert sizes.sum() ** 2 / (sizes**2).sum() < 50


@pytest.mark.parametrize(
    "draw",
    [
        partial(samples.thin_overlap, n=100_000),
        partial(samples.revenue, n=1_000_000),
        partial(samples.heavy_weights, n=100_000),
    ],
)
def test_effects_are_what_samples_say(draw):
    """Regressed on its features and the arm times these, the outcome tells the average effect."""
    s = draw(0)
    centred = s.X - s.X.mean(axis=0)
    design = np.column_stack([centred, s.w[:, None] * centred, s.w])

    effect = LinearRegression().fit(design, s.y).coef_[-1]

    assert effect == pytest.approx(s.truth[0], abs=0.03)
    assert effect == pytest.approx(s.truth[0], rel=0.15)


def test_hard_designs_are_as_hard_as_they_say():
    rare, sold = samples.rare_arm(0), samples.revenue(0)

    assert rare.w.sum() == 120 == 0.005 * len(rare.w)
    assert (sold.y == 0).mean() == pytest.approx(0.9, abs=0.01)
    assert min((sold.y[sold.w == k] > 0).sum() for k in (0, 1)) >= 200


# Figures and the table


def test_figures_are_what_they_say():
    """Two arms' variances over draws are 4 and 0, so that they are spread by the root of 2."""
    found = {
        "estimate": np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]]),
        "raw": np.array([[0.0, 0.0], [4.0, 0.0], [8.0, 0.0]]),
        "error": np.full((3, 2), np.sqrt(0.5)),
        "covers": np.array([[True, False]] * 3),
        "claims": np.array([True, False, False]),
    }

    assert figures.spread_over_raw(found) == pytest.approx(0.5)
    assert figures.error_over_sd(found) == pytest.approx(0.5)
    assert figures.coverage(found) == 0.5
    assert figures.claimed(found) == pytest.approx(1 / 3)


@given(low=st.floats(-10, 0), high=st.floats(0.01, 10), value=st.floats(-20, 20))
def test_a_figure_keeps_its_bounds(low, high, value):
    assert Figure("", float, low, high).keeps(value) == (low <= value <= high)
    assert Figure("", float, low).keeps(value) == (value >= low)
    assert Figure("", float, most=high).keeps(value) == (value <= high)
    assert not Figure("", float, low, high).keeps(float("nan"))


def test_the_table_says_what_misses():
    draws = {"covers": np.repeat([[True], [False]], 50, axis=0)}
    draws |= {"error": np.ones((100, 1)), "estimate": np.tile([[-1.0], [1.0]], (50, 1))}
    kept = draws | {"covers": np.arange(100)[:, None] >= 5}

    assert misses({QUICK: draws}) == [QUICK]
    assert misses({QUICK: kept}) == []
    assert lines({QUICK: kept})[-1] == (
        f"| {QUICK} | 100 | coverage 95.0 % (93.0 % to 97.0 %); SE over sd 0.995 (at least 0.95) "
        "| pass |"
    )


def test_a_table_is_written_between_its_markers():
    text = f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n"

    once = written(text, ["| new |"])

    assert once == f"before\n\n{BEGIN}\n\n| new |\n\n{END}\n\nafter\n"
    assert written(once, ["| new |"]) == once
    assert written(README.read_text(), []).count(BEGIN) == 1


def test_designs_that_were_not_drawn_keep_their_lines():
    draws = {"covers": np.ones((20, 1)), "error": np.ones((20, 1)), "estimate": np.eye(20)[:, :1]}
    before = f"| {QUICK} | 7 | old | pass |\n| revenue, 90 % zeros | 8 | old | miss |\n| gone | |"
    text = f"| a | b |\n{BEGIN}\n{before}\n{END}\n"

    found = lines({QUICK: draws}, between(text))

    assert between(text).strip() == before
    assert [line.split(" | ")[:2] for line in found[2:]] == [
        [f"| {QUICK}", "20"],
        ["| revenue, 90 % zeros", "8"],
    ]
    table = between(README.read_text())
    assert lines({}, table) == table.strip().splitlines()


def test_many_figures_in_a_row_share_their_bounds():
    name = "judging equal effects, sequential"
    keys = ("sequential", "sequential above", "hold-out above")
    found = {key: np.where(np.arange(20) == 0, 0.01, 0.5) for key in keys}

    assert lines({name: found})[-1] == (
        f"| {name} | 20 | sequential 5.0 %, sequential above 0 5.0 %, hold-out above 0 5.0 % "
        "(3.5 % to 6.5 % each) | pass |"
    )


# What judges is judged


@pytest.mark.parametrize(
    "population",
    [
        Population(),
        Population(arms=3),
        Population(per_group=5),
        Population(weighted=True),
        Population(confounded=True),
        Population(treated=0.01),
    ],
)
def test_effects_of_a_population_are_what_its_rows_say(population):
    """Scores of known models are the effects on average, in every part of the rows."""
    drawn = population.draw(np.random.default_rng(0), 100_000)
    base = drawn.X @ [1, 1, 0.5, 0, 0]
    mu = np.column_stack([base, base[:, None] + drawn.tau])
    e = population.propensity(drawn.X)

    gamma = aipw_scores(drawn.y, drawn.w, mu, e)

    away = gamma[:, 1:] - gamma[:, :1] - drawn.tau
    weight, groups = drawn.beside
    for part in (drawn.X[:, 0] > 0, drawn.X[:, 0] <= 0, drawn.X[:, 1] > 1):
        own = [None if one is None else one[part] for one in (weight, groups)]
        for column in away[part].T:
            found = mean_with_error(column, *own)
            assert abs(found.estimate) < 4 * found.std_error < 0.4
    shares = np.bincount(drawn.w) / len(drawn.w)
    assert shares == pytest.approx(e.mean(axis=0), abs=0.01)


def test_truth_is_that_of_the_figures_without_noise():
    rng = np.random.default_rng(0)
    predicted, weight = np.round(rng.normal(size=3000), 1), rng.exponential(size=3000)
    tau = predicted + rng.normal(size=3000)
    truth = Truth.of(predicted, tau, weight)

    given = (predicted, tau, weight)
    assert truth.qini == pytest.approx(rate(*given, kind="qini").estimate.estimate, abs=0.01)
    assert truth.autoc == pytest.approx(rate(*given).estimate.estimate, abs=0.03)
    assert truth.slope == pytest.approx(blp(*given).slope.estimate)
    groups = [one.actual.estimate for one in gates(*given).groups]
    assert truth.groups == pytest.approx(groups)
    distinct = predicted + 1e-6 * rng.normal(size=3000), *given[1:]
    curves, own = gain_curve(*distinct), Truth.of(*distinct)
    assert own.gain == pytest.approx(curves.gain.value)
    assert own.above_line == pytest.approx(curves.above_line.value, abs=1e-12)
    assert own.toc == pytest.approx(curves.toc.value, abs=1e-12)


# Draws that are kept


def test_designs_have_files_of_their_own(tmp_path):
    assert len({rows.file_of(tmp_path, name) for name in DESIGNS}) == len(DESIGNS)


@pytest.mark.parametrize("name", SMALL)
def test_each_design_measures_what_its_figures_need(name):
    drawn = [DESIGNS[name].draw(seed) for seed in (0, 1)]

    found = rows.columns(dict(enumerate(json.loads(json.dumps(drawn)))))
    values = [figure.of(found) for figure in DESIGNS[name].figures]
    assert np.isfinite(values).all()


def test_a_row_that_was_cut_off_is_drawn_again(tmp_path):
    path = rows.file_of(tmp_path, QUICK)
    simulate(QUICK, 4, tmp_path, jobs=1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])

    simulate(QUICK, 4, tmp_path, jobs=1)

    assert path.read_bytes() == whole


@pytest.mark.slow
def test_a_killed_program_goes_on_from_where_it_was(tmp_path):
    path = rows.file_of(tmp_path, QUICK)
    command = [sys.executable, "-m", "benchmarks.simulate", "--only", QUICK, "--dry"]
    command += ["--rows", str(tmp_path)]
    program = subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True)
    while program.poll() is None and (not path.exists() or path.read_bytes().count(b"\n") < 3):
        time.sleep(0.05)
    os.killpg(program.pid, signal.SIGKILL)
    program.wait()
    kept = rows.read(path)

    again = subprocess.run(
        [*command, "--draws", str(max(kept) + 5)],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
    )

    found = rows.read(path)
    assert kept.items() <= found.items()
    assert sorted(found) == list(range(max(kept) + 5))
    assert f"{QUICK}: {len(found) - len(kept)} draws" in again.stderr
    assert f"| {QUICK} | {len(found)} |" in again.stdout


# A small part of what `make simulate` runs; each fails by three standard errors or more


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name, one in DESIGNS.items() if figures.COVERAGE in one.figures]
)
def test_intervals_of_hard_designs_cover(name, tmp_path):
    simulate(name, DRAWS, tmp_path, jobs=2)

    found = rows.columns(rows.read(rows.file_of(tmp_path, name)))
    print(lines({name: found})[-1])
    assert figures.coverage(found) > 0.95 - 3 * np.sqrt(0.05 * 0.95 / DRAWS)
    assert figures.error_over_sd(found) > 1 - 3 / np.sqrt(2 * DRAWS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in DESIGNS if re.match("a (year|lead|.*month)", name)]
)
def test_recurring_runs_keep_their_bounds(name, tmp_path):
    simulate(name, DRAWS, tmp_path, jobs=2)

    found = {name: rows.columns(rows.read(rows.file_of(tmp_path, name)))}
    print(lines(found)[-1])
    assert misses(found) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in SMALL if re.search("[24] arms.*randomised", name)]
)
def test_declared_experiments_lose_nothing_by_adjustment(name, tmp_path):
    simulate(name, DRAWS, tmp_path, jobs=2)

    found = rows.columns(rows.read(rows.file_of(tmp_path, name)))
    print(lines({name: found})[-1])
    assert figures.spread_over_raw(found) < 1.02
    assert abs(figures.error_over_sd(found) - 1) < 3 / np.sqrt(2 * DRAWS)
    assert figures.claimed(found) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / DRAWS)
