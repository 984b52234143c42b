"""`uplift serve`: runs triggered through the API and, in a real browser, from the UI's form."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pandas as pd
import pytest
import yaml

from flows.config import load_config, parse_config
from flows.errors import InputError
from flows.launch.start import _check_served, serve_deployments
from tests.acceptance.test_processes import wait_for
from tests.conftest import REPOSITORY, Ran, free_port, small_frame, small_settings, write_config

pytestmark = pytest.mark.slow
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Served:
    """A running `uplift serve`, and the questions a client asks its API."""

    def __init__(self, address: str, folder: Path, far: str = "") -> None:
        self.address, self.api, self.folder = address, f"{address}/api", folder
        self.far = far  # the source of a config, outside the folder

    def get(self, path):
        return httpx.get(f"{self.api}/{path}").json()

    def post(self, path, content):
        return httpx.post(f"{self.api}/{path}", json=content, timeout=30)

    def deployment(self, name="uplift-run/uplift-run"):
        return self.get(f"deployments/name/{name}")

    def start(self, name="uplift-run/uplift-run", **more):
        path = f"deployments/{self.deployment(name)['id']}/create_flow_run"
        return self.post(path, more).json()["id"]

    def trigger(self, deployment="uplift-run/uplift-run", /, **parameters):
        return self.wait(self.start(deployment, parameters=parameters))

    def wait(self, run_id, seconds=120):
        deadline = time.monotonic() + seconds
        while (run := self.get(f"flow_runs/{run_id}"))["state_type"] not in FINAL:
            assert time.monotonic() < deadline, run["state"]
            time.sleep(0.5)
        return run

    def stages(self, run):
        query = {"flow_runs": {"parent_flow_run_id": {"any_": [run["id"]]}}}
        return self.post("flow_runs/filter", query).json()

    def scheduled(self):
        """Runs that the schedule made for later."""
        query = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
        wait_for(lambda: self.post("flow_runs/filter", query).json(), 90)  # it looks once a minute
        return self.post("flow_runs/filter", query).json()

    def tasks(self, run):
        ids = [stage["id"] for stage in self.stages(run)]
        query = {"flow_runs": {"id": {"any_": ids}}}
        return self.post("task_runs/filter", query).json()

    def wait_for_cached(self, run, planned):
        """Until each fit of a run is there as Cached: tasks and their states come in batches."""
        expected = ["Cached"] * planned
        wait_for(lambda: [task["state_name"] for task in self.tasks(run)] == expected, 30)

    def errors(self, run):
        query = {"logs": {"flow_run_id": {"any_": [run["id"]]}, "level": {"ge_": 40}}}
        wait_for(lambda: self.post("logs/filter", query).json(), 20)
        return [line["message"] for line in self.post("logs/filter", query).json()]

    def ran(self, run):
        (folder,) = self.folder.glob(f"runs/*-{run['name']}")
        return Ran(folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(REPOSITORY / "data", folder / "data")
    shutil.copy(folder / "data" / "rand_hie.parquet", folder / "data" / "again.parquet")
    far = tmp_path_factory.mktemp("far") / "rand_hie.parquet"
    shutil.copy(folder / "data" / "rand_hie.parquet", far)
    mine = yaml.safe_load((REPOSITORY / "deployments/configs/rand_hie.yaml").read_text())
    mine["data"]["source"] = str(far)
    (folder / "mine.yaml").write_text(yaml.safe_dump(mine | {"learners": ["TLearner"]}))
    environment = _without_server() | {"PREFECT_RUNNER_POLL_FREQUENCY": "2"}
    port = free_port()
    command = [sys.executable, "-m", "flows.cli", "serve", "mine.yaml", "--schedules"]
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    served = Served(f"http://127.0.0.1:{port}", folder, str(far))
    _wait_until_served(served, process)
    yield served
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0, (folder / "serve.log").read_text()


def _without_server():
    return {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}


def _serve_again(folder, port):
    command = [sys.executable, "-m", "flows.cli", "serve", "--port", port]
    return subprocess.run(
        command,
        cwd=folder,
        env=_without_server(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _wait_until_served(served, process):
    deadline = time.monotonic() + 90
    while True:
        assert process.poll() is None, (served.folder / "serve.log").read_text()
        assert time.monotonic() < deadline
        try:
            if "id" in served.deployment():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)


def test_deployment_has_the_main_job_as_defaults_and_a_daily_schedule(served):
    deployment = served.deployment()

    (schedule,) = deployment["schedules"]
    assert schedule["active"]
    assert schedule["schedule"]["cron"] == "0 5 * * *"
    assert deployment["parameters"]["data"]["treatment"] == "plan"
    assert not deployment["paused"]


def test_a_config_of_the_user_has_a_deployment_without_a_schedule(served):
    path = "deployments/name/uplift-run/mine"
    wait_for(lambda: "id" in served.get(path))  # Prefect makes one deployment after the other
    deployment = served.get(path)

    assert deployment["parameters"]["learners"] == ["TLearner"]
    assert deployment["schedules"] == []
    lines = (served.folder / "serve.log").read_text().splitlines()
    (command,) = [line for line in lines if line.endswith(" deployment run uplift-run/mine")]
    assert command.startswith(f"  PREFECT_API_URL={served.api} ")
    # The printed line works as it is; in its place, one that starts no run.
    shown = command.replace(" deployment run ", " deployment inspect ")
    done = subprocess.run(shown, shell=True, check=True, capture_output=True, text=True, timeout=60)
    assert "TLearner" in done.stdout


def test_a_config_outside_the_places_of_the_deployments_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("UPLIFT_DATA_ROOTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    config = {"data": {"source": "in/*.csv", "outcome": "y", "treatment": "w", "control": 0}}
    inside = parse_config(config)
    _check_served({"mine": inside})
    config["data"]["source"] = "../rows.csv"  # which its own deployment may read
    _check_served({"mine": parse_config(config)})
    config["output"] = "../runs"
    outside = r"^mine: Expected a place inside .*found '../runs'.* add to UPLIFT_DATA_ROOTS"
    with pytest.raises(InputError, match=outside):
        _check_served({"mine": parse_config(config)})


def test_the_schedule_is_off_without_the_option():
    from deployments.uplift import deployments

    main, *others = deployments()

    assert [schedule.active for schedule in main.schedules] == [False]
    assert not any(deployment.schedules for deployment in others)


@pytest.mark.parametrize(
    "names", [["a/same.yaml", "b/same.yaml"], ["uplift-run.yaml"], ["cache-prune.yaml"]]
)
def test_two_deployments_of_one_name_are_refused(names, tmp_path):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / "deployments/configs/rand_hie.yaml", tmp_path / name)
    with pytest.raises(InputError, match="differ"):
        serve_deployments(4200, [tmp_path / name for name in names])


def test_schedule_fires_in_the_server(served):
    """A schedule on record is not enough: its runs must come to be."""
    scheduled = served.scheduled()

    assert all(run["expected_start_time"][11:16] == "05:00" for run in scheduled)
    assert " ERROR " not in (served.folder / ".uplift" / "server.log").read_text()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example", "Content-Type": "text/plain"},
        {"Host": "evil.example:4271"},
        {"Origin": "null"},
    ],
)
def test_pages_of_others_cannot_use_the_server(served, headers):
    refused = httpx.post(f"{served.api}/flows/filter", content="{}", headers=headers)
    own = httpx.post(f"{served.api}/flows/filter", json={}, headers={"Origin": served.address})

    assert refused.status_code == 403
    assert own.status_code == 200


def test_second_serve_in_a_folder_is_refused(served):
    done = _serve_again(served.folder, str(free_port()))

    assert done.returncode == 2
    assert "no other `uplift serve`" in done.stderr
    assert not served.deployment()["paused"]


def test_triggered_run_completes_and_a_second_one_is_cached(served):
    first = served.trigger()
    second = served.trigger()

    assert first["state_type"] == second["state_type"] == "COMPLETED"
    names = {stage["name"] for stage in served.stages(second)}
    assert names == {"DRLearner nuisance", "DRLearner treatment", "evaluation nuisance"}
    ran, again = served.ran(first), served.ran(second)
    assert ran.fits["executed"] == ran.fits["unique"]
    assert again.fits["reused"] == again.fits["unique"]
    served.wait_for_cached(second, again.fits["planned"])


def test_the_champion_scores_the_example_s_rows_from_its_deployment(served):
    served.trigger()
    run = served.trigger("uplift-score/uplift-score")
    assert run["state_type"] == "COMPLETED", run["state"]

    (scores,) = served.folder.glob("scores/rand_hie-*.parquet")
    assert pd.read_parquet(scores).filter(like="cate.DRLearner.").notna().all(axis=None)
    outside = served.trigger(
        "uplift-score/uplift-score", **run["parameters"] | {"output": "/tmp/elsewhere.csv"}
    )
    assert outside["state_type"] == "FAILED"
    assert "limited to" in outside["state"]["message"]
    assert served.errors(outside) == [outside["state"]["message"]]  # and no traceback


def test_command_and_deployment_share_cache_and_run_folders(served):
    served.trigger()
    environment = _without_server()
    config = REPOSITORY / "deployments" / "configs" / "rand_hie.yaml"
    command = [sys.executable, "-m", "flows.cli", "run", str(config), "--quiet"]
    subprocess.run(command, cwd=served.folder, env=environment, check=True, timeout=120)

    assert Ran(served.folder / "runs" / "latest").fits["executed"] == 0


def test_a_run_that_the_schedule_made_moves_the_link_of_its_name_alone(served):
    of_all, of_name = (served.folder / "runs" / link for link in ("latest", "by-name/mine/latest"))
    mine = served.ran(served.trigger(name="mine")).folder.name
    assert of_all.resolve().name == of_name.resolve().name == mine
    run = served.scheduled()[0]
    now = {"scheduled_time": datetime.now(UTC).isoformat()}
    state = {"type": "SCHEDULED", "name": "Scheduled", "state_details": now}
    served.post(f"flow_runs/{run['id']}/set_state", {"state": state, "force": True})
    assert served.wait(run["id"])["state_type"] == "COMPLETED"

    assert of_all.resolve().name == of_name.resolve().name == mine
    of_example = served.folder / "runs" / "by-name" / "rand_hie" / "latest"
    assert of_example.resolve() == served.ran(run).folder.resolve()


RUN, MINE, TUNE = "uplift-run/uplift-run", "uplift-run/mine", "uplift-tune/uplift-tune"
BACKFILL, PRUNE = "uplift-backfill/uplift-backfill", "cache-prune/cache-prune"
SCORE = "uplift-score/uplift-score"
SCORE = "uplift-score/uplift-score"
OUTSIDE = "which this deployment is limited to"
# What deployments are asked for, and what the page of the run says. More of it, in one process, is
# in tests/flows/test_deployments.py.
WRONG = [
    (RUN, {"foldz": 3}, "foldz: unknown key. Did you mean 'folds'? Valid here: data, learners"),
    (RUN, {"data": {"source": "FAR"}, "name": "mine"}, OUTSIDE),
    (RUN, {"models": {"outcome": {"estimator": "os.system"}}}, "import path of an estimator"),
    (MINE, {"data": {"source": "/etc/passwd"}}, OUTSIDE),
    (SCORE, {"model": "/etc"}, "Expected a finished run"),
    (SCORE, {"inputs": "new.csv"}, "inputs: unknown key. Did you mean 'input'?"),
    (TUNE, {"budget_seconds": "long"}, "budget_seconds: expected a number above 0; found 'long'"),
    (BACKFILL, {"from_date": "soon"}, "from_date: expected a date such as 2026-11-01"),
    (PRUNE, {"storage": "/tmp", "everything": True}, OUTSIDE),
]


@pytest.fixture(scope="module")
def refused(served):
    """The run of each of these, which the form's schema alone would let through."""
    started = []
    for name, changes, _ in WRONG:
        defaults = served.deployment(name)["parameters"]
        changed = {
            key: {**defaults[key], **value} if isinstance(value, dict) else value
            for key, value in changes.items()
        }
        asked = json.loads(json.dumps(changed).replace("FAR", served.far))
        started.append(served.start(name, parameters=asked, enforce_parameter_schema=False))
    return [served.wait(run) for run in started]


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: str(WRONG[case][:2]))
def test_wrong_parameters_end_the_run_with_the_config_s_message(served, refused, case):
    run, message = refused[case], WRONG[case][2]

    assert run["state_type"] == "FAILED"
    assert message in run["state"]["message"]
    assert not list(served.folder.glob(f"runs/*-{run['name']}"))
    assert served.errors(run) == [run["state"]["message"]]  # our message, and no traceback


