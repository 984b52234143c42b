"""Refits of a run: the library's, by the run's workers and cache, and the intervals they give."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import flows
from flows.cli.commands import app
from flows.config.reading import parse_config
from flows.errors import InputError
from flows.fitting.parallelism import as_asked
from flows.fitting.parts.refits import Refits
from flows.fitting.workspace import workspace
from flows.inputs.study import load_study
from metalearners.bundle import Bundle
from metalearners.intervals import cate_intervals, half_sample

DRAWS = 3
NAMES = ["TLearner", "XLearner", "DRLearner"]


@pytest.fixture
def three(settings):
    """Settings of three learners that are fitted again on three halves."""
    settings["evaluation"] |= {"refits": DRAWS}
    return {**settings, "learners": NAMES}


def ends(frame, name):
    """(n, 2) lower and upper ends of a learner's intervals."""
    return frame[[f"low.{name}.1", f"high.{name}.1"]].to_numpy()


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["thread", "process"])
def test_intervals_are_the_library_s_whoever_fits(run, three, runner):
    three["evaluation"]["holdout"] = 0.0
    three["parallelism"] = {"runner": runner, "workers": 2}
    ran = run(three)
    found = flows.load(ran.folder).score("data.parquet", intervals=0.9)

    study = load_study(parse_config(three))
    d = study.dataset
    for name, learner in study.learners.items():
        wanted = cate_intervals(learner, d.X, d.X, d.y, d.w, draws=DRAWS, level=0.9)
        np.testing.assert_array_equal(found[f"cate.{name}.1"], wanted.estimate[:, 0, 0])
        own = np.column_stack([wanted.low[:, 0, 0], wanted.high[:, 0, 0]])
        np.testing.assert_array_equal(ends(found, name), own)
        assert (wanted.std_error > 0).any()


@pytest.mark.slow
def test_a_second_run_reuses_the_refits_and_more_draws_add_their_own(run, three):
    first, second = run(three), run(three)
    three["evaluation"]["refits"] = DRAWS + 1
    third = run(three)
    counts = [ran.stages["refits"] for ran in (first, second, third)]

    assert counts[0]["executed"] == counts[0]["unique"] < counts[0]["planned"]
    assert counts[1]["executed"] == 0
    assert counts[1]["reused"] == counts[0]["unique"] == 3 * counts[2]["executed"]
    found = [flows.load(ran.folder).score("data.parquet", intervals=0.9) for ran in (first, second)]
    pd.testing.assert_frame_equal(*found, check_exact=True)


def test_a_run_counts_its_own_fits_alone_and_estimates_the_same(run, three):
    ran = run(three)
    three["evaluation"]["refits"] = 0
    plain = run(three)

    assert "refits" not in plain.stages
    assert plain.fits["unique"] == plain.fits["reused"] == ran.fits["executed"]
    pd.testing.assert_frame_equal(plain.estimates, ran.estimates, check_exact=True)
    files = {path.name for path in (plain.folder / "model").iterdir()}
    refits = {f"{name}.refits.pickle" for name in NAMES}
    assert {path.name for path in (ran.folder / "model").iterdir()} == files | refits


@pytest.mark.slow
def test_held_out_rows_have_no_part_in_refits(run, three):
    """Other outcomes of the held-out rows leave every refit as it was."""
    rows = pd.read_parquet("data.parquet")
    before = run(three)
    held_out = before.estimates["held_out"].to_numpy()
    rows.loc[held_out, "y"] += 7.0
    rows.to_parquet("data.parquet")
    after = run(three)

    assert after.stages["refits"]["executed"] == 0


DESIGNS = {
    "groups": {"group": "g"},
    "weights": {"weight": "v"},
    "time": {"time": "t"},
    "known probabilities": {"propensity": 0.5},
    "classes": {"outcome": "bought", "outcome_type": "binary"},
    "three arms": {"treatment": "arm", "control": "a"},
}


