"""Whom to treat with what: the column, the summary and the rule of new rows agree."""

import numpy as np
import pandas as pd
import pytest

from flows.config.reading import load_config, parse_config
from flows.errors import InputError
from flows.inputs.study import load_study
from flows.scoring import score_rows
from metalearners.evaluation import TargetingRule

COST = {"one": 0.2, "two": "fee"}


@pytest.fixture
def targets(settings, frame):
    """Settings of three arms, one of whose costs is a column, and a rule."""
    rng = np.random.default_rng(7)
    frame["w"] = rng.permutation(np.arange(len(frame)) % 3)
    frame["y"] += np.where(frame["w"] == 2, 1.5 - frame["a"], 0)
    frame["w"] = np.array(["none", "one", "two"])[frame["w"]]
    frame["fee"] = rng.uniform(0.2, 0.8, len(frame))
    frame.to_parquet("data.parquet")
    settings["data"] |= {"control": "none", "features": None}

    def of(changes=None, **targeting):
        return {**settings, **(changes or {}), "targeting": {"cost": COST, **targeting}}

    return of


def assigned(estimates, fee, summary, value=1.0):
    """The arms that the summary's rule gives."""
    learner = summary["targeting"]["learner"]
    effects = estimates[[f"cate.{learner}.{arm}" for arm in ("one", "two")]].to_numpy()
    costs = np.column_stack([np.full(len(fee), 0.2), fee])
    codes = TargetingRule(summary["targeting"]["cut_off"], value).assign(effects, costs)
    return np.array(["none", "one", "two"])[codes], costs, codes


def test_a_run_says_whom_to_treat_with_what_and_new_rows_get_it_by_the_same_rule(
    run, targets, frame
):
    done = run(targets(budget=0.2, value=2.0))
    found, estimates = done.summary["targeting"], done.estimates
    names, costs, codes = assigned(estimates, frame["fee"], done.summary, 2.0)

    assert list(estimates.columns)[-1] == "treat"
    assert estimates["treat"].tolist() == names.tolist()
    assert "fee" not in done.summary["data"]["features"]
    counts = estimates["treat"].value_counts()
    assert found["rows_by_arm"] == {name: counts.get(name, 0) for name in ("none", "one", "two")}
    spent = np.column_stack([np.zeros(len(costs)), costs])[np.arange(len(costs)), codes]
    assert found["mean_cost"] == pytest.approx(spent.mean())
    held_out = estimates["held_out"].to_numpy()
    # The cut-off is that of the held-out rows.
    assert 0.15 < spent[held_out].mean() <= 0.2
    chosen, curve = found["chosen"], found["curve"]
    assert chosen["spend"] == pytest.approx(0.2)
    assert sum(chosen["shares"].values()) == pytest.approx(1)
    by_spend = np.interp(0.2, [p["spend"] for p in curve], [p["gain"]["estimate"] for p in curve])
    assert chosen["gain"]["estimate"] == pytest.approx(by_spend, abs=0.05)
    ate = {one["arm"]: one["estimate"] for one in done.summary["ate"]}
    for arm, one in found["treat_all"].items():
        assert abs(one["estimate"] - 2 * ate[arm]) < 3 * one["std_error"]
    assert found["best_single_arm"]["spend"] == pytest.approx(0.2)
    apart = chosen["gain"]["estimate"] - found["random"]["estimate"]
    assert found["over_random"]["estimate"] == pytest.approx(apart)
    assert found["tree"]["text"]
    assert found["highest"]["joint_low"] < found["highest"]["gain"]["estimate"]

    scores = score_rows(done.folder / "model", frame)
    assert scores["treat"][held_out].tolist() == names[held_out].tolist()
    again = score_rows(done.folder / "model", frame.assign(fee=100.0))
    assert not (again["treat"] == "two").any()
    with pytest.raises(InputError, match=r"Expected the cost columns \['fee'\] in .*Add them"):
        score_rows(done.folder / "model", frame.drop(columns="fee"))
    gaps = frame.assign(fee=frame["fee"].where(np.arange(len(frame)) > 3))
    with pytest.raises(InputError, match=r"found 4 missing and 0 infinite.*Give each row a cost"):
        score_rows(done.folder / "model", gaps)
    stored = load_config(done.folder / "config.yaml").targets
    assert stored is not None
    assert stored.cost == COST


@pytest.mark.slow
def test_what_pays_is_treated_without_a_budget_and_no_rows_judge_without_a_holdout(run, targets):
    done = run(targets({"evaluation": {"holdout": 0.0}}))
    found = done.summary["targeting"]

    assert found["cut_off"] == 1
    assert found["absent"].startswith("no rows are held out")
    assert "chosen" not in found
    fee = pd.read_parquet("data.parquet")["fee"]
    assert (
        done.estimates["treat"].tolist() == assigned(done.estimates, fee, done.summary)[0].tolist()
    )


