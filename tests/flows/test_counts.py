"""What a run costs, in counts that no machine changes: fits, reads, requests, events."""

import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_CLIENT_CSRF_SUPPORT_ENABLED
from websockets.asyncio.client import ClientConnection

from flows.config.reading import parse_config
from flows.inputs.study import load_study
from flows.launch.start import launch
from flows.runs import artifacts
from flows.server import cancellation
from tests.conftest import Ran, small_frame, small_settings
from tests.counting import count_lightgbm
from tests.flows.test_flows import FIVE

N, FOLDS = 600, 5
USED = {"a", "b", "c", "w", "y"}
# Stages are sub-flows: nuisances of five learners and of evaluation, second stages of X, R and DR.
STAGES = 6 + 3
# Tasks of these stages, in that order: the 53 units, and those again that several stages need.
TASKS = sum((6, 12, 16, 10, 15, 15)) + sum((12, 6, 6))
IDENTITY = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# Measured with Prefect 3.9.1. Its engine registers the flow and the run, sets two states and reads
# the run again. A sub-flow also has a task run in its parent, and a look for an earlier try.
OF_A_STAGE = Counter(
    {
        "POST /flows/": 1,
        "POST /task_runs/": 1,
        "POST /flow_runs/filter": 1,
        "POST /flow_runs/": 1,
        "PATCH /flow_runs/ID": 1,
        "GET /flow_runs/ID": 1,
        "POST /flow_runs/ID/set_state": 2,
    }
)
# Our page has a bar, a table of stages, one of effects, and the report. The bar ends, and the
# table changes twice. The first run of a process asks for the server's version, and for its two
# flows, whose names are in each event.
OF_A_RUN = Counter(
    {
        "GET /admin/version": 2,
        "GET /admin/storage": 2,
        "POST /flows/": 1,
        "GET /flows/ID": 2,
        "POST /flow_runs/": 1,
        "GET /flow_runs/ID": 2,
        "POST /flow_runs/ID/set_state": 2,
        "POST /artifacts/": 6,
        "PATCH /artifacts/ID": 3,
    }
)
# A line for the end of each task, for the beginning and the end of each stage, and ten of the run.
LOG_LINES = TASKS + 2 * STAGES + 10
# Sent from time to time, or until the server answers, so that their number depends on the machine.
TIMED = {"POST /logs/", "GET /health", "prefect.flow-run.heartbeat"}


def count_requests(patch):
    """Requests that any client of this process sends, and their content."""
    requests, send = [], httpx.HTTPTransport.handle_request
    send_async = httpx.AsyncHTTPTransport.handle_async_request

    def note(request):
        path = IDENTITY.sub("ID", request.url.path.removeprefix("/api"))
        requests.append((f"{request.method} {path}", request.content))

    def counted(transport, request):
        note(request)
        return send(transport, request)

    async def counted_async(transport, request):
        note(request)
        return await send_async(transport, request)

    patch.setattr(httpx.HTTPTransport, "handle_request", counted)
    patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", counted_async)
    return requests


def count_events(patch):
    """Names of the events that this process sends."""
    events, send = [], ClientConnection.send

    async def counted(connection, message, *arguments, **more):
        events.append(json.loads(message).get("event", "none"))
        return await send(connection, message, *arguments, **more)

    patch.setattr(ClientConnection, "send", counted)
    return events


def count_columns(patch):
    """Names of the columns that are read from Parquet files."""
    columns, read = [], pyarrow.parquet.ParquetFile.read

    def counted(file, names=None, **more):
        columns.extend(file.schema_arrow.names if names is None else names)
        return read(file, names, **more)

    patch.setattr(pyarrow.parquet.ParquetFile, "read", counted)
    return columns


def all_sent():
    """Wait until the server has all events and log lines."""
    EventsWorker.drain_all()
    APILogWorker.drain_all()


def counted_run(config):
    """A run as the command does it, and what it took."""
    with pytest.MonkeyPatch.context() as patch:
        all_sent()
        patch.setattr(artifacts, "_EVERY_SECONDS", 3600)  # the page's bar moves at the end
        patch.setattr(cancellation, "_POLL_SECONDS", 3600)
        took = SimpleNamespace(
            columns=count_columns(patch),
            lightgbm=count_lightgbm(patch),
            requests=count_requests(patch),
            events=count_events(patch),
        )
        took.summary = Ran(launch(config, refresh=False, quiet=True)).summary
        all_sent()
    return took


