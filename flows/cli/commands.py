"""The `uplift` command: from arguments to an exit status; other modules do the work."""

import atexit
import logging
import signal
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from flows.cli.cache_commands import cache_app
from flows.cli.exits import end, exit_status
from flows.cli.models_commands import models_app
from flows.cli.options import (
    WHICH_MODEL,
    AllRuns,
    CachePlace,
    Changes,
    ConfigFile,
    LogicalDate,
    Quiet,
    Refresh,
    RunsFolder,
    SummaryFile,
    dated,
)
from flows.cli.runs_commands import runs_app
from flows.config.files import check_file, read_json, write_json
from flows.config.names import CHAMPION, DEFAULT_CACHE, DEFAULT_OUTPUT, DEFAULT_REGISTRY, LATEST
from flows.launch.display import comparison_table, progress_display
from flows.messages import progress
from flows.messages.outcome import by_outcome, cache_warning, outcome_lines, registry_warning
from flows.messages.output import make_lossy, say, show
from flows.runs.records import link_of
from flows.server import environment, interruption
from metalearners.files.regular_files import write_whole

app = typer.Typer(
    name="uplift",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Estimate whom a treatment helps, and by how much.",
)
app.add_typer(runs_app, name="runs")
app.add_typer(cache_app, name="cache")
app.add_typer(models_app, name="models")


def main() -> None:
    """Run the command and end the process with its exit status."""
    make_lossy()
    environment.prepare_children()
    signal.signal(signal.SIGTERM, _terminate)
    warnings.showwarning = _show_warning  # type: ignore[assignment] # always called by position
    status = 1

    def finish() -> None:
        logging.shutdown()
        interruption.end_process(status)

    # Registered first, so that it runs last: Python's own clean-up takes most of a second.
    atexit.register(finish)
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
    date: LogicalDate = None,
    output: AllRuns = None,
    json_file: SummaryFile = None,
    refresh: Refresh = False,
    quiet: Quiet = False,
) -> None:
    """Run uplift learners once: fit, evaluate, report, store the model."""
    _run_once(json_file, config, dated(changes, date), output, refresh, quiet)


@app.command()
def compare(
    config: ConfigFile,
    changes: Changes = None,
    date: LogicalDate = None,
    output: AllRuns = None,
    json_file: SummaryFile = None,
    refresh: Refresh = False,
    quiet: Quiet = False,
) -> None:
    """Run learners and candidates once and judge them: a ranked table, and which to choose."""
    _run_once(json_file, config, dated(changes, date), output, refresh, quiet, True)


@app.command()
def backfill(
    config: ConfigFile,
    first: Annotated[str, typer.Option("--from", help="First logical date, as 2026-11-01.")],
    last: Annotated[str, typer.Option("--to", help="Last logical date.")],
    every: Annotated[
        str | None, typer.Option(help="Time between two dates; default: the source's own, or 1d.")
    ] = None,
    changes: Changes = None,
    output: Annotated[str | None, typer.Option(help="Folder of all runs.")] = None,
    quiet: Quiet = False,
) -> None:
    """Run a config once for each logical date that has no finished run."""
    kept = "Finished runs and fits are kept: the same command goes on from there."
    with exit_status(kept=kept), interruption.handled():
        from flows.launch.backfill import backfill as runs_at
        from flows.launch.start import config_of
        from flows.runs.backfill import dates_between

        loaded = config_of(config, changes or [], output)
        dates = dates_between(loaded, first, last, every)
        failed = 0
        for made in runs_at(loaded, dates, quiet):
            failed += made.folder is None
            if made.folder is None:
                say(str(made))
            elif not quiet:
                show(str(made))
        if failed:
            end(1, f"{failed} of {len(dates)} dates have no finished run. {kept}")


