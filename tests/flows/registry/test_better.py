"""The rule `better`: whose test it is, which rows are new, and what is promoted or replaced."""

import contextlib
import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from flows.config.parts.recurring import RegistryConfig
from flows.config.reading import parse_config
from flows.errors import InputError
from flows.inputs.study import load_study
from flows.launch.backfill import backfill
from flows.launch.display import model_shown
from flows.launch.models import told
from flows.messages.outcome import outcome_lines
from flows.registry.better import Better
from flows.registry.evidence import Evidence
from flows.registry.models import Models
from flows.runs.backfill import dates_between
from metalearners import TLearner
from metalearners.bundle import Bundle
from metalearners.cache.folder_storage import FolderStorage
from metalearners.data.schema import Schema
from tests.flows.registry.test_writers import FOUND

SOURCE = "{date:%Y-%m}.csv"
ROWS = 240
BETTER = {"rule": "better", "alpha": 0.05}
NEVER = 1e-40  # an alpha with which no challenger here is promoted, however far ahead it is


def months(n, first="2026-01"):
    return [str(month) for month in pd.period_range(first, periods=n, freq="M")]


def month_of_rows(month, rng, sign=1.0):
    """A coin draws the arms; the effect is a, or its opposite; b and `since` are noise."""
    rows = pd.DataFrame(rng.normal(size=(ROWS, 2)), columns=["a", "b"])
    rows["since"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(ROWS), unit="D")
    rows["w"] = rng.permutation(np.arange(ROWS) % 2)
    rows["y"] = 2 * sign * rows["a"] * rows["w"] + rng.normal(size=ROWS)
    return rows.assign(id=[f"{month}/{i}" for i in range(ROWS)])


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A shop's rows, a file a month, and what a config says of them."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for month in months(14):
        month_of_rows(month, rng).to_csv(f"{month}.csv", index=False)
    linear = {"estimator": "sklearn.linear_model.LinearRegression"}
    return {
        "name": "shop",
        "learners": ["TLearner"],
        "models": {"outcome": linear},
        "evaluation": {"holdout": 0.25, "bootstrap": 10},
        "data": {
            **{"source": SOURCE, "outcome": "y", "treatment": "w", "control": 0, "row_id": "id"},
            **{"features": ["a", "b", "since"], "read": {"dates": ["since"]}},
            **{"design": "randomised", "last": "2 months", "missing": "warn"},
        },
    }


@pytest.fixture
def models(tmp_path):
    """The models of a name in a new registry."""
    return Models(FolderStorage(tmp_path / "registry"), "shop")


def evidence(shop, month, **data):
    """The rows of a run, whose own models expect nothing of them."""
    config = parse_config({**shop, "date": f"{month}-15", "data": shop["data"] | data})
    study = load_study(config)
    return Evidence(study, np.zeros((len(study.y), 2)))


def model(effect, **names):
    """A bundle whose estimated effect is an expression of a and b."""
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"]).assign(since=np.arange(60.0))
    w = np.arange(60) % 2
    learner = TLearner(False, 2, LinearRegression, n_folds=2)
    learner.fit(X.rename(columns=names), X.eval(effect).to_numpy() * w, w)
    bundle = Bundle.of(learner, X.rename(columns=names))
    schema = Schema.of(X.rename(columns=names), dates=["since"])
    folder = Path("bundles") / f"{len(list(Path().glob('bundles/*')))}"
    Bundle(bundle.learners, bundle.arms, schema, bundle.about).save(folder)
    return folder


def register(models, shop, month, bundle, run=None, judge=None, alpha=0.05, **data):
    """Register a run's model as the run does at its end, and the event of that."""
    run, date = run or f"run-{month}", f"{month}-15T00:00:00+00:00"
    rows = evidence(shop, month, **data)
    until = rows.study.config.until
    found = {**FOUND, "data": FOUND["data"] | {"until": until and until.isoformat()}}
    rule = Better(models, run, date, alpha, rows)
    return models.register(run, date, bundle, found, judge or rule)