def test_a_deployment_may_read_its_config_s_own_source(served):
    run = served.wait(served.start(MINE))

    assert run["state_type"] == "COMPLETED", run["state"]
    assert served.ran(run).summary["data"]["source"] == served.far


@pytest.mark.parametrize("name", [BACKFILL, PRUNE])
def test_the_defaults_of_a_form_run_as_they_are(served, name):
    run = served.wait(served.start(name))

    assert run["state_type"] == "COMPLETED", run["state"]
    if name == BACKFILL:
        assert len(served.stages(run)) == 3
        assert run["state"]["message"] == "3 runs made; 0 dates had one."


def test_form_refuses_what_the_schema_forbids(served):
    path = f"deployments/{served.deployment()['id']}/create_flow_run"
    refused = served.post(path, {"parameters": {"folds": {"n_folds": 1, "seed": 0}}})

    assert refused.status_code == 409
    assert "n_folds" in refused.text


def test_taken_port_is_refused(served, tmp_path):
    port = served.address.rpartition(":")[2]
    done = _serve_again(tmp_path, port)

    assert done.returncode == 2
    assert f"{port} is taken" in done.stderr


@pytest.fixture
def page():
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser.new_page(viewport={"width": 1400, "height": 1000})
        browser.close()


def open_form(served, page, deployment, name):
    page.goto(f"{served.address}/v2/deployments/deployment/{deployment['id']}/run")
    page.get_by_label("Run Name").fill(name)


