"""The `uplift` command: from arguments to an exit status; other modules do the work."""

import atexit
import contextlib
import json
import logging
import os
import signal
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from flows.config.files import check_file, read_json, write_json
from flows.config.names import LATEST
from flows.errors import InputError
from flows.launch.display import progress_display
from flows.messages import progress
from flows.messages.output import check_output, make_lossy, say, show
from flows.messages.secrets import without_secrets
from flows.runs import (
    cache_warning,
    find_run,
    find_summary,
    interrupted,
    link_of,
    list_runs,
    outcome_lines,
)
from flows.server import environment, interruption
from metalearners.cache.regular_files import write_whole

DEFAULT_OUTPUT = "runs"
DEFAULT_CACHE = ".uplift/cache"

app = typer.Typer(
    name="uplift",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Estimate whom a treatment helps, and by how much.",
)
runs_app = typer.Typer(no_args_is_help=True, help="List and show past runs, and sign their models.")
app.add_typer(runs_app, name="runs")
cache_app = typer.Typer(no_args_is_help=True, help="List, verify and prune the kept fits.")
app.add_typer(cache_app, name="cache")

ConfigFile = Annotated[Path, typer.Argument(help="A config, or a finished run's config.yaml.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a key: key.path=value, with a value in YAML; repeatable."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors alone.")]
_WHICH_RUN = "A run's name or a part of it, a config's name, a folder, or latest."
RunName = Annotated[str, typer.Argument(metavar="RUN", help=_WHICH_RUN)]
RunsFolder = Annotated[Path, typer.Option("--output", help="Folder of all runs.")]
CachePlace = Annotated[str, typer.Option("--storage", help="Folder or fsspec URL of the fits.")]


def main() -> None:
    """Run the command and end the process with its exit status."""
    make_lossy()
    environment.prepare_children()
    signal.signal(signal.SIGTERM, _terminate)
    warnings.showwarning = _show_warning  # type: ignore[assignment] # always called by position
    status = 1

    def end() -> None:
        logging.shutdown()
        interruption.end_process(status)

    # Registered first, so that it runs last: Python's own clean-up takes most of a second.
    atexit.register(end)
    try:
        app()
    except SystemExit as error:
        if interruption.begun.is_set():
            interruption.end_process(130)
        status = int(error.code or 0)
        raise


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object
) -> None:
    """Print a warning; one of another package with the line of code that it is about."""
    package = Path(__file__).parents[2]
    own = any(Path(filename).is_relative_to(package / name) for name in ("flows", "metalearners"))
    other = warnings.formatwarning(message, category, filename, lineno)
    say(f"Warning: {message}" if own else other)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"uplift-flows {version('uplift-flows')}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_show_version
        ),
    ] = False,
) -> None:
    pass


@app.command()
def run(
    config: ConfigFile,
    changes: Changes = None,
    output: Annotated[str | None, typer.Option(help="Folder of all runs.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write summary.json to this file too.")
    ] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ignore cached fits.")] = False,
    quiet: Quiet = False,
) -> None:
    """Run uplift learners once: fit, evaluate, report, store the model."""
    kept = "Finished fits are kept: the same command goes on from there."
    with _exit_status(json_file, kept), interruption.handled():
        if json_file is not None:
            check_file(json_file, "--json")
        folder = _run(config, changes, output, refresh, quiet)
        if json_file is not None:
            write_json(json_file, read_json(folder / "summary.json"))