def test_a_better_challenger_is_promoted_by_new_rows_and_the_next_one_starts_anew(shop, models):
    one, two, three = (
        register(models, shop, month, model(effect))
        for month, effect in zip(months(3), ("-a", "a", "-a"), strict=True)
    )

    assert (one.decision, one.champion, one.challenger) == ("first", "run-2026-01", None)
    assert (two.decision, two.champion, two.challenger) == ("kept", one.champion, "run-2026-02")
    assert (two.look, two.difference) == (None, None)
    assert (three.decision, three.promoted) == ("promoted", "run-2026-02")
    assert (three.champion, three.challenger) == ("run-2026-02", "run-2026-03")
    assert three.earlier == ["run-2026-01"]
    assert three.look.look.rows == ROWS  # of the two months of the window, the one that is new
    assert 0 < three.difference.ci_low < three.difference.estimate < three.difference.ci_high
    assert three.difference.estimate == pytest.approx(2 * 0.8, abs=0.4)
    assert [contest.alpha for contest in three.contests] == pytest.approx([0.025, 0.05 / 6])

    four = register(models, shop, "2026-04", model("a"))  # a worse one goes
    assert (four.decision, four.promoted, four.challenger) == ("kept", None, "run-2026-04")
    assert four.difference.ci_high < 0
    assert "less than a standard error" in four.why
    assert four.contests[:2] == three.contests
    assert four.contests[2].alpha == pytest.approx(0.05 / 12)
    models.roll_back("by hand")
    assert models.history.last().champion == "run-2026-01"


def test_a_date_that_comes_again_takes_no_look_and_refits_don_t_end_the_test(shop, models):
    for month, effect in zip(months(4), ("b", "a - b", "a", "a"), strict=True):
        register(models, shop, month, model(effect), alpha=NEVER)
    again = register(models, shop, "2026-04", model("a"), run="again", alpha=NEVER)

    events = models.history.events()
    assert [event.challenger for event in events[1:]] == ["run-2026-02"] * 4
    assert [event.look and event.look.look.rows for event in events] == [
        *(None, None, ROWS, ROWS, None),
    ]
    assert again.why.startswith("No look was taken. No rows are new")
    assert (again.decision, again.alias_of("again")) == ("kept", None)
    late = register(models, shop, "2026-05", model("a"), last="5 months", alpha=0.01)
    assert late.look.look.rows == ROWS
    assert late.contests == again.contests
    errors = [event.difference.std_error for event in (*events[2:4], late)]
    assert errors == sorted(errors, reverse=True)


def test_people_may_change_the_champion_in_between(shop, models):
    for month, effect in zip(months(3), ("b", "a - b", "-b"), strict=True):
        before = register(models, shop, month, model(effect), alpha=1e-8)
    models.promote("run-2026-03", "by hand")
    other = register(models, shop, "2026-04", model("a"), alpha=1e-8)
    models.roll_back("by hand")
    again = register(models, shop, "2026-05", model("a"), alpha=1e-8)

    assert [c.champion for c in other.contests] == ["run-2026-01", "run-2026-03"]
    assert other.difference.estimate == other.look.look.difference.estimate > 0
    assert again.contests == other.contests
    assert again.look.look.rows == ROWS  # those of April are spent, beside another champion
    assert again.difference.std_error < before.difference.std_error


def test_a_policy_is_that_of_the_first_learner_and_of_the_same_arms(shop):
    rows = evidence(shop, "2026-01")
    every = np.ones(len(rows.study.y), bool)
    first, other = (Bundle.load(model(effect)) for effect in ("-a", "a"))
    learners = {"Z": first.learners["TLearner"], "A": other.learners["TLearner"]}
    Bundle(learners, first.arms, first.schema, first.about).save("two")

    arms = rows.arms_of(Bundle.load("two"), every)
    assert arms.tolist() == (rows.study.features["a"] < 0).astype(int).tolist()
    for wrong in ([1, 0], [0, 2], [0]):
        with pytest.raises(InputError, match="Expected a model of the arms"):
            rows.arms_of(replace(first, arms=wrong), every)


def test_too_few_rows_wait_for_more_and_none_counts_twice(shop, models):
    for month, effect in zip(months(4), ("a", "a + 0.05 * b", "b", "b"), strict=True):
        event = register(models, shop, month, model(effect), last="3 months")

    assert event.why.endswith("Wait for looks of more rows.")
    assert (event.decision, event.look.look.waits) == ("kept", True)
    assert event.look.look.rows == 2 * ROWS  # those of the look before again
    assert event.difference is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"design": "auto"}, "Not identified: no row's arm was drawn"),
        ({"design": "auto", "propensity": {1: "logged"}}, "Not identified: no row's arm was drawn"),
        ({}, "Expected arms as drawn with the logged probabilities"),
    ],
)
def test_rows_that_the_champion_treats_identify_nothing(shop, models, data, why):
    for month in months(4):
        rows = pd.read_csv(f"{month}.csv")
        treated = rows["a"] > 0.0
        treated[::20] = ~treated[::20]
        rows.assign(w=treated.astype(int), logged=np.where(treated, 0.99, 0.01)).to_csv(
            f"{month}.csv", index=False
        )
    for month, effect in zip(months(4), ("a", "-a", "b", "b"), strict=True):
        event = register(models, shop, month, model(effect), **data)

    assert (event.decision, event.champion, event.challenger) == ("kept", *run_names(2))
    assert event.why.startswith(why)
    assert event.difference is None
    if not data:
        assert "champion gives arm 0" in event.why


