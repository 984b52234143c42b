"""Each learner's stages side by side: what they share, when they begin, how they fail and end."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from flows import uplift
from flows.config.reading import parse_config
from flows.errors import LearnersFailedError
from flows.fitting.sharing import Sharing
from flows.launch.start import parameters
from flows.runs import making
from flows.server.prefect_patches.prompt_task_runner import PromptTaskRunner
from tests.conftest import Ran
from tests.faulty import Together
from tests.flows.test_flows import FIVE, _flow_run, _post, _tasks


@pytest.fixture
def five(settings, monkeypatch):
    """Settings of five learners, whose base models may be the tests' own."""
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "tests,lightgbm,sklearn")
    return settings | {"learners": FIVE}


@pytest.fixture
def broken(five):
    """The same, with an X-learner that can't be fitted."""
    five["models"]["XLearner"] = {
        "control_effect_model": {"estimator": "tests.faulty.NeverFits"},
        "treatment_effect_model": {"estimator": "tests.faulty.NeverFits"},
    }
    return five


def stages_of(api, ran):
    parent = _flow_run(api, ran)
    query = {"flow_runs": {"parent_flow_run_id": {"any_": [parent["id"]]}}}
    return parent, _post(api, "flow_runs", query)


def test_a_shared_fit_is_executed_once_and_cached_in_the_others(run, five, api):
    ran = run(five)
    _, stages = stages_of(api, ran)

    assert {stage["name"] for stage in stages} == {
        *(f"{name} nuisance" for name in FIVE),
        *(f"{name} treatment" for name in ("XLearner", "RLearner", "DRLearner")),
        "evaluation nuisance",
    }
    tasks = _tasks(api, stages, expected=ran.fits["planned"])
    states = Counter(task["state_name"] for task in tasks)
    assert states == {
        "Completed": ran.fits["executed"],
        "Cached": ran.fits["planned"] - ran.fits["executed"],
    }
    assert ran.fits["executed"] == ran.fits["unique"] < ran.fits["planned"]


@pytest.mark.slow
def test_all_stages_have_one_pool_of_workers(run, five):
    own = {"estimator": "tests.faulty.Together"}
    five["models"] |= {"outcome": own, "treatment": own}
    five["parallelism"] = {"runner": "thread", "workers": 2}
    Together.most = 0
    run(five)

    assert Together.most == 2


def test_a_learner_s_second_stage_waits_for_no_other_learner(run, five, tmp_path):
    told = {"marker": str(tmp_path / "told")}
    five["learners"] = ["XLearner", "SLearner"]
    five["models"]["SLearner"] = {
        "base_model": {"estimator": "tests.faulty.WaitsToBeTold", "params": told}
    }
    five["models"]["XLearner"] = {
        "treatment_effect_model": {"estimator": "tests.faulty.Tells", "params": told},
        "control_effect_model": {"estimator": "tests.faulty.Tells", "params": told},
    }
    five["parallelism"] = {"runner": "thread", "workers": 2}
    ran = run(five)

    assert ran.summary["status"] == "done"
    assert (tmp_path / "told-waits").exists()


def test_a_learner_that_fails_leaves_the_others_whole(run, broken, api, tmp_path):
    whole = run(broken | {"learners": [name for name in FIVE if name != "XLearner"]})
    with pytest.raises(LearnersFailedError, match=r"XLearner: .* failed: ValueError: .*runs/") as e:
        run(broken)
    (folder,) = set((tmp_path / "runs").glob("2*")) - {whole.folder.resolve(), whole.folder}
    ran = Ran(folder)

    assert str(folder.name) in str(e.value)
    assert ran.summary["status"] == "partial"
    assert "can't be fitted" in ran.summary["learners"]["XLearner"]["error"]
    others = [name for name in FIVE if name != "XLearner"]
    assert all("error" not in ran.summary["learners"][name] for name in others)
    pd.testing.assert_frame_equal(ran.estimates, whole.estimates, check_exact=True)
    for link in ("latest", "by-name/uplift/latest"):
        assert (tmp_path / "runs" / link).resolve() == whole.folder.resolve()
    assert "XLearner could not be fitted" in (folder / "report.html").read_text()
    parent, stages = stages_of(api, ran)
    assert parent["state_type"] == "FAILED"
    assert "XLearner" in parent["state"]["message"]
    states = {stage["name"]: stage["state_type"] for stage in stages}
    assert states.pop("XLearner treatment") == "FAILED"
    assert set(states.values()) == {"COMPLETED"}


def test_if_none_survives_there_is_no_folder(run, broken, tmp_path):
    broken["learners"] = ["XLearner"]
    with pytest.raises(RuntimeError, match="can't be fitted"):
        run(broken)

    assert not list((tmp_path / "runs").glob("2*"))


@pytest.mark.slow
def test_a_retry_of_the_parent_finds_each_learner_s_own_stages(five, api, monkeypatch):
    tries = []

    def evaluate(*arguments):
        tries.append(arguments)
        if len(tries) == 1:
            raise OSError("not yet")
        return judged(*arguments)

    judged = making.evaluate
    retried = uplift.uplift_run.with_options(retries=1, retry_delay_seconds=0)
    with monkeypatch.context() as changed:
        changed.setattr(making, "evaluate", evaluate)
        ran = Ran(Path(retried(**parameters(parse_config(five)))))
    _, stages = stages_of(api, ran)

    assert len(tries) == 2
    assert ran.fits["executed"] == 0  # all of them were kept
    assert {stage["state_type"] for stage in stages} == {"COMPLETED"}
    again = uplift.uplift_run(**parameters(parse_config(five)))
    expected = Ran(Path(again))
    pd.testing.assert_frame_equal(ran.estimates, expected.estimates, check_exact=True)


# Its parts


def test_a_unit_is_one_stage_s_at_a_time_and_all_who_wait_are_told():
    sharing, told = Sharing(), []

    assert sharing.take("a", lambda: told.append("first"))
    assert not sharing.take("a", lambda: told.append("second"))
    assert not sharing.take("a", lambda: told.append("third"))
    assert sharing.take("b", lambda: told.append("other"))
    sharing.give_back("a")

    assert told == ["second", "third"]
    assert sharing.take("a", lambda: told.append("again"))


def test_a_lent_pool_outlives_its_runners():
    pool, release = ThreadPoolExecutor(1), threading.Event()
    with PromptTaskRunner(pool) as one, PromptTaskRunner(pool).duplicate() as other:
        blocking = one._executor.submit(release.wait, 10)
        waiting = other._executor.submit(int)
        other._executor.shutdown(wait=False, cancel_futures=True)
        assert waiting.cancelled()
        assert not blocking.done()
        release.set()

    assert pool.submit(int).result(10) == 0
    pool.shutdown()
