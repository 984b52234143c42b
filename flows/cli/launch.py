"""Starts a run or a tuning in this process, or the server with its deployments."""

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flows.config.files import is_full
from flows.config.reading import ConfigError, load_config
from flows.config.sections import Config
from flows.errors import InputError
from flows.messages.output import say
from flows.runs import interrupted, record_failure
from flows.server import environment, prefect_patches
from flows.server.connection import answers, connect, ui_address, wait_for
from flows.server.environment import STATE_FOLDER, state_folder
from flows.server.running import mark_crashed, mark_crashed_soon
from metalearners.cache.file_locks import open_lock, try_lock

_RECORDING_SECONDS = 2.0  # task runs reach the server in batches, one a second

if TYPE_CHECKING:
    from flows.inputs.study import Study


def launch(
    path: Path, changes: Iterable[str], output: str | None, refresh: bool, quiet: bool = False
) -> Path:
    """Run a config.

    Returns
    -------
    Path
        The run's folder.

    Raises InputError if the config or the data are wrong; nothing was fitted.
    """
    config = config_of(path, changes, output)
    try:
        return _run(config, "flows.uplift", quiet, refresh=refresh)
    except BaseException as error:
        if not interrupted(error):
            record_failure(config.output, error)
        raise


def config_of(path: Path, changes: Iterable[str] = (), output: str | None = None) -> Config:
    """A config; the faults of its data too where it is refused."""
    try:
        return load_config(path, changes, output)
    except ConfigError as refused:
        from flows.loading import told_with_data  # slow, as it reads data

        raise told_with_data(refused) from None


def launch_tune(
    path: Path, changes: Iterable[str], budget_seconds: float, quiet: bool = False
) -> Path:
    """Measure how the fits of a config use the cores best, as `launch`; the profile's file."""
    config = config_of(path, changes)
    return _run(config, "flows.tune", quiet, budget_seconds=budget_seconds)


def _run(config: Config, module: str, quiet: bool, **arguments: Any) -> Path:
    """Run a flow on a config; a new server starts while its data are loaded and checked."""
    with _full_disk_named(config):
        environment.prepare()
        environment.prepare_children()
        with ThreadPoolExecutor(1) as aside:
            address = aside.submit(connect)
            import flows.report.page  # noqa: F401 - slow, so before the clock of a run starts
            from flows.loading import prepare

            prepared = prepare(config)
        if not quiet:
            _warn(config, prepared.study)
        try:
            prepared.waited = _wait_for_server(address.result(), module, quiet)
            run = import_module(module).with_study(prepared, **arguments)
            return Path(run(**parameters(config), **arguments))
        except BaseException as error:
            if interrupted(error):
                _report_interruption()
            raise


@contextlib.contextmanager
def _full_disk_named(config: Config) -> Iterator[None]:
    """Raise an error that names the full disk where that made a server, client or file fail."""
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


def _warn(config: Config, study: "Study") -> None:
    from flows.fitting.profiles import find_profile

    problem = find_profile(study).problem if config.parallelism == "auto" else ""
    for warning in filter(None, [*study.warnings, problem]):
        say(f"Warning: {warning}")


def _report_interruption() -> None:
    """Tell the server how an interrupted run ended, as far as a few seconds allow."""
    if "prefect.events.worker" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=1)
    APILogWorker.drain_all(timeout=1)
    mark_crashed_soon(state_folder(), os.environ["PREFECT_API_URL"], _RECORDING_SECONDS)


def _wait_for_server(address: str, module: str, quiet: bool) -> float:
    """Seconds until the server at an address was ready, a flow's module imported meanwhile."""
    begun = time.perf_counter()
    ready = answers(address)
    # The command prints errors once, in our words; the server keeps Prefect's logs for the UI.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    import_module(module)  # with Prefect, which reads its settings when it is imported
    if not ready:
        wait_for(address, quiet)
    mark_crashed(state_folder(), address)
    return 0.0 if ready else time.perf_counter() - begun


def parameters(config: Config) -> dict[str, object]:
    """A config as the arguments of the parent flow."""
    return {name: getattr(config, name) for name in Config.model_fields}


def serve_deployments(port: int, configs: Sequence[Path] = (), schedules: bool = False) -> None:
    """Bring up server and UI, and serve the deployments, of configs too, until interrupted.

    Runs of the deployments may read and write in the working folder only, unless the environment
    names other places.
    """
    from flows.inputs.places import DATA_ROOTS_VARIABLE

    named = _by_name(configs)
    environment.prepare()
    environment.prepare_children()
    os.environ.setdefault(DATA_ROOTS_VARIABLE, str(Path.cwd()))
    # Two would end badly: the first to end pauses the deployments of both.
    if not try_lock(open_lock(state_folder() / "serve.lock")):  # until the process ends
        raise InputError(
            "Expected no other `uplift serve` in this folder; one is running. Use its UI."
        )
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
    served = deployments(named, schedules)
    print(f"UI: {ui_address(api)}  (state in {state_folder()}; Ctrl-C ends it)")
    print("Runs on demand: from the UI, or with the command")
    for each in served:
        print(f"  PREFECT_API_URL={api} prefect deployment run {each.full_name}")
    sys.stdout.flush()
    serve(*served, limit=1, print_starting_message=False)


def _by_name(configs: Sequence[Path]) -> dict[str, Config]:
    """Configs by their files' names, which name deployments; an InputError where two are one."""
    named: dict[str, Config] = {}
    for path in configs:
        if path.stem in (*named, "uplift-run", "uplift-tune"):
            raise InputError(
                f"Expected configs whose file names differ, as they name deployments; found "
                f"{path.stem!r} again in {path}. Rename the file."
            )
        named[path.stem] = load_config(path)
    return named
