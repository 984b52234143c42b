"""Comparisons: learners and candidates, judged on rows that neither they nor the choice saw."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import ValidationError, validate

import flows
from flows.config.reading import ConfigError, as_run, parse_config
from flows.errors import InputError
from flows.fitting.regressions import ask_judging
from flows.launch.start import launch, parameters
from flows.runs import loading
from metalearners.evaluation import choose_and_judge
from metalearners.fits.execute import run_stage, serial
from metalearners.fits.store import MemoryStore
from tests.acceptance.test_processes import uplift, write_config
from tests.conftest import Ran

DATA = {"source": "d.csv", "outcome": "y", "treatment": "w", "control": 0}
LINEAR = {"estimator": "sklearn.linear_model.LinearRegression"}
CANDIDATES = {
    "linear": {"learner": "TLearner", "models": {"outcome": LINEAR}},
    "econ": {"estimator": "tests.outside.EconStyle"},
}


@pytest.fixture
def compared(settings, own_models):
    """A comparison of two learners and two candidates, one outside; small models."""
    settings["learners"] = ["DRLearner", "SLearner"]
    settings["evaluation"] = {"holdout": 0.4, "bootstrap": 0}
    return settings | {"compare": {"candidates": dict(CANDIDATES), "stack": True}}


def made(settings):
    return Ran(launch(parse_config(settings), False, quiet=True, comparing=True))


@pytest.mark.slow
def test_a_comparison_is_the_library_s_on_the_same_rows(api, compared, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", api)
    first, again = made(compared), made(compared)
    found = first.summary["comparison"]

    assert again.fits["executed"] == 0
    assert again.summary["comparison"] == found
    study = loading.load(parse_config(compared).of_comparison())
    fits = run_stage(ask_judging(study), study.judging, MemoryStore(), serial)
    eta = {name[1:]: own.column for name, own in fits.items()}
    scores = study.reference.scores(study.judging, eta)
    rows = first.estimates["held_out"].to_numpy()
    names = ["DRLearner", "SLearner", *CANDIDATES]
    expected = choose_and_judge(
        {name: first.estimates.loc[rows, f"cate.{name}.1"].to_numpy() for name in names},
        (scores[:, 1] - scores[:, 0])[rows],
        arms=study.dataset.w[rows],
        stack=True,
    )
    assert found["rule"] == expected.rule
    assert found["stack"] == pytest.approx(expected.stack)
    assert [one["candidate"] for one in found["ranking"]] == [
        one.candidate for one in expected.ranking
    ]
    for one, own in zip(found["ranking"], expected.ranking, strict=True):
        assert one["dr_loss"] == pytest.approx(own.dr_loss.estimate)
        for figure in ("rate", "difference_to_best", "dr_loss_to_best"):
            wanted = vars(getattr(own, figure))
            assert one[figure] == pytest.approx({key: wanted[key] for key in one[figure]})
    assert found["rows"] == {"chose": 120, "judge": 120}
    # The candidates stand among the learners, but with no outcomes where they have no models.
    assert set(first.summary["learners"]) == set(names)
    scored = (
        flows.load(first.folder).bundle().predict(pd.read_parquet("data.parquet"), details=True)
    )
    assert {name for name in scored if name.startswith("outcome.")} == {
        f"outcome.{name}.{arm}" for name in ("SLearner", "linear") for arm in (0, 1)
    }
    np.testing.assert_allclose(
        scored.loc[rows, "cate.econ.1"], first.estimates.loc[rows, "cate.econ.1"]
    )


@pytest.mark.slow
def test_the_command_prints_the_table_and_ends_as_a_run_does(api, compared):
    done = uplift("compare", write_config(compared), "--json", "out.json")
    found = json.loads(Path("out.json").read_text())["comparison"]

    assert done.returncode == 0, done.stderr
    assert found["rule"] in done.stdout
    lines = done.stdout.splitlines()
    table = lines[next(n for n, line in enumerate(lines) if "AUTOC (95 %" in line) + 1 :]
    order = [one["candidate"] for one in found["ranking"]]
    assert [line.split()[0] for line in table[: len(order)]] == order
    refused = uplift("compare", "config.yaml", "--set", "evaluation.holdout=0")
    assert refused.returncode == 2
    assert "by which `uplift compare` judges; found 0. Hold out more" in refused.stderr


@pytest.mark.slow
def test_a_finished_comparison_is_made_again_and_a_partial_one_ends_with_1(api, compared):
    assert uplift("compare", write_config(compared)).returncode == 0
    again = uplift("compare", "runs/latest/config.yaml", "--quiet", "--set", "compare.stack=false")
    assert (again.returncode, again.stdout) == (0, "")
    assert Ran(Path("runs/latest")).fits["executed"] == 0
    broken = dict(compared, compare={"candidates": {"lost": {"estimator": "tests.outside.Lost"}}})
    partial = uplift("compare", write_config(broken), "--json", "out.json")
    summary = json.loads(Path("out.json").read_text())
    assert partial.returncode == 1
    assert "lost effect_model" in partial.stderr
    assert len(summary["comparison"]["ranking"]) == 2


def test_a_run_leaves_candidates_out_and_says_so(api, compared, monkeypatch, capsys):
    monkeypatch.setenv("PREFECT_API_URL", api)
    done = Ran(launch(parse_config(compared), False))

    assert "a run fits the learners alone" in capsys.readouterr().err
    assert "comparison" not in done.summary
    assert set(done.summary["learners"]) == {"DRLearner", "SLearner"}
    assert yaml.safe_load((done.folder / "config.yaml").read_text())["compare"] is None


@pytest.mark.slow
def test_from_python_the_table_is_a_frame(api, compared, frame, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", api)
    keys = {key: compared[key] for key in ("models", "learners", "evaluation", "compare")}
    done = flows.compare(frame, outcome="y", treatment="w", control=0, quiet=True, **keys)
    table = done.comparison

    assert table.index.tolist() == [
        one["candidate"] for one in done.summary["comparison"]["ranking"]
    ]
    first = done.summary["comparison"]["ranking"][0]
    assert table.iloc[0]["rate"] == first["rate"]["estimate"]
    assert table.iloc[0]["rate.ci_high"] == first["rate"]["ci_high"]
    assert table.attrs["rule"] == done.summary["comparison"]["rule"]
    assert "chosen:" in repr(done)
    run = flows.run(frame, outcome="y", treatment="w", control=0, quiet=True, models=keys["models"])
    with pytest.raises(InputError, match="Expected a comparison; found the run"):
        _ = run.comparison


@pytest.mark.slow
def test_the_flow_shows_the_table_on_its_page(run, compared):
    from prefect import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    config = parse_config(compared)
    folder = Path(flows.uplift_compare(**parameters(config)))
    found = Ran(folder).summary["comparison"]
    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["uplift-comparison"]))
        artifacts = client.read_artifacts(artifact_filter=wanted)
    own = max(artifacts, key=lambda artifact: artifact.created)
    assert own.description == found["rule"]
    rows = json.loads(own.data)
    assert [row["Candidate"] for row in rows] == [one["candidate"] for one in found["ranking"]]
    with pytest.raises(InputError, match="refresh: expected true or false; found 1"):
        flows.uplift_compare(**parameters(config), refresh=1)


def test_texts_and_gaps_are_encoded_for_candidates_and_told(compared, frame):
    city = pd.Series(["x", "y", None] * 200)
    frame.assign(city=city).to_parquet("data.parquet")
    study = loading.load(parse_config(compared).of_comparison())
    told = " ".join(study.warnings)

    assert "compare.candidates.econ" in told
    assert "compare.candidates.linear.models.outcome (LinearRegression)" in told
    candidates = study.config.compare.candidates
    assert candidates["econ"].encoder.estimator == "sklearn.compose.ColumnTransformer"
    assert "encoder" in str(candidates["linear"].models["outcome"])
    effects = study.learners["econ"].fit(study.dataset.X, study.dataset.y, study.dataset.w)
    assert np.isfinite(effects.predict(study.dataset.X, is_oos=True)).all()


def test_a_candidate_takes_models_by_kind_then_role_then_from_the_run(compared):
    ridge, lasso = ({"estimator": f"sklearn.linear_model.{one}"} for one in ("Ridge", "Lasso"))
    compared["models"]["XLearner"] = {"treatment_effect_model": lasso}
    compared["compare"]["candidates"] = {
        "own": {
            "learner": "XLearner",
            "models": {"outcome": ridge, "control_effect_model": LINEAR},
        },
    }
    learner = loading.load(parse_config(compared).of_comparison()).learners["own"]

    assert {kind: learner.spec(kind).name for kind in learner.kinds} == {
        "variant_outcome_model": "Ridge",
        "propensity_model": "LGBMClassifier",
        "control_effect_model": "LinearRegression",
        "treatment_effect_model": "Lasso",
    }


ECON = CANDIDATES["econ"]


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ({"TLearner": ECON}, "names of at most 40 letters .* found 'TLearner'. Rename"),
        ({"stack": ECON}, "none of a learner or stack, evaluation, hold-out; found 'stack'"),
        ({"a.b": ECON}, "found 'a.b'"),
        ({"a": ECON, "A": ECON}, "found 'A'"),
        ({"a": {}}, "compare.candidates.a: expected a learner, or .*; found neither"),
        ({"a": {"learner": "TLearner", **ECON}}, "found both. Name one"),
        ({"a": {"learner": "TLearner", "params": {"x": 1}}}, "expected params with an estimator"),
        ({"a": {**ECON, "models": {"outcome": LINEAR}}}, "expected models with a learner"),
        ({"a": {"learner": "Tlearner"}}, "candidates.a.learner: .* found 'Tlearner'"),
        ({"a": {"estimators": "x"}}, "Valid here: learner, models, estimator, params, encoder"),
    ],
)
def test_candidates_that_are_none_are_refused_with_the_config(compared, candidates, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(compared | {"compare": {"candidates": candidates}})


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ({"estimator": "econml.dml.Forest"}, "found 'econml.dml.Forest'. Nothing of it was imp"),
        ({"estimator": "tests.outside.Nobody"}, "has no estimator 'Nobody'"),
        ({"estimator": "tests.outside.TellsNothing"}, "class with fit, and effect or predict"),
        ({"estimator": "tests.outside.WithoutArms"}, r"found WithoutArms.fit\(X, y\)"),
        ({**ECON, "params": {"depth": 1}}, "candidates.a: EconStyle has no parameter 'depth'"),
        ({**ECON, "params": {"discrete_treatment": False}}, "arms have no order"),
        ({**ECON, "encoder": LINEAR}, "a.encoder: expected a transformer; LinearRegression"),
        (
            {"learner": "TLearner", "models": {"outcomes": LINEAR}},
            "candidates.a.models: .* found 'outcomes'. Did you mean 'outcome'",
        ),
        (
            {"learner": "TLearner", "models": {"outcome": {"estimator": "os.system"}}},
            "candidates.a.models.outcome: expected the import path",
        ),
    ],
)
def test_candidates_that_cannot_be_made_are_refused_before_anything_is_fitted(
    compared, candidate, message
):
    config = parse_config(compared | {"compare": {"candidates": {"a": candidate}}})
    with pytest.raises(InputError, match=message):
        loading.load(config.of_comparison())


def test_an_outside_estimator_needs_its_import_root_and_weights_where_there_are_some(
    compared, frame, monkeypatch
):
    monkeypatch.delenv("UPLIFT_IMPORT_ROOTS")
    with pytest.raises(InputError, match="UPLIFT_IMPORT_ROOTS, in the environment of the process"):
        loading.load(parse_config(compared).of_comparison())
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "tests")
    frame.assign(v=1.0).to_parquet("data.parquet")
    compared["data"] |= {"weight": "v", "features": ["a", "b", "c"]}
    loading.load(parse_config(compared).of_comparison())
    compared["compare"]["candidates"]["c"] = {"estimator": "tests.outside.CausalStyle"}
    with pytest.raises(InputError, match="whose fit takes sample_weight; CausalStyle doesn't"):
        loading.load(parse_config(compared).of_comparison())


@pytest.mark.parametrize(("holdout", "found"), [(0, "found 0"), (0.02, "0.02, which leaves too")])
def test_rows_to_judge_by_are_needed(compared, holdout, found):
    compared["evaluation"]["holdout"] = holdout

    with pytest.raises(InputError, match=found):
        loading.load(parse_config(compared).of_comparison())
    loading.load(as_run(parse_config(compared), print))


def test_the_form_of_a_comparison_has_its_section():
    schema = parameter_schema(flows.uplift_compare).model_dump()
    own = schema["properties"]
    run = parameter_schema(flows.uplift_run).model_dump()["properties"]

    assert own.keys() ^ run.keys() == {"compare"}
    section = schema["definitions"]["CompareConfig"]["properties"]
    assert section.keys() == {"candidates", "stack"}
    assert '{"linear": ' in section["candidates"]["description"]
    validate({"data": DATA, "compare": {"candidates": CANDIDATES}}, schema, raise_on_error=True)
    for wrong in ({"a": {"learner": "QLearner"}}, {"a": {"known": 1}}):
        with pytest.raises(ValidationError):
            validate({"data": DATA, "compare": {"candidates": wrong}}, schema, raise_on_error=True)
