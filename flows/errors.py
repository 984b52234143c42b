"""The errors of runs: wrong input, a fit that failed, and learners that failed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.messages.secrets import without_secrets


class InputError(ValueError):
    """Wrong input or config; nothing was fitted.

    The message says what was expected, what was found and how to mend it, without the secrets of
    addresses.
    """

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))


class FitError(RuntimeError):
    """A unit couldn't be fitted."""


class LearnersFailedError(FitError):
    """Some learners of a run failed; the others were scored.

    Parameters
    ----------
    failed : Mapping
        What went wrong, by learner.
    folder : Path
        With the others' results.
    summary : dict
        The content of `summary.json`.
    """

    def __init__(self, failed: Mapping[str, str], folder: Path, summary: dict[str, Any]) -> None:
        reasons = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in failed.items())
        super().__init__(f"{reasons}. The results of the other learners are in {folder}.")
        self.run_record = {**summary, "error": without_secrets(str(self))}