def test_rows_that_chance_treated_count_among_those_of_a_policy(shop, models):
    for month in months(3):
        rows = pd.read_csv(f"{month}.csv")
        drawn = np.arange(ROWS) % 2 == 0
        w = np.where(drawn, np.arange(ROWS) // 2 % 2, rows["a"] < 0)  # the first model's policy
        y = 4 * rows["a"] * w
        rows.assign(w=w.astype(int), y=y, drawn=drawn).to_csv(f"{month}.csv", index=False)
    for month, effect in zip(months(3), ("-a", "a", "a"), strict=True):
        event = register(models, shop, month, model(effect), design="auto", drawn="drawn")

    assert (event.decision, event.look.look.rows) == ("promoted", ROWS // 2)
    with pytest.raises(InputError, match=r"data.drawn: expected 0/1 or true/false in 'b'"):
        evidence(shop, "2026-01", design="auto", drawn="b", features=["a"])
    with pytest.raises(InputError, match="drawn: expected without known propensities"):
        evidence(shop, "2026-01", drawn="drawn")


@pytest.mark.parametrize("kept", [True, False])
def test_groups_that_come_again_with_their_arms_count_once(shop, models, kept):
    """Nothing of the registry names them: the source is asked for the groups of earlier months."""
    rng = np.random.default_rng(2)
    for month in months(3):
        rows = pd.read_csv(f"{month}.csv")
        again = rows.index < 100
        if kept:
            rows["w"] = np.where(again, rows.index % 2, rows["w"])
            rows["y"] = 2 * rows["a"] * rows["w"] + rng.normal(size=ROWS)
        rows["household"] = np.where(again, rows.index.astype(str), rows["id"])
        rows.to_csv(f"{month}.csv", index=False)
    rows.to_csv("2026-04.csv", index=False)
    grouped = {"group": "household", "last": None}
    for month, effect in zip(months(3), ("-a", "a", "a"), strict=True):
        event = register(models, shop, month, model(effect), **grouped)

    assert event.decision == "promoted"
    assert event.look.look.rows == (ROWS - 100 if kept else ROWS)
    assert event.why.endswith("keep their arms.") == kept
    if kept:
        assert "100 new rows don't count" in event.why
        last = register(models, shop, "2026-04", model("b"), **grouped)
        assert last.why.startswith("No look was taken. No rows are new: all groups came before")
        assert (last.decision, last.challenger) == ("kept", "run-2026-03")


def run_names(n):
    return [f"run-{month}" for month in months(n)]


def test_a_source_without_dates_has_no_new_rows(shop, models):
    for month in months(3):
        event = register(models, shop, month, model("a"), source="2026-0[12].csv", last=None)

    assert (event.decision, event.challenger) == ("kept", "run-2026-02")
    assert "No row is known to be new: expected a source that names dates" in event.why
    dated = register(models, shop, "2026-04", model("a"))
    assert dated.why.startswith("No row is known to be new to run-2026-02, as its own rows had no")
    assert dated.challenger == "run-2026-04"


def test_a_challenger_that_fails_is_replaced_and_a_champion_that_fails_stays(
    shop, models, tmp_path
):
    def damage(run):
        (tmp_path / "registry/shop/models" / run / "TLearner.pickle").write_bytes(b"damaged")

    register(models, shop, "2026-01", model("a"))
    register(models, shop, "2026-02", model("b", b="gone"))
    lost = register(models, shop, "2026-03", model("b"))
    assert "run-2026-02 can't be compared: Expected the features" in lost.why
    assert (lost.decision, lost.champion, lost.challenger) == ("kept", *run_names(3)[::2])
    damage("run-2026-03")
    damaged = register(models, shop, "2026-04", model("b"))
    assert "run-2026-03 can't be compared" in damaged.why
    assert (damaged.decision, damaged.challenger) == ("kept", "run-2026-04")
    assert [contest.alpha for contest in damaged.contests] == pytest.approx(
        [0.05 / (j * (j + 1)) for j in (1, 2, 3)]
    )
    damage("run-2026-01")
    stays = register(models, shop, "2026-05", model("b"))
    assert "run-2026-01 can't be compared" in stays.why
    assert (stays.champion, stays.challenger) == ("run-2026-01", "run-2026-04")
    assert (stays.decision, stays.look) == ("kept", None)

    models.promote("run-2026-04", "by hand")
    event = register(models, shop, "2026-06", model("b"))
    assert event.why == "There was no challenger."
    assert event.challenger == "run-2026-06"


def test_a_place_that_fails_for_a_moment_ends_no_test(shop, models, monkeypatch):
    for month, effect in zip(months(2), ("a", "b"), strict=True):
        register(models, shop, month, model(effect))

    @contextlib.contextmanager
    def away(run):
        raise OSError("the place is away")
        yield

    rows = evidence(shop, "2026-03")
    rule = Better(models, "run-2026-03", "2026-03-15T00:00:00+00:00", 0.05, rows)
    monkeypatch.setattr(models, "folder", away)
    verdict = rule(models.history.last())
    assert (verdict.decision, verdict.joins) == ("kept", False)
    assert verdict.why == "No look was taken. the place is away"


def test_a_challenger_has_four_months_and_alpha_is_that_of_a_year(shop, models):
    for month, effect in zip(months(14), ("b", "a - b", *["a"] * 12), strict=True):
        event = register(models, shop, month, model(effect), alpha=NEVER)

    events = models.history.events()
    assert [e.challenger for e in events[1:6]] == [*["run-2026-02"] * 4, "run-2026-06"]
    assert "has had its four months" in events[5].why
    assert sum(e.look is not None for e in events) == 12
    begun = {contest.challenger: contest.alpha / NEVER for contest in event.contests}
    assert list(begun) == ["run-2026-06", "run-2026-10", "run-2027-02"]
    assert [*begun.values()] == pytest.approx([1 / 6, 1 / 12, 1 / 12])  # the first is of another


def test_a_challenger_with_the_champion_s_policy_makes_room(shop, models):
    for month, effect in zip(months(3), ("a", "2 * a", "b"), strict=True):
        event = register(models, shop, month, model(effect))

    assert event.look.look.doubt == "Both policies give all rows the same arms."
    assert "nearly all rows the champion's arms" in event.why
    assert (event.decision, event.challenger) == ("kept", "run-2026-03")
    assert [contest.alpha for contest in event.contests] == [0.025]  # the one before spent nothing


def test_writers_of_one_date_take_one_look(shop, models, monkeypatch):
    monkeypatch.setattr(FolderStorage, "claim", lambda self, name: contextlib.nullcontext())
    for month, effect in zip(months(2), ("b", "a - b"), strict=True):
        register(models, shop, month, model(effect), alpha=NEVER)
    rows, asked = evidence(shop, "2026-03"), []

    def judge(last):
        verdict = Better(models, "slow", "2026-03-15T00:00:00+00:00", NEVER, rows)(last)
        if not asked:  # another process comes first
            register(models, shop, "2026-03", model("a"), run="quick", alpha=NEVER)
        asked.append(verdict.look)
        return verdict

    event = register(models, shop, "2026-03", model("a"), run="slow", judge=judge)
    assert [look is None for look in asked] == [False, True]
    assert (event.number, event.look, event.challenger) == (4, None, "run-2026-02")
    assert [e.look is not None for e in models.history.events()] == [False, False, True, False]


def test_rows_of_a_query_are_new_if_it_gives_them_for_new_days_alone(shop, models):
    with contextlib.closing(sqlite3.connect("shop.db")) as database:
        rows = pd.concat([pd.read_csv(f"{m}.csv").assign(day=f"{m}-10") for m in months(3)])
        rows.to_sql("visits", database, index=False)
        rows.assign(id=rows.index, since="").to_sql("known", database, index=False)
    days = "date(day) between :begin and :date"
    query = {"source": None, "url": "sqlite:///shop.db", "features": ["a", "b"], "read": {}}
    query |= {"sql": f"select id, a, b, w, y from visits where {days}", "last": "3 months"}
    march = pd.Timestamp("2026-03-01").to_pydatetime()

    found = evidence(shop, "2026-03", **query)
    new = found.since(march)
    assert found.study.row_ids[new].str[:7].unique().tolist() == ["2026-03"]
    assert (len(new), new.sum()) == (3 * ROWS, ROWS)
    for w, kept in (("w", False), ("substr(id, 9) % 2 w", True)):
        homes = query | {"sql": f"select id, a, b, {w}, y, substr(id, 9) home from visits where "
                         f"{days}", "group": "home"}  # fmt: skip
        found = evidence(shop, "2026-03", **homes)
        with (
            pytest.raises(InputError, match="all groups came") if kept else contextlib.nullcontext()
        ):
            assert found.independent(new, march, march).sum() == ROWS
    for month, effect in zip(months(3), ("-a", "a", "a"), strict=True):
        event = register(models, shop, month, model(effect, since="c"), **query)
    assert event.why  # the models have a feature that the query lacks
    sums = query | {"sql": f"select id, max(a) a, b, min(w) w, sum(y) y from known where {days} "
                    "group by id"}  # fmt: skip
    with pytest.raises(InputError, match="No row is known to be new: expected a query that gives"):
        evidence(shop, "2026-03", **sums).since(march)
    visits = query | {"sql": query["sql"].replace("select id", "select b > 0 id")}
    with pytest.raises(InputError, match="expected another id in each row"):
        evidence(shop, "2026-03", **visits).since(march)
    for less in (
        {"row_id": None},
        {"sql": query["sql"].replace("between :begin and", "<="), "last": None},
    ):
        with pytest.raises(InputError, match="No row is known to be new"):
            evidence(shop, "2026-03", **query | less).check_dated()


def test_a_wrong_rule_is_refused(shop):
    for wrong, said in [
        ("auto", "registry.promote: expected 'manual' or a map with rule, alpha; found 'auto'"),
        ({"rule": "best"}, "registry.promote.rule: expected 'better'; found 'best'"),
        ({"rule": "better", "alpha": 0.5}, "registry.promote.alpha: expected a number less than"),
        ({"rule": "better", "beta": 1}, "registry.promote.beta: unknown key"),
    ]:
        with pytest.raises(InputError, match=said):
            parse_config({**shop, "registry": {"promote": wrong}})
    assert RegistryConfig().promote == "manual"


@pytest.mark.slow
@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("drawn", [True, False])
def test_a_backfill_promotes_the_better_model_where_chance_drew_the_arms(shop, drawn, capsys):
    rng = np.random.default_rng(1)
    for month in months(4):
        rows = month_of_rows(month, rng, sign=-1.0 if month == "2026-01" else 1.0)
        if not drawn:  # the champion's choice, and some mistakes
            rows["w"] = ((rows["a"] < 0) ^ (np.arange(ROWS) % 20 == 0)).astype(int)
            rows["y"] = 2 * rows["a"] * rows["w"] + rng.normal(size=ROWS)
        rows.to_csv(f"{month}.csv", index=False)
    shop["data"] |= {"last": None, "design": "randomised" if drawn else "auto"}
    config = parse_config({**shop, "registry": {"promote": BETTER}})
    made = list(backfill(config, dates_between(config, "2026-01-01", "2026-04-01"), quiet=True))
    summaries = [json.loads((one.folder / "summary.json").read_text()) for one in made]
    runs = [summary["run_name"] for summary in summaries]
    found = [summary["model"] for summary in summaries]

    assert {model["problem"] for model in found} == {None}
    assert summaries[0]["data"]["until"] == "2026-02-01T00:00:00"
    shown = told("shop", config.registry.storage)
    if drawn:
        assert [model["decision"] for model in found] == ["first", "kept", "promoted", "kept"]
        assert [model["promoted"] for model in found] == [None, None, runs[1], None]
        assert [model["alias"] for model in found] == ["champion", *["challenger"] * 2, None]
        assert found[2]["difference"]["ci_low"] > 0
        assert (shown["champion"], shown["challenger"]) == (runs[1], runs[2])
        assert shown["history"][2]["look"]["look"]["rows"] == ROWS
        model_shown(shown)
        assert f"({found[2]['difference']['ci_low']:.3g} to " in capsys.readouterr().out
        said = f"  champion:  {runs[1]} of shop now: {runs[1]} is better than {runs[0]}."
        assert said in outcome_lines(summaries[2])
    else:
        assert [model["decision"] for model in found] == ["first", *["kept"] * 3]
        assert [model["promoted"] for model in found] == [None] * 4
        assert all(model["why"].startswith("Not identified") for model in found[2:])
        assert shown["champion"] == runs[0]
