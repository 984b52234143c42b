"""The one error that means: the input or the config is wrong, nothing was fitted."""

from flows.messages.secrets import without_secrets


class InputError(ValueError):
    """Wrong input. The message says what was expected, what was found and how to mend it.

    No secret of an address gets into it, wherever it is shown: terminal, UI, logs.
    """

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))


class FitError(RuntimeError):
    """A unit that couldn't be fitted."""
