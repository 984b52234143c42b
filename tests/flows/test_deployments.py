"""Deployments: what is registered, and who may do what with it; prefect.yaml through a worker."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import yaml

from deployments.uplift import deployments
from flows import cache_prune, uplift_backfill, uplift_run, uplift_tune
from flows.config.reading import parse_config
from flows.config.sections import Config
from flows.dates.queries import Query
from flows.errors import InputError
from flows.inputs import places
from flows.inputs.places import check_allowed, find_source
from tests.conftest import REPOSITORY, Ran

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def told(deployment):
    """What a deployment is, as `uplift serve` and prefect.yaml both say it."""
    schedules = [
        (each["schedule"]["cron"], each["schedule"]["timezone"], each["active"], each["slug"])
        for each in deployment["schedules"]
    ]
    facts = {key: deployment[key] for key in ("entrypoint", "description", "tags")}
    values = dict(deployment["parameters"])
    keys = Config.model_fields if "data" in values else ()  # a scoring has an output, and no config
    config = {name: values.pop(name) for name in keys if name in values}
    return facts | {
        "schedules": schedules,
        "limit": deployment["limit"],
        "strategy": deployment["strategy"],
        "config": parse_config(config) if config else None,
        "others": values,
    }


def served():
    plain = {}
    for each in deployments():
        fields = each.model_dump(mode="json")
        options = fields["concurrency_options"]
        plain[each.name] = told(
            {
                **fields,
                "limit": fields["concurrency_limit"],
                "strategy": options["collision_strategy"],
            }
        )
    return plain


def deployed(found):
    """The deployments that a server has, by name."""
    return {
        each["name"]: told(
            {
                **each,
                "limit": each["global_concurrency_limit"]["limit"],
                "strategy": each["concurrency_options"]["collision_strategy"],
            }
        )
        for each in found
    }


def test_a_person_finds_what_each_deployment_is_for():
    for each in deployments():
        assert each.description.endswith(".")
        assert each.tags
        assert (each.concurrency_limit, each.concurrency_options.collision_strategy) == (
            1,
            "ENQUEUE",
        )
        for name, field in each._parameter_openapi_schema.properties.items():
            assert field["title"] == name
            assert field.get("description") or "$ref" in field


def test_the_file_for_a_work_pool_has_the_deployments_of_uplift_serve():
    content = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
    found = []
    for each in content["deployments"]:
        limit = each.pop("concurrency_limit")
        for schedule in each["schedules"]:
            schedule["schedule"] = dict(schedule)
        strategy = limit["collision_strategy"]
        found.append(each | {"limit": limit["limit"], "strategy": strategy})

    assert {each["name"]: told(each) for each in found} == served()
    assert {each["work_pool"]["name"] for each in found} == {"uplift"}


# Own sources


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A function that makes a source the own one of the deployment of this process."""
    (tmp_path / "work").mkdir()
    (tmp_path / "far").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv(places.DATA_ROOTS_VARIABLE, str(tmp_path / "work"))
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "mine")
    monkeypatch.setenv(places._OWN_SOURCES_VARIABLE, "{}")

    def allow(source, deployment="mine"):
        places.allow_own_sources({deployment: source})
        return source

    return allow


