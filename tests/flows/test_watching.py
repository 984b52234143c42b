"""What changed since the last run of a name: each planted change is told, and nothing else."""

import itertools
import json
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows.config.reading import parse_config
from flows.errors import InputError
from flows.inputs.study import load_study
from flows.launch.backfill import backfill
from flows.watching.changes import changes_between, watch
from flows.watching.profile import FILE, Profile, read_profile
from metalearners.bundle import Bundle
from tests.conftest import begin_draws, small_settings

RNG = np.random.default_rng(0)


def shop(n=4000):
    """Rows of a month; each call draws others."""
    w = RNG.permutation(np.arange(n) % 2)
    age = RNG.normal(40, 9, n)
    return pd.DataFrame(
        {
            "age": np.where(RNG.random(n) < 0.1, np.nan, age),
            "city": RNG.choice(["Aix", "Bonn", "Cork"], n, p=[0.6, 0.3, 0.1]),
            "spent": RNG.gamma(2, 20, n),
            "w": w,
            "y": age / 10 + w + RNG.normal(size=n),
        }
    )


def study_of(frame, data=None, **watched):
    config = small_settings() | {"watch": watched}
    config["data"] |= {"source": "a data frame in memory"} | (data or {})
    return load_study(parse_config(config), frame=frame)


def finished(profile, name="before", **summary):
    """Summary of an earlier run with a profile, in the working folder's folder of runs."""
    folder = Path("runs") / name
    folder.mkdir(parents=True)
    (folder / FILE).write_text(profile.model_dump_json())
    date = {"started": "2026-01-01T00:00:00+00:00", "logical_date": "2026-01-01T00:00:00+00:00"}
    return {"run_name": name, **date, **summary}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