def submit(served, page, name):
    """Start the run of the open form, and wait until it has ended."""
    page.get_by_role("button", name="Submit").click()
    query = {"flow_runs": {"name": {"any_": [name]}}}
    wait_for(lambda: served.post("flow_runs/filter", query).json(), 30)
    (found,) = served.post("flow_runs/filter", query).json()
    return served.wait(found["id"])


def open_page(served, page, run):
    """The page of a run that has ended well."""
    assert run["state_type"] == "COMPLETED", run["state"]
    page.goto(f"{served.address}/v2/runs/flow-run/{run['id']}")
    page.get_by_text("Completed").first.wait_for()


def start_from_the_form(served, page, name):
    """Fill the form of `uplift-run` as a person does, and start the run."""
    open_form(served, page, served.deployment(), name)
    for title in ("Outcome model", "Propensity model", "Treatment model"):
        page.get_by_text(title).first.wait_for()
    assert page.get_by_text("Property is type").count() == 0
    page.get_by_label("source (Optional)", exact=True).fill("data/again.parquet")
    page.get_by_label("Select learners").click()
    page.get_by_role("option", name="TLearner").click()
    page.keyboard.press("Escape")
    page.get_by_label("n_folds").fill("3")
    part = page.locator("div.group").filter(has=page.get_by_text("clip (Optional)")).last
    part.get_by_role("tab", name="number").click()
    part.locator("input").fill("0.01")
    return submit(served, page, name)


