"""The one error that means: the input or the config is wrong, nothing was fitted."""


class InputError(ValueError):
    """Wrong input. The message says what was expected, what was found and how to mend it."""
