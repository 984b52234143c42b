"""Starts a run or a tuning in this process, or the server with its deployments."""

import contextlib
import logging
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flows.config.files import is_full
from flows.config.reading import ConfigError, as_run, load_config
from flows.config.sections import Config
from flows.errors import InputError
from flows.messages import progress
from flows.messages.output import say
from flows.runs.records import interrupted, record_failure
from flows.server import environment, interruption, prefect_patches
from flows.server.connection import answers, connect, ui_address, wait_for
from flows.server.environment import STATE_FOLDER, state_folder
from flows.server.running import mark_crashed, mark_crashed_soon
from metalearners.files.file_locks import open_lock, try_lock

_RECORDING_SECONDS = 2.0  # task runs reach the server in batches, one a second

# Names of deployments that no config may have.
_BUNDLED = (
    *("uplift-run", "uplift-compare", "uplift-score", "uplift-tune", "uplift-backfill"),
    "cache-prune",
)

# Of the flow runs that this module starts, and their tasks: threads and tasks take contexts over.
_is_unheard: ContextVar[bool] = ContextVar("is_unheard", default=False)

if TYPE_CHECKING:
    from flows.inputs.study import Study


def launch(
    config: Config,
    refresh: bool,
    quiet: bool = False,
    frame: Any = None,
    comparing: bool = False,
) -> Path:
    """Run a config.

    Parameters
    ----------
    refresh : bool
        Whether to fit again what the cache has.
    quiet : bool
        Whether to print no warnings.
    frame : DataFrame, optional
        The rows, where they are in memory.
    comparing : bool
        Whether to fit its candidates too, and judge all.

    Returns
    -------
    Path
        The run's folder.

    Raises InputError if the config or the data are wrong; nothing was fitted.
    """
    module = "flows.comparing" if comparing else "flows.uplift"
    config = config.of_comparison() if comparing else as_run(config, _teller(quiet))
    try:
        return _run(config, module, quiet, frame, refresh=refresh)
    except BaseException as error:
        if not interrupted(error):
            record_failure(config, error)
        raise


def config_of(path: Path, changes: Iterable[str] = (), output: str | None = None) -> Config:
    """A config; the faults of its data too where it is refused."""
    with data_told():
        return load_config(path, changes, output)


@contextlib.contextmanager
def data_told(frame: Any = None) -> Iterator[None]:
    """Where a config is refused, tell the faults of its data too."""
    try:
        yield
    except ConfigError as refused:
        from flows.runs.loading import told_with_data  # slow, as it reads data

        raise told_with_data(refused, frame) from None


def launch_tune(config: Config, budget_seconds: float, quiet: bool = False) -> Path:
    """Measure how the fits of a config use the cores best, as `launch`; the profile's file."""
    config = as_run(config, _teller(quiet))
    return _run(config, "flows.tune", quiet, budget_seconds=budget_seconds)


def _teller(quiet: bool) -> Callable[[str], object]:
    """What tells a line of its own, unless quiet."""
    return (lambda line: None) if quiet else (lambda line: say(f"Note: {line}"))


def _run(config: Config, module: str, quiet: bool, frame: Any = None, **arguments: Any) -> Path:
    """Run a flow on a config; a new server starts while its data are loaded and checked."""
    interruption.begin_afresh()
    progress.begin("load")
    with _full_disk_named(config):
        environment.prepare()
        within = _within_another_flow()
        with ThreadPoolExecutor(1) as aside:
            address = aside.submit(lambda: None if within else connect())
            import flows.report.page  # noqa: F401 - slow, so before the clock of a run starts
            from flows.runs.loading import prepare

            prepared = prepare(config, frame)
            loaded = time.perf_counter()
        if not quiet:
            _warn(config, prepared.study)
        try:
            _wait_for_server(address.result(), module, quiet)
            prepared.waited = time.perf_counter() - loaded
            run = import_module(module).with_study(prepared, **arguments)
            with _prefect_unheard():
                return Path(run(**parameters(config), **arguments))
        except BaseException as error:
            if interrupted(error) and interruption.ends_process():
                _report_interruption()
            raise


def _within_another_flow() -> bool:
    """Whether a flow or a task of Prefect's makes this call; its server serves this run too."""
    context = sys.modules.get("prefect.context")
    if context is None:
        return False
    return bool(context.FlowRunContext.get() or context.TaskRunContext.get())


