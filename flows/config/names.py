"""Names: of a config, which its runs and its models have, and what is meant where none is said."""

import hashlib
import re
import unicodedata

from flows.messages.limits import shown

DEFAULT_NAME = "uplift"  # of a config that is no file
DEFAULT_OUTPUT = "runs"
DEFAULT_CACHE = ".uplift/cache"
DEFAULT_REGISTRY = ".uplift/registry"
CHAMPION = "champion"  # the alias of the model that scores
LATEST = "latest"  # means the latest run of all
# Beginnings of the columns of scores behind the identity of a row.
OF_SCORES = ("cate.", "low.", "high.", "percentile.", "outcome.", "treat.")
TREAT = "treat"  # the column of the arm to give, where a run targets
_MOST_LETTERS = 64
_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{_MOST_LETTERS - 1}}}")


def is_name(text: str) -> bool:
    """Whether a text can be a config's name."""
    return text != LATEST and _NAME.fullmatch(text) is not None


def check_name(value: object) -> str:
    """The name, or a ValueError that says what a name is."""
    if isinstance(value, str) and is_name(value):
        return value
    raise ValueError(
        f"expected a text of at most {_MOST_LETTERS} letters (a to z), digits, '-', '_' and '.', "
        f"not beginning with '-' or '.', and not {LATEST!r}; found {shown(repr(value))}. Put a "
        "number in quotes, or leave the key out for the name of the config's file."
    )


def name_of_file(stem: str) -> str:
    """The name for a config that has none, from its file's name.

    Umlauts and accents go, and what a name can't hold becomes '-'. Where letters are lost, a digest
    keeps the names of two files apart.
    """
    if is_name(stem):
        return stem
    letters = [sign for sign in unicodedata.normalize("NFKD", stem) if not _is_accent(sign)]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", "".join(letters)).strip("-.")
    lost = any(sign.isalnum() and not sign.isascii() for sign in letters)
    if is_name(name) and not lost:
        return name
    digest = hashlib.sha256(stem.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{name[:50] or 'config'}-{digest}"


def _is_accent(sign: str) -> bool:
    return unicodedata.combining(sign) > 0