PLANTED = {
    "nothing": (lambda rows: rows, []),
    "a column": (lambda rows: rows.drop(columns="spent"), [("column", "spent")]),
    "another": (lambda rows: rows.assign(new=1.0 * rows.index), [("column", "new")]),
    "a type": (lambda rows: rows.assign(spent=rows["spent"].round().astype(str) + " EUR"), None),
    "a level": (lambda rows: rows.assign(city=rows["city"].replace("Cork", "Dijon")), None),
    "gaps": (lambda rows: rows.assign(age=rows["age"].where(rows.index % 4 > 0)), None),
    "treated": (lambda rows: rows[(rows["w"] == 1) | (rows.index % 3 > 0)], None),
    "rows": (lambda rows: rows[:1500], [("rows", None)]),
}
EXPECTED = {
    "a type": [("type", "spent")],
    "a level": [("category", "city")],
    "gaps": [("missing", "age")],
    "treated": [("treatment", "0"), ("treatment", "1")],
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_was_planted_is_told_and_nothing_else(planted):
    change, expected = PLANTED[planted]
    before = Profile.of(study_of(shop()))
    kept = Profile.model_validate_json(json.dumps(before.model_dump(mode="json")))
    after = Profile.of(study_of(change(shop())))

    assert kept.model_dump(mode="json") == before.model_dump(mode="json")
    found = [(one.kind, one.column) for one in changes_between(kept, after)]
    assert found == (EXPECTED[planted] if expected is None else expected)


def test_a_policy_refuses_warns_or_goes_on():
    past = [finished(Profile.of(study_of(shop())))]
    lost = shop().drop(columns="spent")

    with pytest.raises(InputError, match="found changes: column 'spent': number before, none now"):
        watch(study_of(lost, on_schema_change="refuse"), past)
    warned = watch(study_of(lost), past)
    assert warned.warnings == ["Changed since before: column 'spent': number before, none now."]
    ignored = watch(study_of(lost, on_schema_change="ignore"), past)
    assert ignored.warnings == []
    assert [change["status"] for change in ignored.summary()["changes"]] == ["noted"]
    assert watch(study_of(lost), []).summary()["since"] is None


def test_a_shift_drifts_and_the_threshold_decides():
    past = [finished(Profile.of(study_of(shop())))]
    moved = shop().assign(spent=lambda rows: 1.5 * rows["spent"])

    found = {one.column: one.status for one in watch(study_of(moved), past).drifts}
    assert found == {"age": "stable", "city": "stable", "spent": "drift"}
    calm = watch(study_of(moved, drift=5), past)
    assert {one.status for one in calm.drifts} == {"stable"}


def test_a_rare_level_that_the_last_run_missed_may_be_chance_and_a_frequent_one_isnt():
    before = Profile.of(study_of(shop()))

    def chance(rows):
        found = shop()
        found.loc[found.index[:rows], "city"] = "Dijon"
        (change,) = changes_between(before, Profile.of(study_of(found)))
        return change.p_value

    # 4 levels of 3 features, any of which might have had them by chance
    assert chance(2) == 1
    assert chance(20) == pytest.approx(0.5**20 * 12, rel=0.01)


def test_arms_are_compared_with_the_design_or_with_the_last_run_that_looked_drawn():
    def arms(frame, past=(), **data):
        return watch(study_of(frame, data), past).arms

    assert arms(shop()) is None  # nothing says what was drawn
    broken = shop()[lambda rows: (rows["w"] == 1) | (rows.index % 4 > 0)]
    half = arms(broken, propensity=0.5)
    assert (half.by, half.expected) == ("data.propensity", {"0": 0.5, "1": 0.5})
    assert half.p_value < 1e-3 < arms(shop(), propensity=0.5).p_value

    drawn = {"design": "randomised"}
    kept = finished(Profile.of(study_of(shop(), drawn)))
    off = finished(Profile.of(study_of(broken, drawn)), "off", events=[{"event": "sample-ratio"}])
    assert arms(broken, **drawn) is None  # nor does a first run
    assert arms(broken, [kept], **drawn).p_value < 1e-3
    for frame, low in ((shop(), False), (broken, True)):
        again = arms(frame, [off, kept], **drawn)
        assert again.by == "before"
        assert (again.p_value < 1e-3) == low
    weighted = shop().assign(weight=1.0)
    assert arms(weighted, [kept], **drawn, weight="weight") is None


def test_another_file_in_place_of_a_profile_is_refused(tmp_path):
    assert read_profile(tmp_path) is None
    (tmp_path / FILE).write_text("[]")
    with pytest.raises(InputError, match="found another file"):
        read_profile(tmp_path)


@pytest.mark.slow
def test_a_run_is_compared_with_the_last_of_its_name(run, settings, frame):
    settings |= {"name": "shop", "learners": ["SLearner"]}
    first = run({**settings, "date": "2026-01-01"})
    assert first.summary["since"] is None
    frame.drop(columns="c").to_parquet("data.parquet")
    second = run({**settings, "date": "2026-02-01"})

    assert second.summary["since"] == first.folder.name
    assert [(c["kind"], c["column"]) for c in second.summary["changes"]] == [("column", "c")]
    assert any("column 'c'" in line for line in second.summary["warnings"])
    assert Path(second.folder / FILE).is_file()
    with pytest.raises(Exception, match="on_schema_change: expected the columns"):
        run({**settings, "date": "2026-01-15", "watch": {"on_schema_change": "refuse"}})


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A study with its fitted learner, and a run's folder with its model and its profile."""
    begin_draws(RNG, "fitted")
    study = study_of(shop(20_000))
    d, learner = study.dataset, study.learners["DRLearner"]
    train = ~d.held_out
    learner.fit(d.X[train], d.y[train], d.w[train])
    effects = np.full(len(d), np.nan)
    effects[d.held_out] = learner.predict(d.X[d.held_out], is_oos=True)[:, 0, -1]
    profile = Profile.of(study).with_effects(study, pd.DataFrame({"cate.DRLearner.1": effects}))
    folder = tmp_path_factory.mktemp("model")
    Bundle({"DRLearner": learner}, study.arms, study.schema, {}).save(folder)
    return study, profile, folder


def last_run(fitted, **summary):
    """Summary of a run in whose folder is the fitted model."""
    past = finished(fitted[1], f"run-{next(NUMBERS)}", **summary)
    shutil.copytree(fitted[2], Path("runs") / past["run_name"] / "model")
    return past


def effects_of(frame, fitted, **summary):
    """Drift of the effects for rows, as the next run finds it."""
    found = watch(study_of(frame), [last_run(fitted, **summary)]).summary()["drift"]
    return found["effects"], found["effects_absent"]


NUMBERS = itertools.count()


def test_effects_drift_where_the_rows_that_a_model_treats_otherwise_become_more(fitted):
    """The effect doesn't depend on anything; what the model takes it to depend on, moves."""
    (calm,), _ = effects_of(shop(6000), fitted)
    assert (calm["learner"], calm["arm"], calm["status"]) == ("DRLearner", 1, "stable")
    assert calm["p_value"] > 1e-3

    everyone = shop(6000).assign(age=25.0, city="Cork", spent=5.0)
    (moved,), _ = effects_of(everyone, fitted)
    assert (moved["status"], moved["psi"] > 1) == ("drift", True)


def test_effects_that_cant_be_compared_say_why(fitted):
    same, _, _ = fitted
    _, absent = effects_of(shop(), fitted, data={"digest": study_of(shop(4000)).digest})
    assert absent == ""
    rows = shop()
    _, absent = effects_of(rows, fitted, data={"digest": study_of(rows).digest})
    assert "has the rows of this run" in absent
    _, absent = effects_of(rows.drop(columns="age"), fitted)
    assert "can't estimate these rows: Expected the features" in absent
    past = finished(fitted[1], "no-model")
    assert "the model of no-model can't" in watch(study_of(rows), [past]).effects_absent
    none = finished(Profile.of(same), "no-hold-out")
    assert "no estimates of held-out rows" in watch(study_of(rows), [none]).effects_absent


def outcomes_of(frame):
    """What was expected of rows by those who know the shop."""
    alone = frame["age"].fillna(40).to_numpy() / 10
    return np.column_stack([alone, alone + 1])


def test_predictions_stand_beside_average_effects_where_chance_drew_the_arms(fitted):
    past = last_run(fitted)

    def realised(frame, **data):
        study = study_of(frame, data)
        return watch(study, [past]).realised(study, outcomes_of(frame))

    frame = shop(6000)
    found = realised(frame, propensity=0.5)
    (row,) = found["effects"]
    assert (row["learner"], row["arm"], found["absent"]) == ("DRLearner", 1, "")
    for name in ("predicted", "actual"):
        assert row[name]["estimate"] == pytest.approx(1, abs=0.2)  # the true effect
        assert row[name]["ci_low"] < row[name]["estimate"] < row[name]["ci_high"]
    apart = row["actual"]["estimate"] - row["predicted"]["estimate"]
    assert row["difference"]["estimate"] == pytest.approx(apart)
    assert row["p_value"] > 1e-3
    (ended,) = realised(frame.assign(y=frame["y"] - 0.5 * frame["w"]), propensity=0.5)["effects"]
    assert ended["p_value"] < 1e-3
    assert "not identified" in realised(frame)["absent"]


def test_rows_that_chance_treated_alone_say_what_was_realised(fitted):
    past, frame = last_run(fitted), shop(6000)
    coin = np.arange(6000) % 2 == 0
    chosen = np.where(coin, frame["w"], frame["age"] > 45)  # who buys more is treated
    frame = frame.assign(y=frame["y"] + chosen - frame["w"], w=chosen.astype(int), coin=coin)
    study = study_of(frame, {"drawn": "coin"})
    found = watch(study, [past]).realised(study, outcomes_of(frame) * 0)

    (row,) = found["effects"]
    raw = frame[coin].groupby("w")["y"].mean()
    assert row["actual"]["estimate"] == pytest.approx(raw[1] - raw[0])
    assert row["p_value"] > 1e-3


@pytest.mark.parametrize(("last", "shared"), [("1 month", 0), ("2 months", 500)])
def test_of_windows_that_overlap_only_new_rows_are_compared(fitted, last, shared):
    months = {"source": "{date:%Y-%m}.csv", "last": last}
    for month in ("2026-01", "2026-02"):
        shop(500).to_csv(f"{month}.csv", index=False)
    config = small_settings() | {"date": "2026-02-15"}
    config["data"] |= months
    study = load_study(parse_config(config))
    january = last_run(
        fitted, logical_date="2026-01-31T00:00:00+00:00", data={"until": "2026-02-01T00:00:00"}
    )

    watched = watch(study, [january])
    assert watched.new.sum() == len(study.y) - shared == 500
    np.testing.assert_array_equal(watched.effects[0].rows, watched.new.nonzero()[0])
    assert watched.new[shared:].all()  # the last month's
    old = last_run(fitted, logical_date="2025-12-31T00:00:00+00:00")
    assert watch(study, [old]).new.all()
    unknown = last_run(fitted, logical_date="2026-01-31T00:00:00+00:00")
    assert watch(study, [unknown]).new.any() == (not shared)


def shop_in(month):
    """A month of an experiment in which things happen."""
    rng = np.random.default_rng(month)
    n = 2000
    age, w = rng.normal(size=n), rng.permutation(np.arange(n) % 2)
    effect = (2 + 2 * age) * (month < 7)  # it ends
    rows = pd.DataFrame(
        {
            "age": 40 + 10 * age + 10 * (month >= 4),  # other customers come, and stay
            "city": rng.choice(["Aix", "Bonn"], n),
            "spent": rng.gamma(2, 20, n),
            "w": w,
            "y": w * effect + rng.normal(size=n),
        }
    )
    if month == 8:  # rows of one arm are lost
        rows = rows[(w == 1) | (rng.random(n) < 0.7)]
    return rows.drop(columns="spent") if month >= 10 else rows


@pytest.mark.slow
@pytest.mark.usefixtures("api")
def test_a_year_tells_each_thing_that_happens_once_and_nothing_else():
    months = [f"2026-{month:02}" for month in range(1, 13)]
    for number, month in enumerate(months, start=1):
        shop_in(number).to_csv(f"{month}.csv", index=False)
    settings = small_settings() | {"name": "shop"}
    settings["data"] |= {"source": "{date:%Y-%m}.csv", "design": "randomised"}
    settings["evaluation"] = {"holdout": 0.4, "bootstrap": 50}
    for role in settings["models"].values():
        role["params"] = {"n_estimators": 20, "num_leaves": 6}
    dates = [f"{month}-01" for month in months]
    made = list(backfill(parse_config(settings), dates, quiet=True))
    summaries = [json.loads((one.folder / "summary.json").read_text()) for one in made]

    found = {k: [one["event"] for one in run["events"]] for k, run in enumerate(summaries, 1)}
    assert {month: told for month, told in found.items() if told} == {
        4: ["drift"],
        7: ["no-effect", "calibration-lost"],
        8: ["sample-ratio"],
        10: ["schema-change"],
    }
    page = (made[-1].folder / "history.html").read_text()
    for run in summaries:
        for event in run["events"]:
            assert f"<strong>{event['event']}</strong>" in page
            report = unescape((Path(run["folder"]) / "report.html").read_text())
            assert event["sentence"] in report
    drifted = [run["drift"]["effects"][0]["status"] for run in summaries[1:9]]
    assert drifted == ["stable", "stable", "drift", *["stable"] * 5]
    assert "not found: ['spent']" in summaries[9]["drift"]["effects_absent"]
    ended = summaries[6]["realised"]["effects"][0]
    assert ended["predicted"]["estimate"] == pytest.approx(2, abs=0.3)
    assert ended["actual"]["estimate"] == pytest.approx(0, abs=0.3)
    assert ended["p_value"] < 1e-3