@pytest.mark.slow
def test_one_of_several_outcomes_is_targeted(run, targets, frame):
    frame["big"] = 10 * frame["y"]
    frame.to_parquet("data.parquet")
    settings = targets({"learners": ["TLearner", "DRLearner"]}, outcome="big", learner="TLearner")
    settings["data"] |= {"outcome": ["y", "big"], "features": list("abc")}
    done = run(settings)
    alone = run({**settings, "data": settings["data"] | {"outcome": "big"}})

    assert done.estimates["treat"].tolist() == alone.estimates["treat"].tolist()
    assert done.summary["targeting"] == alone.summary["targeting"]
    assert done.summary["targeting"]["outcome"] == "big"
    told = {one["question"]: one for one in done.summary["verdict"]}
    decided = {one["question"]: one for one in alone.summary["verdict"]}
    assert told["target"]["sentence"] == f"For big: {decided['target']['sentence']}"
    assert decided["heterogeneity"]["sentence"] in told["target"]["detail"]
    lights = [one["sentence"].removeprefix("For big: ") for one in done.summary["health"]]
    assert {one["sentence"] for one in alone.summary["health"]} <= set(lights)
    assert len(lights) == len({str(one) for one in done.summary["health"]})
    held_out = done.estimates["held_out"]
    scores = score_rows(done.folder / "model", frame)
    assert scores["treat"][held_out].tolist() == done.estimates["treat"][held_out].tolist()
    repeated = run(load_config(done.folder / "config.yaml").model_dump())
    assert repeated.summary["targeting"] == done.summary["targeting"]


@pytest.mark.slow
def test_the_chosen_candidate_decides_and_the_rows_that_chose_it_do_not_judge(api, targets):
    from flows import uplift_compare
    from flows.launch.start import parameters
    from tests.conftest import Ran

    settings = targets({"learners": ["TLearner", "DRLearner"]})
    settings["evaluation"] = {"holdout": 0.4, "sequential": False}
    config = parse_config({**settings, "compare": {"candidates": {}}})
    from pathlib import Path

    done = Ran(Path(uplift_compare(**parameters(config))))

    assert done.summary["targeting"]["learner"] == done.summary["comparison"]["chosen"]
    rows = done.summary["comparison"]["rows"]
    assert done.summary["targeting"]["rows"] == rows["judge"]


@pytest.mark.slow
def test_rows_that_tie_at_the_cut_off_are_left_and_a_reader_is_told(run, targets):
    constant = {"estimator": "sklearn.dummy.DummyRegressor"}
    models = {"outcome": constant, "treatment": constant}
    asked = {"budget": 0.05, "cost": {"one": 1, "two": 1.0}}
    done = run(targets({"models": models, "learners": ["TLearner"]}, **asked))

    held_out = done.estimates["held_out"]
    assert set(done.estimates["treat"][held_out]) == {"none"}
    assert any("draw among them by lot" in line for line in done.summary["caveats"])


@pytest.mark.parametrize(
    ("targeting", "message"),
    [
        ({"cost": {"three": 1.0}}, r"targeting\.cost: expected a label among 'none', 'one', 'two'"),
        ({"cost": {"none": 1.0}}, r"targeting\.cost: .* found the control, 'none'. Leave it out"),
        ({"cost": {"one": "fe"}}, r"targeting\.cost: .*'fe' is none. Did you mean 'fee'"),
        ({"cost": {"one": "word"}}, r"targeting\.cost: expected numbers in 'word'; found string"),
        ({"cost": {"one": "gaps"}}, r"targeting\.cost: .* found 1 missing .* Give each row a cost"),
        ({"cost": {"one": "y"}}, r"targeting: cost: .* found the outcome, 'y'"),
        ({"learner": "XLearner"}, r"targeting: learner: expected one of .*; found 'XLearner'"),
        ({"outcome": "z"}, r"targeting: outcome: expected one of 'y'; found 'z'"),
        ({"budget": -1}, r"targeting\.budget: expected .* 0"),
        ({"value": "high"}, r"targeting\.value: expected a number"),
        ({"budgets": 1}, r"targeting\.budgets: unknown key"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_fitted(targets, frame, targeting, message):
    frame["word"], frame["gaps"] = "much", frame["fee"].where(np.arange(len(frame)) > 0)
    frame.to_parquet("data.parquet")
    with pytest.raises(InputError, match=message):
        load_study(parse_config({**targets(), "targeting": targeting}))


def test_a_cost_is_a_feature_only_where_it_is_listed_and_none_changes_nothing(targets):
    def features(settings):
        return load_study(parse_config(settings)).schema.names

    assert "fee" not in features(targets())
    assert "fee" in features({**targets(), "targeting": None})
    settings = targets()
    settings["data"] |= {"features": ["a", "fee"]}
    assert features(settings) == ["a", "fee"]