@contextlib.contextmanager
def _prefect_unheard() -> Iterator[None]:
    """Keep Prefect's log lines off the console; a run is told in our words, and the UI has them.

    Lines of a user's flows and tasks that run at the same time stay.
    """

    def is_other(record: logging.LogRecord) -> bool:
        of_a_run = hasattr(record, "flow_run_id") or hasattr(record, "task_run_id")
        users = of_a_run and not _is_unheard.get()
        return users or not record.name.startswith("prefect.")

    handlers = logging.getLogger().handlers
    consoles = [each for each in handlers if type(each).__module__.startswith("prefect.")]
    for console in consoles:
        console.addFilter(is_other)
    before = _is_unheard.set(True)
    try:
        yield
    finally:
        _is_unheard.reset(before)
        for console in consoles:
            console.removeFilter(is_other)


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


def _wait_for_server(address: str | None, module: str, quiet: bool) -> None:
    """Import a flow's module, until the server at an address is ready."""
    progress.begin("server")
    ready = address is None or answers(address)
    if interruption.ends_process():  # a command, where other packages' logs stay away too
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    import_module(module)  # with Prefect, which reads its settings when it is imported
    if address is not None and not ready:
        wait_for(address, quiet)
    else:
        progress.advance("server", 1, 1)
    if address is not None:
        mark_crashed(state_folder(), address)


def parameters(config: Config) -> dict[str, object]:
    """A config as the arguments of the parent flow."""
    return {name: getattr(config, name) for name in Config.model_fields}


def serve_deployments(port: int, configs: Sequence[Path] = (), schedules: bool = False) -> None:
    """Bring up server and UI, and serve the deployments, of configs too, until interrupted.

    Runs of the deployments may read and write in the working folder only, unless the environment
    names other places. A deployment of a config may read the config's own source too.
    """
    from flows.inputs.places import allow_own_sources, limit_to_working_folder

    named = _by_name(configs)
    environment.prepare()
    limit_to_working_folder()
    _check_served(named)
    api = _only_server(port)
    from prefect import serve

    from deployments.uplift import deployments

    prefect_patches.apply("serve")
    served = deployments(named, schedules)
    own = [each for each in served if each.name in named]
    allow_own_sources({str(each.apply()): named[each.name].data.asked_of for each in own})
    # The user's come first: the bundled example's data may not lie in this folder.
    told = sorted(served, key=lambda each: each.name not in named)
    _say_served(api, [each.full_name for each in told])
    serve(*served, limit=1, print_starting_message=False)


def _only_server(port: int) -> str:
    """The address of the server at a port, once no other process of the folder serves one."""
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
    return api


def _say_served(api: str, names: Sequence[str]) -> None:
    """Say how the UI is reached, and how a run of each deployment is started."""
    print(f"UI: {ui_address(api)}  (state in {state_folder()}; Ctrl-C ends it)")
    beside = Path(sys.executable).with_name("prefect")
    found = shutil.which("prefect") is not None or not beside.exists()
    prefect = "prefect" if found else shlex.quote(str(beside))
    print("Start a run in the UI, or with one of these commands:")
    for name in names:
        print(f"  PREFECT_API_URL={api} {prefect} deployment run {name}")
    sys.stdout.flush()


def _check_served(named: Mapping[str, Config]) -> None:
    """Refuse configs whose runs would be refused, as only the UI shows those."""
    from deployments.uplift import schedule_of
    from flows.inputs.places import check_allowed
    from flows.inputs.source import IN_MEMORY

    for name, config in named.items():
        if config.data.source == IN_MEMORY:
            raise InputError(
                f"{name}: data.source: expected a place of data; the config is of a run on "
                f"{IN_MEMORY}. Write its rows to a file and name that."
            )
        if config.date is not None:
            raise InputError(
                f"{name}: date: expected none, as each run has the time for which it is scheduled; "
                f"found {config.date}. Leave it out, or use `uplift backfill`."
            )
        try:
            schedule_of(config)
        except ValueError as error:
            raise InputError(f"{name}: schedule.cron: {error}") from None
        kept = [config.cache.storage] if config.cache.enabled else []
        for place in (config.output, *kept, *config.registry.limited):
            try:
                check_allowed(place)
            except InputError as error:
                raise InputError(f"{name}: {error}") from None


def _by_name(configs: Sequence[Path]) -> dict[str, Config]:
    """Configs by their names, which name deployments too; an InputError where two are one."""
    named: dict[str, Config] = {}
    for path in configs:
        config = load_config(path)
        if config.name in (*named, *_BUNDLED):
            raise InputError(
                f"Expected configs whose names differ, as they name deployments; found "
                f"{config.name!r} again in {path}. Give it another `name:`."
            )
        named[config.name] = config
    return named
