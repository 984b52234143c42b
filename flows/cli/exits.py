"""How a command ends: its exit status, and one line on standard error in place of a traceback."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import typer

from flows.config.files import write_json
from flows.errors import TRACEBACK_VARIABLE, InputError
from flows.messages.output import check_output, say
from flows.messages.secrets import without_secrets
from flows.runs.records import interrupted


@contextlib.contextmanager
def exit_status(
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
        end(2, str(error))
    except BaseException as error:
        if interrupted(error):
            end(130, f"interrupted. {kept}".rstrip())
        if not isinstance(error, Exception):
            raise
        if json_file is not None:
            # A run that had begun left its record with the error that ended it.
            record = {"status": "failed", "error": without_secrets(str(error))}
            with contextlib.suppress(OSError):  # a full disk may be what failed
                write_json(json_file, getattr(error, "run_record", record))
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        said = str(error).rstrip(".") or type(error).__name__
        end(1, f"failed: {said}. {TRACEBACK_VARIABLE}=1 shows where.")


def end(status: int, message: str) -> NoReturn:
    """End the command with a status and a message."""
    say(f"uplift: {without_secrets(message)}")
    raise typer.Exit(status)
