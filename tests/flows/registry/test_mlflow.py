"""Models in MLflow's registry: sent once, with figures and aliases, verified and scored there."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from flows.cli.commands import app
from flows.errors import InputError
from metalearners.bundle import Bundle, BundleError
from metalearners.evaluation.design import ArmShares

KEY = "sixteen letters, or more"
STORE = "sqlite:///mlflow.db"
ARMS = '["no mail", "5 % off/free"]'
ARM = "5 _25_ off_2f_free"  # in names of metrics, where MLflow takes neither % nor /


def uplift(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def exported(*arguments):
    done = uplift("models", "export", *arguments, "--to", STORE)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


@pytest.fixture
def mlflow(monkeypatch):
    """MLflow, whose store is a file of SQLite in the working folder; nothing is sent anywhere."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", STORE)
    return pytest.importorskip("mlflow", reason="pip install 'uplift-flows[mlflow]' to run this")


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred")  # of classes of MLflow
def test_a_name_s_models_are_versions_with_aliases_that_score_as_here(
    mlflow, run, settings, frame, monkeypatch
):
    monkeypatch.setenv("UPLIFT_CACHE_KEY", KEY)
    settings |= {"name": "shop", "learners": ["DRLearner", "XLearner"]}
    settings["data"] |= {"design": "randomised", "control": "no mail"}
    frame.assign(w=frame["w"].map({0: "no mail", 1: "5 % off/free"})).to_parquet("data.parquet")
    first, second = run(settings), run({**settings, "folds": {"seed": 1}})
    runs = [ran.folder.name for ran in (first, second)]
    client = mlflow.MlflowClient()

    def versions():
        found = client.search_model_versions("name = 'shop'")
        return {one.tags["uplift.run"]: str(one.version) for one in found}

    def aliases():
        found = client.get_registered_model("shop").aliases
        return {name: str(number) for name, number in found.items()}

    sentence = f"{runs[0]} is version 1 of shop at {STORE}, its champion.\n"
    assert [exported(), exported("shop")] == [sentence, sentence]
    assert versions() == {runs[0]: "1"}
    assert aliases() == {"champion": "1"}
    version = client.get_model_version("shop", "1")
    told = {name.removeprefix("uplift."): value for name, value in version.tags.items()}
    bundle = Bundle.load(first.folder / "model", KEY.encode())
    date = first.summary["logical_date"]
    expected = {"run": runs[0], "logical_date": date, "outcome": "y", "arms": ARMS}
    assert told == {**expected, "digest": bundle.digest}
    (ate,) = first.summary["ate"]
    figures = {f"ate.{ARM}": ate["estimate"], f"ate.{ARM}.std_error": ate["std_error"]}
    for learner, own in first.summary["learners"].items():
        (judged,) = own["evaluation"]["arms"]
        figures[f"qini.{learner}.{ARM}"] = judged["qini"]["estimate"]
        figures[f"qini.{learner}.{ARM}.std_error"] = judged["qini"]["std_error"]
    begun = client.get_run(version.run_id)
    assert (begun.data.metrics, begun.info.status) == (figures, "FINISHED")
    assert len(client.search_runs([begun.info.experiment_id])) == 1

    new = frame[list("abc")].set_index(np.arange(600) + 7)
    scores = mlflow.pyfunc.load_model("models:/shop@champion").predict(new)
    shares = ArmShares.from_json(bundle.about["shares"]).of(600, None)
    effects = bundle.predict(new, shares)
    pd.testing.assert_frame_equal(scores[effects.columns], effects, check_exact=True)

    assert "version 2" in exported(runs[1])
    assert aliases() == {"champion": "1", "challenger": "2"}
    assert uplift("models", "promote", runs[1]).exit_code == 0
    exported()
    assert (aliases(), versions()) == ({"champion": "2"}, dict(zip(runs, "12", strict=True)))
    assert uplift("models", "rollback", "shop").exit_code == 0
    client.delete_model_version("shop", "1")
    exported(runs[1])  # so MLflow has no version that is the champion
    assert aliases() == {}

    _check_verified(mlflow, client.get_model_version("shop", "2"), monkeypatch)


def _check_verified(mlflow, version, monkeypatch):
    """MLflow loads no model that others may have made, and its users name no files of a server."""

    def loaded():
        return mlflow.pyfunc.load_model(f"models:/shop/{version.version}")

    with pytest.raises(InputError, match="expected a data frame"):
        loaded().predict("data.parquet")
    monkeypatch.setenv("UPLIFT_CACHE_KEY", "another of sixteen letters")
    with pytest.raises(BundleError, match="found another signature"):
        loaded()
    monkeypatch.delenv("UPLIFT_CACHE_KEY")
    with pytest.raises(InputError, match="expected a secret in UPLIFT_CACHE_KEY"):
        loaded()
    monkeypatch.setenv("UPLIFT_CACHE_KEY", KEY)
    (file,) = Path(version.source.removeprefix("file://")).rglob("DRLearner.pickle")
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match="The model is damaged"):
        loaded()


def test_an_export_that_can_t_be_is_refused_before_anything_is_sent(run, settings, monkeypatch):
    settings |= {"name": "shop", "learners": ["TLearner"]}
    run(settings)

    def refusal(address=STORE, *model):
        done = uplift("models", "export", *model, "--to", address)
        assert (done.exit_code, Path("mlflow.db").exists()) == (2, False), done.output
        return done.stderr

    assert "expected a secret in UPLIFT_CACHE_KEY" in refusal()
    monkeypatch.setenv("UPLIFT_CACHE_KEY", KEY)
    told = refusal("http://me:hunter2@host:5000")
    assert "MLFLOW_TRACKING_USERNAME" in told
    assert "hunter2" not in told
    assert "Models there" in refusal(STORE, "no-such-run")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert "pip install 'uplift-flows[mlflow]'" in refusal()
