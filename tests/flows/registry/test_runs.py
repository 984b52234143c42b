"""Models of whole runs: registered at their end, scored by alias, promoted and rolled back."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.commands import app
from flows.config.reading import parse_config
from flows.errors import InputError
from flows.inputs.places import DATA_ROOTS_VARIABLE
from flows.launch.start import _check_served
from flows.messages.outcome import outcome_lines
from flows.runs.loading import check_folders

REGISTRY = Path(".uplift/registry")


def uplift(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def scored(model):
    output = f"{model.replace('@', '-')}.parquet"
    done = uplift("score", "--model", model, "--input", "data.parquet", "--output", output)
    assert done.exit_code == 0, done.output
    return Path(output).read_bytes()


def told(*arguments):
    done = uplift("models", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_name_s_runs_are_champion_and_challenger_until_somebody_decides(run, settings):
    settings["name"] = "shop"
    first = run(settings)
    second = run({**settings, "folds": {"seed": 1}})
    runs = [ran.folder.name for ran in (first, second)]

    assert [ran.summary["model"]["alias"] for ran in (first, second)] == ["champion", "challenger"]
    assert [ran.summary["model"]["decision"] for ran in (first, second)] == ["first", "manual"]
    assert "  model:     challenger of shop" in outcome_lines(second.summary)
    by_run = [scored(name) for name in runs]
    assert by_run[0] != by_run[1]
    assert [scored(f"shop@{alias}") for alias in ("champion", "challenger")] == by_run
    assert scored("champion") == by_run[0]

    entries = told("list")
    assert [entry["run"] for entry in entries] == runs
    for entry, ran in zip(entries, (first, second), strict=True):
        for figure, ate in zip(entry["ate"], ran.summary["ate"], strict=True):
            assert figure == {key: ate[key] for key in figure}
        (judged,) = ran.summary["learners"]["DRLearner"]["evaluation"]["arms"]
        (qini,) = entry["qini"]["DRLearner"]
        assert (qini["estimate"], qini["std_error"]) == (
            judged["qini"]["estimate"],
            judged["qini"]["std_error"],
        )

    assert uplift("models", "promote", "shop@challenger", "--why", "spring").exit_code == 0
    assert runs[1] in uplift("models", "promote", runs[1]).stdout  # which changes nothing
    assert scored("shop@champion") == by_run[1]
    assert uplift("models", "rollback", "shop").exit_code == 0
    assert scored("shop@champion") == by_run[0]
    shown = told("show", "shop")
    assert (shown["champion"], shown["challenger"]) == (runs[0], None)
    assert [event["event"] for event in shown["history"]] == [
        *("registered", "registered", "promoted", "rolled back"),
    ]
    assert shown["history"][2]["why"] == "spring"
    assert [event["number"] for event in told("show", runs[1])["history"]] == [2, 3]
    assert "champion" in uplift("models", "show", "shop").stdout
    assert runs[1] in uplift("models", "list").stdout

    refused = uplift("models", "promote", "no-such-run")
    assert refused.exit_code == 2
    assert all(name in refused.stderr for name in runs)
    for arguments, found in [
        (("models", "rollback", "shop"), f"found {runs[0]} alone"),
        (("models", "rollback", "shops"), "Names there: shop"),
        (("models", "promote", runs[0][:8]), "found 2"),
        (("score", "--model", "shop@challenger", "--input", "x", "--output", "y.csv"), "alone"),
    ]:
        refused = uplift(*arguments)
        assert (refused.exit_code, found in refused.stderr) == (2, True), refused.output


@pytest.mark.slow
def test_a_registry_that_fails_costs_no_run_and_a_command_registers_it_later(run, settings):
    settings |= {"name": "shop", "learners": ["SLearner"]}
    REGISTRY.mkdir(parents=True, mode=0o700)
    (REGISTRY / "shop").write_text("in the way")
    ran = run(settings)
    model = ran.summary["model"]

    assert ran.summary["status"] == "done"
    assert (model["alias"], model["decision"], model["difference"]) == (None, None, None)
    (warning,) = [each for each in ran.summary["warnings"] if "registry" in each]
    assert str(REGISTRY) in warning
    assert model["problem"] in warning

    (REGISTRY / "shop").unlink()
    done = uplift("models", "promote", "shop")  # by its config's name
    assert done.exit_code == 0, (done.stderr, done.exception)
    assert done.stdout == f"{ran.folder.name} is the champion of shop.\n"
    assert scored("champion") == scored(ran.folder.name)
    assert [event["decision"] for event in told("show", "shop")["history"]] == ["first"]

    (ran.folder / "model").chmod(0o777)
    other = ran.folder.with_name("other")
    ran.folder.rename(other)
    summary = json.loads((other / "summary.json").read_text())
    (other / "summary.json").write_text(json.dumps({**summary, "run_name": "other"}))
    refused = uplift("models", "promote", "other")
    assert refused.exit_code == 2
    assert "any user of this machine may write to it" in refused.stderr
    assert [entry["run"] for entry in told("list")] == [summary["run_name"]]


def test_a_place_that_must_not_be_a_registry_is_refused_before_anything(
    settings, tmp_path, monkeypatch
):
    def refusal(**registry):
        with pytest.raises(InputError) as refused:
            check_folders(parse_config({**settings, "registry": registry}))
        return str(refused.value)

    monkeypatch.setenv(DATA_ROOTS_VARIABLE, str(tmp_path))
    assert "limited to" in refusal(storage="/elsewhere/models")
    assert "limited to" in refusal(storage="s3://bucket/models")
    named = {"shop": parse_config({**settings, "registry": {"storage": "/elsewhere/models"}})}
    with pytest.raises(InputError, match="shop: Expected a place inside"):
        _check_served(named)
    monkeypatch.delenv(DATA_ROOTS_VARIABLE)
    assert "UPLIFT_CACHE_KEY" in refusal(storage="memory://models")
    assert "registry.storage: expected a folder" in refusal(storage="data.parquet")
    Path("open").mkdir()
    Path("open").chmod(0o777)
    assert "registry.storage" in refusal(storage="open")
    assert not Path("runs").exists()

    check_folders(parse_config({**settings, "registry": {"enabled": False, "storage": "open"}}))
    refused = uplift("models", "list")
    assert refused.exit_code == 2
    assert "found nothing at .uplift/registry" in refused.stderr
    assert not REGISTRY.exists()
