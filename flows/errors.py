"""The one error that means: the input or the config is wrong, nothing was fitted."""

import re


class InputError(ValueError):
    """Wrong input. The message says what was expected, what was found and how to mend it."""


def without_secrets(text: str) -> str:
    """A text with what stands before the ``@`` of its addresses left out."""
    return re.sub(r"//[^/\s]*@", "//", text)
