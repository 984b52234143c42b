"""`data.time`: folds and hold-out in time, the library's results, and what has no estimates."""

import re
import sqlite3

import numpy as np
import pandas as pd
import pytest
import yaml

from flows.config.reading import parse_config
from flows.errors import InputError
from flows.fitting.regressions import ask_judging, expected
from flows.runs import loading
from metalearners.bundle import Bundle
from metalearners.data.folds import forward_chaining
from metalearners.fits.plan import plan_stage
from metalearners.fits.store import MemoryStore

FIVE = ["SLearner", "TLearner", "XLearner", "RLearner", "DRLearner"]
TWO_STAGES = {"XLearner", "RLearner", "DRLearner"}
N = 600
DAY = np.random.default_rng(5).permutation(np.arange(N) // 4)  # 150 days of 4 rows


@pytest.fixture
def load(settings, frame):
    """A study of the frame with days, with columns and keys changed."""

    def of(changes=None, order=slice(None), sections=None, **data):
        table = frame.assign(**{"day": DAY, "id": np.arange(N), **(changes or {})}).iloc[order]
        table.to_parquet("data.parquet")
        roles = {"features": list("abc"), "time": "day", "row_id": "id"}
        chosen = settings | {"data": {**settings["data"], **roles, **data}} | (sections or {})
        return loading.load(parse_config(chosen))

    return of


def blocks_of(study):
    """The block of each row by its id: -1 for held-out rows, 0 for those of no fold."""
    d = study.dataset
    block = np.where(d.train, 0, -1)
    for k, (_, test) in enumerate(d.cv, start=1):
        block[test] = k
    return pd.Series(block, study.row_ids).sort_index()


def rows_of(mask, n):
    return np.flatnonzero(np.unpackbits(mask, count=n))


# Who learns from whom


@pytest.mark.parametrize("design", ["auto", "randomised"])
@pytest.mark.parametrize("holdout", [0, 0.4])
@pytest.mark.parametrize("grouped", [False, True])
def test_every_planned_fit_predicts_rows_later_than_all_that_it_learns_from(
    load, holdout, design, grouped
):
    groups = {"g": DAY // 3 * 10 + np.arange(N) % 2}  # each has rows of three days
    sections = {"learners": FIVE, "evaluation": {"holdout": holdout, "bootstrap": 0}}
    sections["folds"] = {"n_folds": 3}
    data = {"group": "g"} if grouped else {}
    study = load(groups, sections=sections, design=design, **data)
    store = MemoryStore()

    plans = [plan_stage(asked, study.dataset, store) for asked in expected(study)]
    if holdout:
        plans.append(plan_stage(ask_judging(study), study.judging, store))

    units = [unit for plan in plans for unit in plan.units if unit.test is not None]
    assert len(units) >= 20
    for unit in units:
        learnt, predicted = rows_of(store.get(unit.train), N), store.get(unit.test)
        assert DAY[learnt].max() < DAY[predicted].min()
        if grouped:
            assert not set(groups["g"][learnt]) & set(groups["g"][predicted])
    assert study.dataset.predicted.sum() == sum(len(np.unique(t)) for _, t in study.dataset.cv) + (
        int((~study.dataset.train).sum())
    )


def test_blocks_have_about_equal_sizes_and_the_last_days_are_held_out(load):
    block = blocks_of(load())

    assert (DAY[block == -1].min(), (block == -1).sum()) == (DAY[block >= 0].max() + 1, 152)
    assert block[block >= 0].value_counts().between(72, 76).all()
    assert block.max() == 5


def test_order_of_rows_and_form_of_times_move_no_row(load):
    first, order = blocks_of(load()), np.random.default_rng(0).permutation(N)
    dates = pd.Timestamp("2024-02-15") + pd.to_timedelta(DAY, unit="D")
    forms = [
        DAY / 7,
        dates,
        dates.date,
        dates.tz_localize("Europe/Berlin") + pd.Timedelta(hours=5),
        pd.Categorical(DAY, categories=np.arange(150)[::-1]),
    ]

    pd.testing.assert_series_equal(blocks_of(load(order=order)), first)
    for form in forms:
        pd.testing.assert_series_equal(blocks_of(load({"day": form}, order)), first)


def test_texts_rows_of_a_query_and_partitions_are_ordered_by_their_times(load, settings, frame):
    first = blocks_of(load())
    dates = pd.Timestamp("2024-01-01") + pd.to_timedelta(DAY, unit="D")
    table = frame.assign(day=dates.strftime("%d.%m.%Y"), id=np.arange(N), month=dates.month)
    with sqlite3.connect("shop.sqlite") as connection:
        table.to_sql("shop", connection, index=False)
    connection.close()
    for month, part in table.groupby("month"):
        part.to_csv(f"2024-{month:02}.csv", index=False)
    read = {"time": "day", "read": {"dates": ["day"]}, "features": list("abc"), "row_id": "id"}
    query = {"source": None, "url": "sqlite:///shop.sqlite", "sql": "SELECT * FROM shop"}
    partitions = {"source": "{date:%Y-%m}.csv", "last": "5 months"}

    for data, more in ((query, {}), (partitions, {"date": "2024-05-15"})):
        chosen = {**settings, **more, "data": {**settings["data"], **read, **data}}
        pd.testing.assert_series_equal(blocks_of(loading.load(parse_config(chosen))), first)


@pytest.mark.parametrize(
    ("day", "n_folds", "enough"),
    [
        (DAY, 2, True),
        (DAY, 5, False),  # of 152 rows, some 13 of each arm in the first of 6 blocks
        (DAY // 12, 2, True),
        (DAY // 12, 5, False),  # fewer times than blocks
    ],
)
def test_a_hold_out_that_is_too_small_to_learn_from_is_judged_by_models_of_the_rows_before_it(
    load, day, n_folds, enough
):
    study = load({"day": day}, sections={"folds": {"n_folds": n_folds}})
    told = any("hold-out has too few rows or times" in one for one in study.warnings)

    assert (study.judging is not None, told) == (enough, not enough)
    if not enough:
        np.testing.assert_array_equal(study.judged, ~study.dataset.train)


# What is refused


EARLY = DAY < 20
RARE = np.flatnonzero(DAY == 3)[0]  # of the day's four rows
REFUSED = {
    "a missing time": ({"day": np.where(DAY == 3, np.nan, DAY)}, "day'; 4 of 600 have none"),
    "one time": ({"day": 7}, "data.time: expected 2 different times or more.*found 1"),
    "fewer times than blocks": ({"day": DAY // 30}, "more different times than folds; found 5 f"),
    "texts": ({"day": DAY.astype(str)}, "expected dates, times or numbers in 'day'; found string"),
    "true and false": ({"day": DAY > 70}, "numbers in 'day'; found boolean"),
    "an arm that begins late": (
        {"w": np.where(EARLY, 0, np.arange(N) % 2)},
        "data.time: expected 4 rows or more of each arm in the first of 6 blocks of time, as "
        "models learn from it alone; found 0 in arm 1. Use fewer folds",
    ),
    "an arm that pauses": (
        {"w": np.where((DAY > 15) & (DAY < 40), 0, np.arange(N) % 2)},
        "in the second of 6 blocks .* found 0 in arm 1",
    ),
    "an arm of three rows in the first block": (
        {"w": np.where(DAY < 24, np.isin(DAY, 3) & (np.arange(N) > RARE), np.arange(N) % 2)},
        "expected 4 rows or more .* in the first of 6 blocks .* found 3 in arm 1",
    ),
}


@pytest.mark.parametrize(("changes", "match"), REFUSED.values(), ids=REFUSED)
def test_times_that_make_no_folds_are_refused(load, changes, match):
    with pytest.raises(InputError, match=match) as caught:
        load(changes)
    assert "faults" not in str(caught.value)


def test_groups_that_span_all_blocks_are_refused(load):
    with pytest.raises(InputError, match=r"2 different times or more.*that one group spans count"):
        load({"g": np.arange(N) % 50}, group="g")


def test_a_class_that_begins_late_is_refused_by_its_name(load, settings):
    settings["models"]["outcome"]["estimator"] = "lightgbm.LGBMClassifier"
    bought = np.where(EARLY, 0, np.arange(N) // 2 % 2)
    with pytest.raises(InputError, match=r"each class in it, .* found 0 of class 1 in arm 0"):
        load({"y": bought}, outcome_type="binary")


def test_an_arm_without_two_rows_that_are_averaged_is_refused(load):
    treated = np.where(DAY < 50, np.arange(N) % 2, 0)
    second = np.flatnonzero((DAY >= 50) & (DAY < 100))[:1]
    treated[second] = 1
    without = {"evaluation": {"holdout": 0, "bootstrap": 0}}
    with pytest.raises(InputError, match=r"two rows .* after the first block of time.* found 1"):
        load({"w": treated}, sections=without | {"folds": {"n_folds": 2}})


# Results


def test_a_run_gives_the_librarys_results_on_the_same_folds(run, load, settings):
    """Nothing is imputed: rows that no fold predicts have no estimates, and are counted."""
    for model in settings["models"].values():
        model["params"]["n_jobs"] = 1
    sections = {"learners": FIVE, "evaluation": {"holdout": 0, "bootstrap": 0}}
    study = load(sections=sections)
    data = {**settings["data"], "features": list("abc"), "time": "day", "row_id": "id"}
    ran = run(settings | sections | {"data": data})

    d, cv = study.dataset, forward_chaining(DAY, 5)
    for name, learner in study.learners.items():
        with pytest.warns(UserWarning, match="^100 of 600 rows are in no test of cv"):
            made = type(learner)(**learner.init_args).fit(d.X, d.y, d.w, cv=cv)
        estimates = made.predict(d.X, False)[:, 0, 0]
        np.testing.assert_array_equal(ran.estimates[f"cate.{name}.1"], estimates)
        absent = 200 if name in TWO_STAGES else 100
        told = ran.summary["learners"][name]
        assert told["rows_without_estimate"] == np.isnan(estimates).sum() == absent
        assert told["mean_cate"][0]["value"] == pytest.approx(np.nanmean(estimates), rel=1e-12)
        if name == "DRLearner":
            with pytest.warns(UserWarning, match="^100 of 600 rows have no out-of-fold"):
                (effect,) = made.average_effects(d.X, d.y, d.w, False)
            ate = {key: value for key, value in ran.summary["ate"][0].items() if key != "arm"}
            assert ate == pytest.approx({key: getattr(effect.effect, key) for key in ate})
    assert ran.summary["data"]["rows_before_first_fold"] == 100
    assert any(
        "100 of 600 rows are in the first block of time" in w for w in ran.summary["warnings"]
    )
    text = re.sub(r"\s+", " ", (ran.folder / "report.html").read_text())
    assert "The 100 rows of the first block of day have no estimates" in text
    assert "Over the 500 rows after the first block of day" in text
    assert not re.search(r"\bnan\b", re.sub(r"<[^>]*>", " ", text))


def test_a_run_with_all_roles_judges_its_last_rows_by_what_came_before(run, settings, frame):
    """Three arms, weights, groups, strata and a binary outcome; then new rows are scored."""
    frame = pd.concat([frame] * 4, ignore_index=True)
    n = len(frame)
    rng = np.random.default_rng(2)
    day = rng.permutation(np.arange(n) // 8)
    frame = frame.assign(
        day=pd.Timestamp("2026-01-01") + pd.to_timedelta(day, unit="D"),
        household=day // 2 * 10 + rng.integers(0, 4, n),
        site=rng.choice(["north", "south"], n),
        size=rng.uniform(0.5, 2, n),
        w=rng.choice(["none", "call", "mail"], n),
        y=(frame["y"] + rng.normal(size=n) > 0).astype(int),
    )
    frame.to_csv("data.csv", index=False)
    settings["models"]["outcome"]["estimator"] = "lightgbm.LGBMClassifier"
    settings["learners"] = ["TLearner", "DRLearner"]
    settings["data"] |= {"source": "data.csv", "control": "none", "outcome_type": "binary"}
    settings["data"] |= {"time": "day", "group": "household", "weight": "size"}
    settings["data"] |= {"strata": "site", "design": "randomised", "features": list("abc")}
    ran = run(settings | {"folds": {"n_folds": 3}, "evaluation": {"holdout": 0.3, "bootstrap": 20}})

    held_out = ran.estimates["held_out"].to_numpy()
    assert held_out.mean() == pytest.approx(0.3, abs=0.01)
    assert day[held_out].min() > day[~held_out].max()
    judged = ran.summary["learners"]["DRLearner"]["evaluation"]
    assert judged["rows"] == pytest.approx(3 / 4 * held_out.sum(), abs=20)  # but its first block
    for arm in judged["arms"]:
        assert sum(group["rows"] for group in arm["groups"]) == judged["rows"]
        assert np.isfinite([arm["qini"]["estimate"], arm["qini"]["std_error"]]).all()
    assert np.isfinite(ran.estimates[held_out].filter(like="cate.").to_numpy()).all()
    absent = ran.estimates[~held_out].filter(like="cate.").isna()
    order = np.argsort(np.argsort(day[~held_out], kind="stable")) / (~held_out).sum()
    for learner, blocks in (("TLearner", 1), ("DRLearner", 2)):
        for arm in ("call", "mail"):
            gone, apart = absent[f"cate.{learner}.{arm}"].to_numpy(), order - blocks / 4
            sure = np.abs(apart) > 0.02  # blocks are of whole households
            np.testing.assert_array_equal(gone[sure], (apart < 0)[sure])
    scores = Bundle.load(ran.folder / "model").predict(frame[list("abc")], details=True)
    percentiles = scores.filter(like="percentile.")
    assert percentiles.shape[1] == 4
    assert percentiles.stack().between(0, 100).all()
    assert run(yaml.safe_load((ran.folder / "config.yaml").read_text())).fits["executed"] == 0