def test_a_person_starts_two_runs_and_scores_new_rows_from_the_forms(served, page):
    run = start_from_the_form(served, page, "from-the-form")

    open_page(served, page, run)
    changes = ["folds.n_folds=3", "clip=0.01", "learners=[DRLearner, TLearner]"]
    changes.append("data.source=data/again.parquet")
    asked = load_config(REPOSITORY / "deployments/configs/rand_hie.yaml", changes)
    sent = run["parameters"]
    assert sent.pop("refresh") is False
    assert parse_config(sent) == asked
    assert "n_folds: 3" in (served.ran(run).folder / "config.yaml").read_text()
    page.get_by_role("tab", name="Subflow Runs").click()
    page.get_by_text("DRLearner nuisance").first.wait_for()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("uplift-effects").first.wait_for()
    page.get_by_text("uplift-report").first.click()
    page.get_by_text("report.html").first.wait_for()
    pictures = page.locator('img[src^="data:image/svg+xml"]')
    pictures.first.wait_for()
    assert pictures.count() == 7  # average effects, and estimates and gains of each arm
    assert all(pictures.evaluate_all("all => all.map(image => image.naturalWidth > 0)"))

    again = start_from_the_form(served, page, "from-the-form-again")
    assert served.ran(again).fits["executed"] == 0
    planned = served.ran(again).fits["planned"]
    served.wait_for_cached(again, planned)

    source = pd.read_parquet(served.folder / "data" / "again.parquet")
    source.drop(columns=["mdvis", "plan"]).to_parquet(served.folder / "data" / "new.parquet")
    open_form(served, page, served.deployment(SCORE), "score-from-the-form")
    assert page.get_by_label("model (Optional)", exact=True).input_value() == "rand_hie@champion"
    page.get_by_label("input", exact=True).fill("data/new.parquet")
    page.get_by_label("output", exact=True).fill("scores/new.parquet")
    open_page(served, page, submit(served, page, "score-from-the-form"))
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("Scores in scores/new.parquet").click()
    for value in ("20,190", "data/new.parquet", "scores/new.parquet"):
        page.get_by_role("cell", name=value, exact=True).wait_for()
    champion = page.get_by_role("row", name="model").get_by_role("cell").last.inner_text()
    estimates = Ran(served.folder / "runs" / champion).estimates
    scores = pd.read_parquet(served.folder / "scores" / "new.parquet")
    held_out, column = estimates["held_out"], "cate.DRLearner.95"
    assert scores[column][held_out].equals(estimates[column][held_out])