@pytest.mark.slow
@pytest.mark.parametrize("design", DESIGNS)
def test_every_design_has_intervals(run, three, design):
    rows = pd.read_parquet("data.parquet")
    n = len(rows)
    rng = np.random.default_rng(0)
    rows = rows.assign(
        g=np.arange(n) // 3,
        v=rng.uniform(0.5, 2, n),
        t=np.arange(n) // 20,
        bought=(rows["y"] > rows["y"].median()).astype(int),
        arm=rng.choice(["a", "b", "c"], n),
    )
    rows.to_parquet("data.parquet")
    three["data"] |= {"features": ["a", "b"], **DESIGNS[design]}
    three["folds"] = {"n_folds": 2}
    if design == "classes":
        three["models"]["outcome"]["estimator"] = "lightgbm.LGBMClassifier"
    found = flows.load(run(three).folder).score(rows, intervals=0.8)

    for name in NAMES:
        for cate in [column for column in found if column.startswith(f"cate.{name}.")]:
            low, high = (found[cate.replace("cate", end, 1)] for end in ("low", "high"))
            assert (low <= found[cate]).all()
            assert (found[cate] <= high).all()
            assert (low < high).any()


# Refusals


@pytest.mark.parametrize("seed", [0, 1])
def test_half_of_too_few_rows_is_refused_before_work_whichever_is_smaller(run, three, seed):
    """Of 13 rows of an arm, every other draw has 6."""
    rows = pd.read_parquet("data.parquet")
    most = rows[rows["w"] == 1].index[13:]
    rows.drop(index=most).to_parquet("data.parquet")
    three["evaluation"]["holdout"] = 0.0
    three["folds"] = {"n_folds": 7, "seed": seed}
    with pytest.raises(InputError, match=r"evaluation\.refits: on half of the rows: .* found 6"):
        run(three)
    three["evaluation"]["refits"] = 0
    run(three)


def test_halves_of_groups_are_checked_one_by_one(three):
    """Few groups have treated rows, and control rows too: chance says how many a half has."""
    rows, rng = pd.read_parquet("data.parquet"), np.random.default_rng(0)
    rows = pd.concat([rows[rows["w"] == 1][:24], rows[rows["w"] == 0]])
    rows["g"] = np.where(rows["w"] == 1, rng.integers(0, 14, 324), rng.integers(0, 60, 324))
    rows.to_parquet("data.parquet")
    three["data"] |= {"group": "g", "features": ["a", "b"]}
    three["evaluation"] |= {"holdout": 0.0, "refits": 40}
    three["folds"] = {"n_folds": 4}
    with pytest.raises(InputError, match=r"evaluation\.refits: on half of the rows"):
        load_study(parse_config(three))
    d = load_study(parse_config({**three, "evaluation": {"holdout": 0.0}})).dataset
    assert [fits_on(half_sample(d, draw)) for draw in (0, 1)] == [True, True]


def fits_on(half):
    """Whether a half has the rows for its folds."""
    try:
        half.splits(4)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("refits", [-1, 1, 2.5, 1001, True, "3"])
def test_a_number_of_refits_that_shows_no_spread_is_refused(run, three, refits):
    three["evaluation"]["refits"] = refits
    with pytest.raises(InputError, match=r"evaluation\.refits: "):
        run(three)


def test_a_refit_that_fails_costs_the_refits_alone(run, three, monkeypatch):
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "tests,lightgbm,sklearn")
    n = len(pd.read_parquet("data.parquet"))
    model = {"estimator": "tests.faulty.FitsOnManyRows", "params": {"least": int(0.5 * n)}}
    three |= {"learners": ["SLearner", "TLearner"]}
    three["models"]["SLearner"] = {"base_model": model}
    ran = run(three)

    (told,) = [line for line in ran.summary["warnings"] if "no refits" in line]
    assert "half-sample" in told
    assert "rows are too few" in told
    assert ran.summary["status"] == "done"
    assert "refits" not in ran.stages
    with pytest.raises(InputError, match="Expected a model with refits"):
        flows.load(ran.folder).score("data.parquet", intervals=0.9)