def test_a_deployment_may_read_its_config_s_own_source_and_nothing_beside_it(own, tmp_path):
    far = tmp_path / "far"
    for name in ("a-1.csv", "a-2.csv", "b.csv"):
        (far / name).write_text("x\n1\n")
    (tmp_path / "secret.csv").write_text("x\n1\n")
    source = own(f"{far}/a-*.csv")

    place, _ = find_source(source)
    assert [Path(file).name for file in place.files] == ["a-1.csv", "a-2.csv"]
    for other in (f"{far}/b.csv", f"{far}/a-1.csv", f"{far}/*.csv", str(far), f"{source}/../b.csv"):
        with pytest.raises(InputError, match="which this deployment is limited to"):
            find_source(other)
    (far / "a-3.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(InputError, match="which this deployment is limited to"):
        find_source(source)


def test_another_deployment_may_not_read_it(own, tmp_path):
    (tmp_path / "far" / "a.csv").write_text("x\n1\n")
    source = own(str(tmp_path / "far" / "a.csv"), "another")
    with pytest.raises(InputError, match="which this deployment is limited to"):
        find_source(source)


def test_partitions_and_databases_may_be_own_sources(own, tmp_path):
    (tmp_path / "far" / "2026-01").mkdir()
    (tmp_path / "far" / "2026-01" / "rows.csv").write_text("x\n1\n")
    source = own(f"{tmp_path}/far/{{date:%Y-%m}}/rows.csv")
    data = {"source": source, "outcome": "y", "treatment": "w", "control": 0}
    config = parse_config({"data": data, "date": "2026-01-05"})
    place, _ = find_source(source, config.window)
    assert [Path(file).name for file in place.files] == ["rows.csv"]

    for database in (f"sqlite:///{tmp_path}/far/shop.db", "postgresql://host/shop"):
        query = Query("select a from visits", database)
        own(query.asked_of)
        check_allowed(database, query.asked_of)
        for other in (
            replace(query, url=f"{database}2"),
            replace(query, sql="select b from cards"),
        ):
            with pytest.raises(InputError, match="limited to"):
                check_allowed(other.url, other.asked_of)


# Flows


@pytest.mark.usefixtures("api")
def test_a_backfill_from_its_flow_makes_each_date_once(settings):
    settings["name"] = "shop"
    dates = {"from_date": "2026-01-01", "to_date": "2026-01-08", "every": "1w"}
    first = uplift_backfill(**settings, **dates, return_state=True)
    again = uplift_backfill(**settings, **dates, return_state=True)

    assert first.message == "2 runs made; 0 dates had one."
    assert again.message == "0 runs made; 2 dates had one."
    folders = [Path(folder) for folder in first.result()]
    assert folders == [Path(folder) for folder in again.result()]
    one, two = (Ran(folder) for folder in folders)
    assert [ran.summary["logical_date"][:10] for ran in (one, two)] == ["2026-01-01", "2026-01-08"]
    assert (one.fits["reused"], two.fits["executed"]) == (0, 0)


@pytest.mark.usefixtures("api")
def test_a_backfill_goes_on_after_a_date_that_failed(settings):
    Path("2026-01").mkdir()
    shutil.copy("data.parquet", "2026-01/data.parquet")
    settings["data"] |= {"source": "{date:%Y-%m}/data.parquet"}
    state = uplift_backfill(
        **settings, from_date="2025-12-01", to_date="2026-01-01", return_state=True
    )

    assert state.is_failed()
    assert state.message.startswith("1 of 2 dates have no finished run: 2025-12-01: failed: ")
    assert len(list(Path("runs").glob("2*"))) == 1


DATABASE = {"source": None, "sql": "SELECT 1", "url": "postgresql://elsewhere/shop"}
OF_ANY = [
    ({"learners": ["Oracle"]}, "learners.0: expected 'SLearner'"),
    ({"folds": {"n_folds": "five"}}, "folds.n_folds: expected a whole number; found 'five'"),
    ({"clip": [1]}, "clip: expected a number or 'auto'"),
    ({"output": "/tmp"}, "^Expected a place inside .*limited to; found '/tmp'"),
    ({"cache": {"storage": "/tmp"}}, "^Expected a place inside .*limited to; found '/tmp'"),
]
OF_DATA = [
    ({"data": {"source": "../../rows.csv"}}, "limited to; found '../../rows.csv'"),
    (
        {"data": {"source": "s3://elsewhere/rows.csv"}},
        "limited to; found 's3://elsewhere/rows.csv'",
    ),
    ({"data": DATABASE}, "limited to; found 'postgresql://elsewhere/shop'"),
    ({"models": {"outcome": {"estimator": "os.system"}}}, "import path of an estimator"),
]
OF_DATES = [
    ({"from_date": "soon"}, "^from_date: expected a date"),
    ({"to_date": "2025-01-01"}, "^to_date: expected a date from 2026-01-01 on"),
    ({"every": "often"}, "^every: expected a number of minutes"),
    ({"to_date": ""}, "^to_date: expected a text that isn't empty"),
    ({"from_date": 2026}, "^from_date: expected a text"),
]


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("flow", "wrong", "said"),
    [
        *((flow, *case) for flow in (uplift_run, uplift_tune) for case in [*OF_ANY, *OF_DATA]),
        *((uplift_backfill, *case) for case in [*OF_ANY, *OF_DATES]),
        (uplift_tune, {"budget_seconds": True}, "^budget_seconds: expected a number above 0"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_fitted(
    flow, wrong, said, settings, monkeypatch, tmp_path
):
    monkeypatch.setenv(places.DATA_ROOTS_VARIABLE, str(tmp_path))
    dates = {"from_date": "2026-01-01", "to_date": "2026-01-02"} if flow is uplift_backfill else {}
    changed = {
        key: {**settings.get(key, {}), **value} if isinstance(value, dict) else value
        for key, value in wrong.items()
    }
    with pytest.raises(InputError, match=said):
        flow(**{**settings, **dates, **changed})
    assert not list(Path().glob("runs/2*")) + list(Path().glob(".uplift/cache/*/*.fit"))


@pytest.mark.usefixtures("api")
def test_pruning_from_its_flow_deletes_as_the_command_does(run, settings):
    assert cache_prune(return_state=True).message == "No run has kept a fit here yet."
    fits = run(settings).fits["unique"]

    assert cache_prune(return_state=True).message.startswith("0 fits deleted, and of killed runs")
    gone = cache_prune(everything=True, return_state=True).message
    assert gone.startswith(f"{fits} fits deleted, and of killed runs 0 files")
    for wrong, said in (
        ({"storage": "nowhere"}, "^storage: expected a cache; found nothing at nowhere"),
        ({"older_than_days": -1}, "^older_than_days: expected a number greater than or equal to 0"),
        ({"everything": "yes"}, "^everything: expected true or false; found 'yes'"),
    ):
        with pytest.raises(InputError, match=said):
            cache_prune(**wrong)


def test_pruning_keeps_to_the_places_of_the_deployment(api, run, settings, monkeypatch, tmp_path):
    settings["cache"] = {"storage": str(tmp_path / "cache")}
    run(settings)
    monkeypatch.setenv(places.DATA_ROOTS_VARIABLE, str(tmp_path / "elsewhere"))
    with pytest.raises(InputError, match="which this deployment is limited to"):
        cache_prune(storage=str(tmp_path / "cache"), everything=True)


# A work pool


def test_no_worker_of_the_guide_makes_a_pool_in_which_a_run_may_name_its_command():
    starts = {
        "deployments/systemd/uplift-worker@.service": "prefect worker start",
        "deployments/container/Containerfile": '"prefect", "worker", "start"',
        "docs/server.md": "prefect worker start",
    }
    for file, start in starts.items():
        _, *starting = (REPOSITORY / file).read_text().split(start)
        assert starting, file
        assert all("--no-create-pool-if-not-found" in rest[:300] for rest in starting), file
    template = json.loads((REPOSITORY / "deployments/work_pool.json").read_text())
    assert template["variables"] == {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }


@pytest.fixture(scope="module")
def pool(api, tmp_path_factory):
    """A folder with data, in which prefect.yaml was deployed and a worker runs."""
    folder = tmp_path_factory.mktemp("pool")
    shutil.copytree(REPOSITORY / "data", folder / "data")
    for name in ("prefect.yaml", "deployments/work_pool.json"):
        shutil.copy(REPOSITORY / name, folder)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "UPLIFT_"))}
    environment |= {
        "PREFECT_API_URL": api,
        "PREFECT_HOME": str(folder / "home"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "NO_PROXY": "*",
    }

    def prefect(*arguments):
        command = [sys.executable, "-P", "-m", "prefect", *arguments]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    template = ("--base-job-template", "work_pool.json")
    prefect("work-pool", "create", "uplift", "--type", "process", *template)
    prefect("deploy", "--all")
    with (folder / "worker.log").open("w") as log:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "prefect", "worker", "start", "--pool", "uplift"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    yield folder
    worker.send_signal(signal.SIGINT)
    worker.wait(30)


def ask(api, path, content=None):
    answer = (
        httpx.get(f"{api}/{path}") if content is None else httpx.post(f"{api}/{path}", json=content)
    )
    return answer.json()


def start(api, name, **more):
    deployment = ask(api, f"deployments/name/{name}")
    return ask(api, f"deployments/{deployment['id']}/create_flow_run", more)


def ended(api, run, seconds=120):
    deadline = time.monotonic() + seconds
    while (found := ask(api, f"flow_runs/{run['id']}"))["state_type"] not in FINAL:
        assert time.monotonic() < deadline, found["state"]
        time.sleep(0.5)
    return found


@pytest.mark.slow
def test_prefect_deploy_makes_the_deployments_of_uplift_serve_and_a_worker_runs_them(api, pool):
    found = deployed(ask(api, "deployments/filter", {}))
    assert found == served()

    runs = [start(api, "uplift-run/uplift-run"), start(api, "uplift-run/uplift-run")]
    first, second = sorted((ended(api, run) for run in runs), key=lambda run: run["start_time"])
    assert (first["state_type"], second["state_type"]) == ("COMPLETED", "COMPLETED")
    assert first["end_time"] < second["start_time"]  # they collided, and the later one waited
    states = ask(api, f"flow_run_states/?flow_run_id={second['id']}")
    assert "AwaitingConcurrencySlot" in {state["name"] for state in states}
    fits = [
        json.loads(next(pool.glob(f"runs/*-{run['name']}/summary.json")).read_text())["fits"]
        for run in (first, second)
    ]
    assert fits[0]["executed"] == fits[1]["reused"] == fits[0]["unique"]


@pytest.mark.slow
def test_a_run_of_the_pool_stays_in_the_folder_of_its_worker(api, pool):
    data = ask(api, "deployments/name/uplift-run/uplift-run")["parameters"]["data"]
    run = start(api, "uplift-run/uplift-run", parameters={"data": data | {"source": "/etc/passwd"}})
    state = ended(api, run)["state"]
    assert state["type"] == "FAILED"
    assert "which this deployment is limited to; found '/etc/passwd'" in state["message"]
    for name, value in {"env": {"UPLIFT_DATA_ROOTS": "/"}, "working_dir": "/"}.items():
        assert "detail" in start(api, "uplift-run/uplift-run", job_variables={name: value})