def test_the_page_of_a_failed_run_shows_what_to_do(served, page):
    data = served.deployment()["parameters"]["data"]
    run = served.trigger(data={**data, "outcome": "mdvisits"})
    page.goto(f"{served.address}/v2/runs/flow-run/{run['id']}")
    page.get_by_role("tab", name="Logs").click()
    page.get_by_text("Did you mean 'mdvis'?").first.wait_for()

    assert run["state"]["message"].startswith("data.outcome: expected a column of")
    assert page.get_by_text("Traceback").count() == 0


EVERY = 20  # seconds; Prefect asks every ten which runs are due


class Shop:
    """A folder with data by minute, and `uplift serve` on a config with a schedule."""

    def __init__(self, folder: Path, catch_up: str) -> None:
        self.folder, self.port = folder, free_port()
        small_frame().to_parquet(folder / "base.parquet")
        settings = small_settings() | {
            "name": "shop",
            "schedule": {"cron": f"* * * * * */{EVERY}", "catch_up": catch_up},
        }
        settings["data"]["source"] = "rows/*.parquet"
        (folder / "rows").mkdir()
        small_frame().to_parquet(folder / "rows" / "first.parquet")
        write_config(settings, str(folder / "shop.yaml"))
        self.settings = settings

    def serve(self) -> None:
        command = [sys.executable, "-m", "flows.cli", "serve", "shop.yaml"]
        with (self.folder / "serve.log").open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port)],
                cwd=self.folder,
                env=_without_server(),
                stdout=log,
                stderr=log,
            )

    def stop(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)
        self.process.wait(30)

    def runs(self) -> list[dict]:
        summaries = self.folder.glob("runs/2*/summary.json")
        found = [json.loads(path.read_text()) for path in summaries]
        return sorted(found, key=lambda run: run["logical_date"])

    def wait_for_runs(self, n: int, seconds: int = 150) -> list[dict]:
        wait_for(lambda: len(self.runs()) >= n, seconds)
        return self.runs()


def test_a_schedule_of_seconds_over_new_data_downtime_and_redeployment(tmp_path):
    shop = Shop(tmp_path, "latest")
    shop.serve()
    try:
        first, second = shop.wait_for_runs(2)[:2]
        assert first["fits"]["executed"] > 0
        assert second["fits"]["executed"] == 0  # every unit is reused
        later = small_frame().assign(a=lambda rows: rows["a"] + 1)
        later.to_parquet(tmp_path / "rows" / "second.parquet")
        third = shop.wait_for_runs(len(shop.runs()) + 2)[-1]
        assert third["data"]["rows"] == 1200
        before = len(shop.runs())
    finally:
        shop.stop()
    down = datetime.now(UTC)
    time.sleep(60)
    shop.serve()
    try:
        runs = shop.wait_for_runs(before + 2)
    finally:
        shop.stop()
    dates = [datetime.fromisoformat(run["logical_date"]) for run in runs]
    assert len(set(dates)) == len(dates) >= 5
    assert all(date.second % EVERY == 0 for date in dates)
    # Of the dates that passed while nothing ran, at most the latest has a run.
    missed = [date for date in dates if down < date < down + timedelta(seconds=60 - EVERY)]
    assert not missed
