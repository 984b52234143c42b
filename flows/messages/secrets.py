"""Secrets in addresses: one rule decides what configs may not hold and messages leave out."""

import re
from urllib.parse import unquote

from flows.messages.limits import shown

# What stands before an @ of these is a container, an organisation or a path, and no user.
_CONTAINERS = {"abfs", "abfss", "adl", "az", "hf", "wasb", "wasbs"}
_NO_USERS = {"file", "git", "github", "local", "memory", "tar", "zip"}
# These servers ask for more than a user's name, which alone is no secret.
_LOGINS = {"ftp", "hdfs", "sftp", "smb", "ssh"}

_NEXT = r"::(?=[a-z][a-z0-9+.-]{0,30}:[:/])"  # fsspec chains addresses
_ADDRESS = re.compile(rf"([a-z][a-z0-9+.-]{{0,30}}):(/+)((?:(?!{_NEXT})\S)*)", re.IGNORECASE)
_HOST = re.compile(r"(\[[^]]*\]|[^:]*)(:\d+)?|arn:.*")
_NAME = re.compile(r"""[?&\#;{,]\s*["']?([^=:&/?\#;{,"'\s]+)["']?\s*[=:]\s*""")
_VALUE = re.compile(r"""\{?("[^"]*"|'[^']*'|[^&\#;,}\s]+)""")
_WORDS = re.compile(
    r"secret|passw|passphrase|credential|signature|token(?!iz)|bearer|(access|account|api|private|shared)key"
    r"|(^|[^a-z])(auth|authorization|creds?|hmac|jwt|pass|pat|pw|pwd|sas|sig)($|[^a-z])|(auth|key|pwd|sas)$"
)
# Tokens whose beginning tells them, wherever they stand.
_TOKEN = re.compile(
    r"(gh[oprsu]_|github_pat_|glpat-|hf_)[\w-]{20,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]*"
)
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def check_address(address: str) -> str:
    """The address, if it holds no secret.

    Raises ValueError if it holds one: each run keeps its config, and other users see a command's
    arguments.
    """
    in_one = re.sub(r"\s", "", address)
    if without_secrets(in_one) != in_one:
        raise ValueError(
            "a URL without credentials is expected, as configs are kept with each run; found "
            f"{shown(without_secrets(in_one), 500)}. Give them in the environment or in fsspec's "
            "own configuration."
        )
    return address


def without_secrets(text: str) -> str:
    """A text without the users, passwords, tokens and signatures of its addresses."""
    return _ADDRESS.sub(_shown, text)


def problem_of(error: BaseException) -> str:
    """What an error says, without secrets; the name of its class where it says nothing."""
    return without_secrets(str(error)) or type(error).__name__


def _shown(found: re.Match[str]) -> str:
    scheme, slashes, rest = found.groups()
    clean = _without_pairs(_without_user(scheme.lower(), rest))
    plain = unquote(unquote(rest))
    if clean == rest and _without_pairs(_without_user(scheme.lower(), plain)) != plain:
        clean = "***"  # percent-encoded, so that its end is hard to tell
    return f"{scheme}:{slashes}{clean}"


def _without_user(scheme: str, rest: str) -> str:
    """What follows ``scheme://``, without the user; a password may hold any letter, even / or @."""
    first = re.split("[/?#]", rest, maxsplit=1)[0]
    user = first.rpartition("@")[0]
    if scheme in _NO_USERS or "@" not in rest or (not user and _HOST.fullmatch(first)):
        return rest
    if ":" in (user or first):
        return rest.rpartition("@")[2]
    return rest if scheme in _CONTAINERS | _LOGINS else rest[len(user) + 1 :]


def _without_pairs(rest: str) -> str:
    """An address without tokens, and without the values of names that mean secrets."""
    clean, at = "", 0
    for name in _NAME.finditer(rest):
        value = _VALUE.match(rest, name.end())
        if value is not None and name.start() >= at and _is_secret(name[1]):
            clean, at = f"{clean}{rest[at : name.end()]}***", value.end()
    before, mark, after = _TOKEN.sub("***", clean + rest[at:]).partition("?")
    return before + mark + without_secrets(after)  # a query may hold another address


def _is_secret(name: str) -> bool:
    words = _CAPITAL.sub("_", name).lower()
    return any(_WORDS.search(form) for form in (words, words.replace("_", "")))
