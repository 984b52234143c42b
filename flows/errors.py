"""The one error that means: the input or the config is wrong, nothing was fitted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.messages.secrets import without_secrets


class InputError(ValueError):
    """Wrong input. The message says what was expected, what was found and how to mend it.

    No secret of an address gets into it, wherever it is shown: terminal, UI, logs.
    """

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))


class FitError(RuntimeError):
    """A unit that couldn't be fitted."""


class LearnersFailedError(FitError):
    """Some learners of a run failed, and the others were scored.

    Parameters
    ----------
    failed : what went wrong, by learner
    folder : with the others' results
    summary : what `summary.json` says
    """

    def __init__(self, failed: Mapping[str, str], folder: Path, summary: dict[str, Any]) -> None:
        told = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in failed.items())
        super().__init__(f"{told}. The results of the other learners are in {folder}.")
        self.run_record = {**summary, "error": without_secrets(str(self))}