@app.command()
def history(
    config: Annotated[Path, typer.Argument(help="A config, or the name of one that has run.")],
    output: Annotated[str | None, typer.Option(help="Folder of all runs.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures here.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file.")
    ] = None,
) -> None:
    """Show the figures of a config's runs over time."""
    with exit_status(json_file, prints=True):
        from flows.launch.history import find_history, history_table, write_page

        for file, option in ((json_file, "--json"), (html, "--html")):
            if file is not None:
                check_file(file, option)
        found = find_history(config, output)
        if html is not None:
            write_page(found, html)
        if json_file is not None:
            write_json(json_file, {"status": "done", **found.plain()})
        history_table(found)


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
    with exit_status(json_file, kept="Nothing was kept."), interruption.handled():
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
    input: Annotated[
        str,
        typer.Option(help="Rows to score: a file, folder, glob or URL, or DATABASE-URL#TABLE."),
    ],
    output: Annotated[
        str,
        typer.Option(help="A .parquet, .csv, .feather or .jsonl file, or DATABASE-URL#TABLE."),
    ],
    model: Annotated[str, typer.Option(help=WHICH_MODEL)] = CHAMPION,
    sql: Annotated[
        str | None, typer.Option(help="Query of the database of --input, or of its files as rows.")
    ] = None,
    date: Annotated[
        str | None,
        typer.Option(
            help="Logical date, which --input, --output and --sql may name; default: now."
        ),
    ] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of dates.")] = "UTC",
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse levels and strata that the model hasn't seen.")
    ] = False,
    recommend: Annotated[
        bool, typer.Option("--recommend", help="Add the arm to give, by each learner.")
    ] = False,
    intervals: Annotated[
        float, typer.Option(help="Level of intervals for effects, as 0.95; needs refits.")
    ] = 0.0,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace a file without scores, but never a table."),
    ] = False,
    registry: Annotated[
        str, typer.Option(help="Folder or fsspec URL of NAME@champion.")
    ] = DEFAULT_REGISTRY,
    quiet: Quiet = False,
) -> None:
    """Estimate the effects for new rows with a stored model."""
    with exit_status(kept="Finished batches are kept: the same command goes on from there."):
        options = locals()
        with progress_display(quiet):
            progress.begin("score")
            from flows.scoring.request import request_of
            from flows.scoring.request import score as score_now

            report = score_now(request_of(options), datetime.now(UTC))
        for line in report.scored.told:
            warnings.warn(line, stacklevel=1)
        if not quiet:
            show(f"{report.scored.seen.rows:,} rows scored by {report.model}: {report.output}")


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
    with exit_status(kept=kept), interruption.handled():
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
    with exit_status():
        from flows.launch.start import serve_deployments

        serve_deployments(port, configs or [], schedules)


@app.command()
def doctor(
    storage: CachePlace = DEFAULT_CACHE,
    output: RunsFolder = Path(DEFAULT_OUTPUT),
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the findings to this file too.")
    ] = None,
) -> None:
    """Say what is wrong with this installation, this folder and its server; changes nothing."""
    with exit_status(json_file, prints=True):
        from flows.doctor.examination import Places, examine, facts

        if json_file is not None:
            check_file(json_file, "--json")
        findings = []
        for finding in examine(Places(storage, output)):
            show(str(finding))
            findings.append(finding)
        if json_file is not None:
            write_json(json_file, facts(findings))
        if any(finding.status == "wrong" for finding in findings):
            raise typer.Exit(1)


def _terminate(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def _run_once(json_file: Path | None, *arguments: Any) -> None:
    """The body of the commands that run a config once; arguments as of `_run`."""
    kept = "Finished fits are kept: the same command goes on from there."
    with exit_status(json_file, kept), interruption.handled():
        if json_file is not None:
            check_file(json_file, "--json")
        folder = _run(*arguments)
        if json_file is not None:
            write_json(json_file, read_json(folder / "summary.json"))


def _run(
    config: Path,
    changes: list[str] | None = None,
    output: str | None = None,
    refresh: bool = False,
    quiet: bool = False,
    comparing: bool = False,
) -> Path:
    """Run a config and show how it ended; its folder."""
    from flows.launch.start import config_of, launch

    with progress_display(quiet):
        loaded = config_of(config, changes or [], output)
        folder = launch(loaded, refresh, quiet, comparing=comparing)
    if not quiet:
        _show_end(folder)
    return folder


def _show_end(folder: Path) -> None:
    summary = read_json(folder / "summary.json")
    show("\n".join(outcome_lines(summary)))
    for outcome, own in by_outcome(summary).items():
        if "comparison" in own:
            comparison_table(own["comparison"], outcome)
    warnings_ = cache_warning(summary["cache"]), registry_warning(summary.get("model", {}))
    for warning in filter(None, warnings_):
        say(f"Warning: {warning}")
    links = [folder.parent / LATEST, link_of(summary["name"], folder.parent)]
    # One that couldn't be moved shows an earlier run; others move to a run that ended since.
    moved = " and ".join(str(link) for link in links if link.resolve() == folder.resolve())
    show(f"  {f'the same through {moved}; ' if moved else ''}server and UI: uplift serve")