@app.command()
def tune(
    config: ConfigFile,
    changes: Changes = None,
    budget: Annotated[float, typer.Option(help="Seconds that measuring may take.", min=1)] = 120,
    output: Annotated[Path | None, typer.Option(help="Write the plot here too, as PNG.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the measurements to this file too.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Measure which parallel setting is fastest for a config; later runs like it use that one."""
    with _exit_status(json_file, kept="Nothing was kept."), interruption.handled():
        from flows.launch.display import settings_table
        from flows.launch.start import config_of, launch_tune

        for file, option in ((json_file, "--json"), (output, "--output")):
            if file is not None:
                check_file(file, option)
        with progress_display(quiet):
            profile = launch_tune(config_of(config, changes or []), budget, quiet)
        found = read_json(profile)
        if json_file is not None:
            write_json(json_file, {"status": "done", "profile": str(profile), **found})
        if output is not None:
            write_whole(output, profile.with_suffix(".png").read_bytes())
        if not quiet:
            settings_table(found)
            show(f"Runs of this shape with `parallelism: auto` take the first: {profile}")


@app.command()
def score(
    model: Annotated[str, typer.Option(help=_WHICH_RUN)],
    input: Annotated[str, typer.Option(help="Rows to score: a file, a folder, a glob or a URL.")],
    output: Annotated[Path, typer.Option(help="A .parquet, .csv, .feather or .jsonl file.")],
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse levels and strata that the model hasn't seen.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Estimate the effects for new rows with a stored model."""
    with _exit_status():
        with progress_display(quiet):
            progress.begin("score")
            from flows.scoring import score_file

            folder = find_run(model, Path(DEFAULT_OUTPUT)) / "model"
            n_rows = score_file(folder, input, output, strict)
        if not quiet:
            show(f"{n_rows:,} rows scored: {output}")


@app.command()
def init(
    data: Annotated[str, typer.Argument(help="CSV, Parquet, Feather or JSON lines.")],
    output: Annotated[Path, typer.Option(help="Config to write.")] = Path("uplift.yaml"),
    and_run: Annotated[bool, typer.Option("--run", help="Run the config too.")] = False,
    treatment: Annotated[str | None, typer.Option(help="Its column, not to be guessed.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Its column, not to be guessed.")] = None,
    control: Annotated[str | None, typer.Option(help="Its label, not to be guessed.")] = None,
) -> None:
    """Guess the roles of columns and write a commented config; never overwrites."""
    kept = f"Finished fits are kept for: uplift run {output}" if and_run else ""
    with _exit_status(kept=kept), interruption.handled():
        with progress_display(quiet=False):
            progress.begin("init")
            from flows.cli.init import told, write_config

            given = {"treatment": treatment, "outcome": outcome, "control": control}
            roles = write_config(data, output, given, sure=and_run)
        if not and_run:
            show(f"{output} written. Check the roles it guessed, then: uplift run {output}")
            show(f"  {told(roles)}")
            return
        say(f"{output} written. The run takes the roles that it guessed; check them:")
        say(f"  {told(roles)}")
        _run(output)


@app.command()
def serve(
    configs: Annotated[
        list[Path] | None, typer.Argument(metavar="[CONFIG]...", help="Configs to serve too.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port of server and UI.", min=1, max=65535)] = 4200,
    schedules: Annotated[
        bool, typer.Option("--schedules", help="Run the bundled example daily at 5:00 UTC.")
    ] = False,
) -> None:
    """Start the server, the UI and the deployments on loopback."""
    with _exit_status():
        from flows.launch.start import serve_deployments

        serve_deployments(port, configs or [], schedules)


# The contract names this command, which isn't built yet.
@app.command(
    hidden=True, context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
)
def compare() -> None:
    """Not available yet."""
    _end(2, "`uplift compare` is not available yet.")


@cache_app.command("list")
def cache_list(
    storage: CachePlace = DEFAULT_CACHE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the kept fits, oldest first, and how often runs reused them."""
    with _exit_status(prints=True):
        from flows.fitting.cache import entry_facts, list_entries, open_existing
        from flows.launch.display import cache_table

        entries = list_entries(open_existing(storage))
        if as_json:
            print(json.dumps([entry_facts(entry) for entry in entries], indent=2))
        else:
            cache_table(entries)


@cache_app.command("verify")
def cache_verify(storage: CachePlace = DEFAULT_CACHE) -> None:
    """Check that every kept fit is whole; if one isn't, the exit status is 1."""
    with _exit_status(prints=True):
        from flows.fitting.cache import damaged_entries, open_existing
        from flows.launch.display import cache_table

        damaged = damaged_entries(open_existing(storage))
        if not damaged:
            print("Every fit is whole.")
            return
        print("Damaged, or not signed with this key; runs fit these again:")
        cache_table(damaged)
        raise typer.Exit(1)


@cache_app.command("prune")
def cache_prune(
    storage: CachePlace = DEFAULT_CACHE,
    older_than: Annotated[
        float | None, typer.Option(help="Delete fits older than so many days.", min=0)
    ] = None,
    damaged: Annotated[bool, typer.Option("--damaged", help="Delete damaged fits.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Delete all fits.")] = False,
) -> None:
    """Delete what killed runs left, and the fits that an option names."""
    with _exit_status():
        from rich.filesize import decimal

        from flows.fitting.cache import open_existing, prune

        gone = prune(open_existing(storage), older_than, damaged, everything)
        print(
            f"{gone.fits} fits deleted, and of killed runs {gone.files} files and {gone.folders} "
            f"folders of inputs: {decimal(gone.size)} freed"
        )


@runs_app.command("list")
def runs_list(output: RunsFolder = Path(DEFAULT_OUTPUT)) -> None:
    """List past runs, oldest first."""
    with _exit_status(prints=True):
        from flows.launch.display import runs_table

        runs_table(list_runs(output))


@runs_app.command("show")
def runs_show(name: RunName, output: RunsFolder = Path(DEFAULT_OUTPUT)) -> None:
    """Show a run's figures as JSON."""
    with _exit_status(prints=True):
        print(json.dumps(find_summary(name, output), indent=2))


@runs_app.command("sign")
def runs_sign(name: RunName, output: RunsFolder = Path(DEFAULT_OUTPUT)) -> None:
    """Sign a run's model with UPLIFT_CACHE_KEY. Models are code: know who made it."""
    with _exit_status():
        from flows.scoring import sign_model

        folder = find_run(name, output) / "model"
        sign_model(folder)
        print(f"{folder} is signed: `uplift score` with this key takes it.")


@contextlib.contextmanager
def _exit_status(
    json_file: Path | None = None,
    kept: str = "",
    prints: bool = False,
) -> Iterator[None]:
    """End with 2 for wrong input, 1 for a failure, 130 for an interruption; no traceback.

    The error of a failure goes to a JSON file too. A command that is there to print (`prints`)
    fails where standard output does.
    """
    try:
        yield
        if prints:
            check_output()
    except typer.Exit:
        raise
    except InputError as error:
        _end(2, str(error))
    except BaseException as error:
        if interrupted(error):
            _end(130, f"interrupted. {kept}".rstrip())
        if not isinstance(error, Exception):
            raise
        if json_file is not None:
            # A run that had begun left its record with the error that ended it.
            record = {"status": "failed", "error": without_secrets(str(error))}
            with contextlib.suppress(OSError):  # a full disk may be what failed
                write_json(json_file, getattr(error, "run_record", record))
        if os.environ.get("UPLIFT_TRACEBACK"):
            raise
        said = str(error).rstrip(".") or type(error).__name__
        _end(1, f"failed: {said}. UPLIFT_TRACEBACK=1 shows where.")


def _end(status: int, message: str) -> NoReturn:
    say(f"uplift: {without_secrets(message)}")
    raise typer.Exit(status)


def _terminate(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def _run(
    config: Path,
    changes: list[str] | None = None,
    output: str | None = None,
    refresh: bool = False,
    quiet: bool = False,
) -> Path:
    """Run a config and show how it ended; its folder."""
    from flows.launch.start import config_of, launch

    with progress_display(quiet):
        folder = launch(config_of(config, changes or [], output), refresh, quiet)
    if not quiet:
        _show_end(folder)
    return folder


def _show_end(folder: Path) -> None:
    summary = read_json(folder / "summary.json")
    show("\n".join(outcome_lines(summary)))
    warning = cache_warning(summary["cache"])
    if warning:
        say(f"Warning: {warning}")
    links = [folder.parent / LATEST, link_of(summary["name"], folder.parent)]
    # One that couldn't be moved shows an earlier run; others move to a run that ended since.
    moved = " and ".join(str(link) for link in links if link.resolve() == folder.resolve())
    show(f"  {f'the same through {moved}; ' if moved else ''}server and UI: uplift serve")
