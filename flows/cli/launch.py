"""Starts things: a run in this process, or the server with its deployments."""

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flows.config.files import is_full
from flows.config.reading import load_config
from flows.config.sections import Config
from flows.errors import InputError
from flows.messages.output import say
from flows.runs import interrupted, record_failure
from flows.server import environment, prefect_patches
from flows.server.connection import answers, connect, ui_address, wait_for
from flows.server.environment import STATE_FOLDER, state_folder
from flows.server.running import mark_crashed, mark_crashed_soon

_SETTLE_SECONDS = 2.0  # task runs reach the server in batches, one a second

if TYPE_CHECKING:
    from flows.inputs.study import Study
    from flows.loading import Prepared


def launch(
    path: Path, changes: Iterable[str], output: str | None, refresh: bool, quiet: bool = False
) -> Path:
    """Run a config: its data are loaded and checked while a new server starts.

    Returns
    -------
    The run's folder

    Raises
    ------
    InputError
        If the config or the data are wrong; nothing was fitted then.
    """
    config = load_config(path, changes, output)
    try:
        with _full_disk_named(config), _ready(config, "flows.uplift", quiet) as prepared:
            from flows.uplift import run_prepared

            run = run_prepared(prepared, refresh)
            return Path(run(**parameters(config), refresh=refresh))
    except BaseException as error:
        if not interrupted(error):
            record_failure(config.output, error)
        raise


def launch_tune(
    path: Path, changes: Iterable[str], budget_seconds: float, quiet: bool = False
) -> Path:
    """Measure how the fits of a config are spread best.

    Returns
    -------
    The profile's file

    Raises
    ------
    InputError
        If the config or the data are wrong; nothing was fitted then.
    """
    config = load_config(path, changes)
    with _full_disk_named(config), _ready(config, "flows.tune", quiet) as prepared:
        from flows.tune import tune_prepared

        tune = tune_prepared(prepared, budget_seconds)
        return Path(tune(**parameters(config), budget_seconds=budget_seconds))


@contextlib.contextmanager
def _full_disk_named(config: Config) -> Iterator[None]:
    """Name a full disk as the cause of what failed by it: the server, its client, or a file."""
    try:
        yield
    except Exception as error:
        full = next(filter(is_full, (Path(STATE_FOLDER).resolve(), Path(config.output))), None)
        if full is None or isinstance(error, InputError) or interrupted(error):
            raise
        message = f"no space is left for {full}. Free some, and the same command goes on from there"
        named = OSError(message)
        if hasattr(error, "run_record"):
            named.run_record = {**error.run_record, "error": message}  # type: ignore[attr-defined]
        raise named from error


@contextlib.contextmanager
def _ready(config: Config, module: str, quiet: bool) -> Iterator["Prepared"]:
    """A config's study, with a server and a flow's module ready for it.

    The server knows how the run ended.
    """
    environment.prepare()
    environment.prepare_children()
    with ThreadPoolExecutor(1) as aside:  # a new server starts while this imports and reads data
        address = aside.submit(connect)
        import flows.report.page  # noqa: F401 - takes a while, so before the clock of a run starts
        from flows.loading import prepare

        prepared = prepare(config)
    if not quiet:
        _warn(config, prepared.study)
    try:
        prepared.waited = _wait_for_server(address.result(), module, quiet)
        yield prepared
    except BaseException as error:
        if interrupted(error):
            settle()
        raise


def _warn(config: Config, study: "Study") -> None:
    from flows.fitting.profiles import find_profile

    problem = find_profile(study).problem if config.parallelism == "auto" else ""
    for warning in filter(None, [*study.warnings, problem]):
        say(f"Warning: {warning}")


def settle() -> None:
    """Have the server know what became of an interrupted run, as far as a few seconds allow."""
    if "prefect.events.worker" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=1)
    APILogWorker.drain_all(timeout=1)
    mark_crashed_soon(state_folder(), os.environ["PREFECT_API_URL"], _SETTLE_SECONDS)


def _wait_for_server(address: str, module: str, quiet: bool) -> float:
    """Seconds until the server at an address was ready, a flow's module imported meanwhile."""
    begun = time.perf_counter()
    ready = answers(address)
    # Errors are told once, in our words; the server keeps Prefect's logs for the UI.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    import_module(module)  # with Prefect, which reads its settings when it is imported
    if not ready:
        wait_for(address, quiet)
    mark_crashed(state_folder(), address)
    return 0.0 if ready else time.perf_counter() - begun


def parameters(config: Config) -> dict[str, object]:
    """A config as arguments of the parent flow."""
    return {name: getattr(config, name) for name in Config.model_fields}


def serve_deployments(port: int) -> None:
    """Bring up server and UI, and serve the deployments until interrupted.

    Runs triggered here may read and write in the working folder only, unless the environment
    names other places.
    """
    from flows.inputs.source import DATA_ROOTS_VARIABLE

    environment.prepare()
    environment.prepare_children()
    os.environ.setdefault(DATA_ROOTS_VARIABLE, str(Path.cwd()))
    with _only_one():
        api = connect(port)
        if urlsplit(api).port != port:
            raise InputError(
                f"Expected to serve at port {port}; this folder's server, or that which "
                f"PREFECT_API_URL names, is at {ui_address(api)} already. Wait for the run that "
                "uses it, or name its port."
            )
        wait_for(api)
        mark_crashed(state_folder(), api)
        from prefect import serve

        from deployments.uplift import deployments

        prefect_patches.apply("serve")
        served = deployments()
        print(f"UI: {ui_address(api)}  (state in {state_folder()}; Ctrl-C ends it)")
        print("Runs on demand: from the UI, or with the command")
        for each in served:
            print(f"  PREFECT_API_URL={api} prefect deployment run {each.full_name}")
        sys.stdout.flush()
        serve(*served, limit=1, print_starting_message=False)


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Refuse a second `serve` in a folder: when one ends, it pauses the deployments of both."""
    with (state_folder() / "serve.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                "Expected no other `uplift serve` in this folder; one is running. Use its UI."
            ) from None
        yield