@pytest.fixture(scope="module")
def runs(api, tmp_path_factory):
    """A run of five learners, and the same again; the file has columns that nobody needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        small_frame().assign(spare=1.0, other="text").to_parquet("data.parquet")
        settings = small_settings() | {"learners": FIVE}
        settings["data"]["features"] = ["a", "b", "c"]
        settings["evaluation"] = {"holdout": 0, "bootstrap": 0}
        config = parse_config(settings)
        return counted_run(config), counted_run(config)


def test_a_run_fits_each_unit_once_and_a_second_run_none(runs):
    first, second = runs
    # mu_0 and mu_1, e, the S-learner's model, two effects of X, one of R and of DR; R's m has no
    # model of all rows.
    units = (2 + 1 + 1 + 2 + 1 + 1) * (FOLDS + 1) + FOLDS

    assert len(first.lightgbm.fits) == len(set(first.lightgbm.fits)) == units
    assert first.summary["fits"]["executed"] == units
    assert second.lightgbm.fits == []


def test_a_run_bins_its_features_once_without_the_arm_and_once_with_it(runs):
    first, second = runs

    assert sorted(first.lightgbm.binned) == [(N, 3), (N, 4)]
    assert second.lightgbm.binned == []


def test_a_run_predicts_each_row_once_and_a_second_run_only_what_drives_effects(runs):
    first, second = runs
    # As the units, without R's m: the S-learner's models predict at both arms.
    out_of_fold = N * (2 + 1 + 2 + 2 + 1 + 1 + 1)
    # Rows as they are, and with each of three features shuffled. S, T, X, R and DR need so many
    # predictions for an effect.
    drivers = 500 * (1 + 3) * (2 + 2 + 3 + 1 + 1)

    assert first.lightgbm.n_predicted == out_of_fold + drivers
    assert second.lightgbm.n_predicted == drivers


def test_a_run_reads_each_column_that_it_uses_once(runs):
    for run in runs:
        assert sorted(run.columns) == sorted(USED)


def test_requests_of_a_run_grow_with_its_stages_and_not_with_its_fits(runs):
    """Events have one connection, and log lines come in batches."""
    allowed = OF_A_RUN.copy()
    for _ in range(STAGES):
        allowed.update(OF_A_STAGE)
    # Tests import Prefect before they connect, and its clients then ask for tokens: one each.
    tokens = PREFECT_CLIENT_CSRF_SUPPORT_ENABLED.value()
    allowed["GET /csrf-token"] = STAGES + 2 if tokens else 0
    for run in runs:
        sent = Counter(what for what, _ in run.requests if what not in TIMED)
        assert sent - allowed == {}  # no more of any kind
        allowed["POST /artifacts/"] += 1  # a second run of a name shows the history
        lines = [json.loads(content) for what, content in run.requests if what == "POST /logs/"]
        assert 0 < sum(map(len, lines)) <= LOG_LINES


def test_a_task_sends_three_events_and_a_second_run_finds_all_fits(runs):
    first, second = runs
    fits = first.summary["fits"]
    begun = {"prefect.task-run.Pending": TASKS, "prefect.task-run.Running": TASKS}
    ended = {
        "prefect.task-run.Completed": fits["unique"],
        "prefect.task-run.Cached": TASKS - fits["unique"],
    }

    assert fits["planned"] == TASKS
    for run, end in (first, ended), (second, {"prefect.task-run.Cached": TASKS}):
        sent = Counter(run.events)
        of_tasks = {name: n for name, n in sent.items() if name.startswith("prefect.task-run.")}
        assert of_tasks == begun | end
        page = Counter(what for what, _ in run.requests if "/artifacts/" in what)
        assert sent["prefect.artifact.created"] == page["POST /artifacts/"]
        assert sent["prefect.artifact.updated"] == page["PATCH /artifacts/ID"]
        others = {"none", "prefect.artifact.created", "prefect.artifact.updated", *TIMED}
        assert set(sent) <= {*of_tasks, *others}


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts reads as Linux does")
def test_of_a_wide_file_only_the_columns_in_use_are_read(settings):
    n, spare = 20_000, 60
    rng = np.random.default_rng(0)
    wide = pd.DataFrame(rng.normal(size=(n, 3 + spare))).rename(columns="x{}".format)
    wide["w"], wide["y"] = np.arange(n) % 2, wide["x0"] + rng.normal(size=n)
    wide.to_parquet("data.parquet", compression="none", use_dictionary=False)
    settings["data"]["features"] = ["x0", "x1", "x2"]
    config = parse_config(settings)
    load_study(config)  # which imports modules
    before = bytes_read()
    load_study(config)

    used = n * 8 * 5
    footer = 2**16  # the end of the file, read once for the names of its columns
    assert used <= bytes_read() - before <= used + footer + 2**15
    assert Path("data.parquet").stat().st_size > 10 * used


def bytes_read():
    """Bytes that this process has read, from the page cache too."""
    return int(Path("/proc/self/io").read_text().split()[1])
