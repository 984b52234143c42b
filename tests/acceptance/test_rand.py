"""The bundled experiment: the file, the main job's figures, and the other ready configs."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

from metalearners.evaluation.average_effects import difference_in_means
from tests.conftest import REPOSITORY

DATA = REPOSITORY / "data" / "rand_hie.parquet"
CONFIGS = REPOSITORY / "deployments" / "configs"
ARMS = ["25", "95", "deductible"]


@pytest.fixture
def ready(tmp_path, monkeypatch):
    """A ready config as settings, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)

    def load(name):
        settings = yaml.safe_load((CONFIGS / name).read_text())
        settings["data"]["source"] = str(DATA)
        return settings

    return load


def test_file_is_what_its_script_makes(tmp_path):
    script = tmp_path / "make_rand_hie.py"
    script.write_text((REPOSITORY / "data" / "make_rand_hie.py").read_text())
    subprocess.run([sys.executable, str(script)], check=True, capture_output=True)

    made, bundled = pd.read_parquet(tmp_path / "rand_hie.parquet"), pd.read_parquet(DATA)
    pd.testing.assert_frame_equal(made, bundled, check_exact=True)


def test_differences_of_means_and_their_errors_are_the_known_ones():
    data = pd.read_parquet(DATA)
    labels = ["free", "25", "50", "95", "deductible"]
    codes = data["plan"].map(labels.index).to_numpy()
    y, family = data["mdvis"].to_numpy(float), data["family"].to_numpy()
    known = {"25": -0.77, "50": -0.99, "95": -1.28, "deductible": -1.14}

    for arm, difference in known.items():
        found = difference_in_means(y, codes, labels.index(arm), groups=family)
        assert found.estimate == pytest.approx(difference, abs=0.006)
    of_25 = difference_in_means(y, codes, 1, groups=family).std_error
    by_person = difference_in_means(y, codes, 1, groups=data["person"].to_numpy()).std_error
    alone = difference_in_means(y, codes, 1).std_error
    assert (of_25, by_person, alone) == pytest.approx((0.184, 0.150, 0.093), abs=0.001)


def test_main_job_finds_fewer_visits_under_cost_sharing(run, ready):
    ran = run(ready("rand_hie.yaml"))

    raw = {row["arm"]: row for row in ran.summary["difference_in_means"]}
    assert [row["arm"] for row in ran.summary["ate"]] == ARMS
    for row in ran.summary["ate"]:
        assert row["ci_low"] < row["estimate"] < row["ci_high"] < 0
        other = raw[row["arm"]]
        assert row["ci_low"] < other["ci_high"]
        assert other["ci_low"] < row["ci_high"]
    assert all(row["ci_high"] < 0 for row in ran.summary["ate_joint"])
    assert ran.summary["data"]["rows"] == 18_789
    assert ran.summary["data"]["rows_left_out"] == {"50": 1_401}
    assert len(ran.estimates) == 20_190
    families = pd.read_parquet(DATA)["family"]
    taking_part = ran.estimates[pd.read_parquet(DATA)["plan"] != "50"]
    held_out = taking_part["held_out"].groupby(families).nunique()
    assert (held_out == 1).all()
    assert taking_part["held_out"].mean() == pytest.approx(0.2, abs=0.01)
    evaluation = ran.summary["learners"]["DRLearner"]["evaluation"]
    assert evaluation["rows"] == taking_part["held_out"].sum()


def test_any_cost_sharing_with_five_learners(run, ready):
    settings = ready("rand_hie_binary.yaml")
    settings["evaluation"]["holdout"] = 0
    settings["data"] |= {"design": "auto", "strata": None}  # with a propensity model to share
    ran = run(settings)

    assert ran.fits["unique"] <= 60
    assert ran.fits["planned"] >= 80
    (row,) = ran.summary["ate"]
    assert row["ci_high"] < 0
    for learner in ran.summary["learners"].values():
        assert learner["mean_cate"][0]["value"] == pytest.approx(row["estimate"], abs=0.3)


def test_hillstrom_config_runs_on_data_of_its_form(run, ready, tmp_path):
    rng = np.random.default_rng(0)
    n = 3000
    arm = rng.choice(["No E-Mail", "Mens E-Mail", "Womens E-Mail"], n)
    made = pd.DataFrame(
        {
            "recency": rng.integers(1, 13, n),
            "history_segment": rng.choice(["1) $0 - $100", "2) $100 - $200"], n),
            "history": rng.gamma(2, 100, n).round(2),
            "mens": rng.integers(0, 2, n),
            "womens": rng.integers(0, 2, n),
            "zip_code": rng.choice(["Urban", "Rural"], n),
            "newbie": rng.integers(0, 2, n),
            "channel": rng.choice(["Web", "Phone"], n),
            "segment": arm,
            "visit": rng.binomial(1, np.where(arm == "No E-Mail", 0.1, 0.3)),
        }
    )
    made.to_csv(tmp_path / "hillstrom.csv", index=False)
    settings = ready("hillstrom.yaml")
    settings["data"]["source"] = str(tmp_path / "hillstrom.csv")
    ran = run(settings)

    for row in ran.summary["ate"]:
        assert row["estimate"] == pytest.approx(0.2, abs=4 * row["std_error"])