@pytest.mark.slow
@pytest.mark.parametrize("enabled", [True, False])
def test_a_refit_is_tried_again_and_counted_once(run, three, monkeypatch, tmp_path, enabled):
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "tests,lightgbm,sklearn")
    plain = run({**three, "learners": ["TLearner", "DRLearner"]}).stages["refits"]
    params = {"marker": str(tmp_path / "once"), "least": 300}
    once = {"estimator": "tests.faulty.FailsOnceOnFewRows", "params": params}
    three |= {"learners": ["TLearner", "DRLearner"], "cache": {"enabled": enabled}}
    three["models"]["DRLearner"] = {"treatment_model": once}
    refits = run(three).stages["refits"]

    assert (tmp_path / "once").exists()
    assert refits["planned"] == plain["planned"]
    assert refits["unique"] == plain["unique"] == refits["executed"] + refits["reused"]
    # The cache has the others from the run before, and those of the first try.
    assert refits["executed"] == (DRAWS if enabled else refits["unique"])
    assert (refits["retried"] == 1) if enabled else (refits["retried"] > 1)


def test_what_halves_read_is_freed_where_processes_fit(three):
    three |= {"parallelism": {"runner": "process", "workers": 2}, "learners": ["DRLearner"]}
    study = load_study(parse_config(three))
    with (
        workspace(study.config.cache) as place,
        place.working(as_asked(study.config.parallelism, 2)),
    ):
        refits = Refits(study, place)
        for draw in range(2):
            refits.fit(draw)
            inputs = place.workers.inputs
            assert not {*inputs._small, *inputs._files}
            assert not list(inputs.storage.folder.iterdir())


WRONG = {"1": "less than 1", "-0.5": "greater than or equal to 0", "nan": "nan"}


def test_intervals_that_cannot_be_given_are_refused(run, three):
    uplift = CliRunner().invoke
    three["evaluation"]["refits"] = 0
    plain = run(three)
    asked = ["score", "--input", "data.parquet", "--output", "s.parquet", "--intervals"]
    refused = uplift(app, [*asked, "0.9", "--model", str(plain.folder)])
    assert refused.exit_code == 2
    assert "Set evaluation.refits in the config" in " ".join(refused.output.split())
    for level, why in WRONG.items():
        refused = uplift(app, [*asked, level, "--model", str(plain.folder)])
        assert refused.exit_code == 2
        assert why in refused.output
    assert not Path("s.parquet").exists()


@pytest.mark.slow
def test_the_champion_s_refits_are_registered_with_it(run, three):
    three["registry"] = {"enabled": True}
    run({**three, "name": "shop"})
    asked = ["score", "--input", "data.parquet", "--model", "shop@champion", "--output"]
    outputs = {level: f"{level}.parquet" for level in ("0.5", "0.9", "0")}
    for level, output in outputs.items():
        said = CliRunner().invoke(app, [*asked, output, "--intervals", level])
        assert said.exit_code == 0, said.output
        CliRunner().invoke(app, [*asked, "again.parquet", "--intervals", level])  # it replaces
        assert Path("again.parquet").read_bytes() == Path(output).read_bytes()

    half, most, none = map(pd.read_parquet, outputs.values())
    widths = [np.ptp(ends(scores, "DRLearner"), axis=1) for scores in (half, most)]
    normal = 0.6744897502, 1.6448536270
    np.testing.assert_allclose(widths[1] / widths[0], normal[1] / normal[0])
    assert not [column for column in none if column.startswith(("low", "high"))]


@pytest.mark.slow
def test_a_bundle_is_read_without_refits_unless_asked(run, three):
    folder = run(three).folder / "model"
    refits = Bundle.load(folder, refits=True).refits
    assert Bundle.load(folder).refits == {}
    assert {name: len(own) for name, own in refits.items()} == dict.fromkeys(NAMES, DRAWS)
