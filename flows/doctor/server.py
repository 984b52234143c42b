"""Whether the server answers, which version it has, and what time it is there."""

import os
import ssl
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
from packaging.version import InvalidVersion, Version

from flows.doctor.examination import Check, NotCheckedError, Places
from flows.doctor.packages import prefect_versions
from flows.errors import InputError
from flows.inputs.databases.passwords import password_blocks
from flows.server.connection import ask, check_answers, recorded_address
from flows.server.environment import STATE_FOLDER
from flows.server.secret_blocks import secret_in
from metalearners.files.file_locks import is_locked

_SECONDS = 2.0  # for each step of an answer
_CLOUD = "https://api.prefect.cloud"
_MOST_APART = 60.0  # seconds between two clocks


def _address() -> str:
    """The address of the server that runs use; an own one may not run yet."""
    named = os.environ.get("PREFECT_API_URL")
    folder = Path(STATE_FOLDER)
    address = named or (is_locked(folder / "server.alive") and recorded_address(folder))
    if not address:
        raise NotCheckedError("no server runs in this folder: the first run starts one")
    return address


def _check_server(places: Places) -> str:
    address = _address()
    if os.environ.get("PREFECT_API_URL"):
        check_answers(address, _SECONDS)
    elif ask(address, "health", _SECONDS) is None:
        raise InputError(
            f"Expected the server of this folder to answer at {address}; it doesn't. It may still "
            f"be starting, or see {STATE_FOLDER}/server.log. If its process has the pid that is in "
            f"{STATE_FOLDER}/server.json, end that: the next run starts a server."
        )
    return f"{address} answers"


def _check_version(places: Places) -> str:
    address = _address()
    if address.startswith(_CLOUD):
        raise NotCheckedError("Prefect Cloud works with every version")
    answer = ask(address, "admin/version", _SECONDS, **_login())
    if answer is None:
        raise NotCheckedError("the server doesn't answer, or its certificate can't be verified")
    if answer.status_code in (401, 403):
        raise InputError(
            f"Expected a server that lets this user in; {address} wants a login, and found "
            f"{_login_name()}. Ask whoever runs it, and set PREFECT_API_AUTH_STRING."
        )
    return f"Prefect {_fitting_version(answer, address)}"


def _login_name() -> str:
    names = ("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY")
    return next((f"that {n} isn't right" for n in names if os.environ.get(n)), "none")


def _login() -> dict[str, Any]:
    """What proves to the server who asks; it is sent to nobody but that server."""
    user, _, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    key = os.environ.get("PREFECT_API_KEY")
    if not user and not key:
        return {}
    authorities = os.environ.get("PREFECT_API_SSL_CERT_FILE")
    verify = ssl.create_default_context(cafile=authorities) if authorities else True
    if user:
        return {"verify": verify, "auth": (user, password)}
    return {"verify": verify, "headers": {"Authorization": f"Bearer {key}"}}


def _fitting_version(answer: httpx.Response, address: str) -> str:
    try:
        version = str(answer.raise_for_status().json())
        fits = Version(version) in prefect_versions()
    except (httpx.HTTPError, ValueError, InvalidVersion):
        raise InputError(
            f"Expected the API of a Prefect server at {address}; found something else there, which "
            f"answers with status {answer.status_code} when asked for its version. The addresses "
            "of such APIs end in /api."
        ) from None
    if not fits:
        raise InputError(
            f"Expected a server with Prefect {prefect_versions()}; found {version} at {address}. "
            "Use a server of such a version, or unset PREFECT_API_URL for one of this folder's own."
        )
    return version


def _check_clock(places: Places) -> str:
    address, asked = _address(), time.time()
    answer = ask(address, "health", _SECONDS)
    answered = time.time()
    try:
        told = parsedate_to_datetime(answer.headers["date"] if answer else "").timestamp()
    except (KeyError, ValueError):
        raise NotCheckedError("the server doesn't tell its time") from None
    # Its clock showed that at some moment between the two.
    ahead = max(told - answered, 0.0) or min(told - asked, 0.0)
    if abs(ahead) > _MOST_APART:
        where = "behind" if ahead > 0 else "ahead of"
        raise InputError(
            f"Expected clocks that agree to a minute; found that this one is {abs(ahead):.0f} s "
            f"{where} that of the server at {address}. Schedules and the ages of fits go by them. "
            "Have both machines set their clocks by the network (NTP)."
        )
    return "it agrees with the server's"


def _check_passwords(places: Places) -> str:
    blocks = password_blocks()
    for block in dict.fromkeys(blocks.values()):
        secret_in(block)  # which refuses one that isn't there
    if not blocks:
        return "none of a database is in a block"
    return f"those of {len(blocks)} database(s) are in blocks of the server"


CHECKS = (
    Check("server", _check_server),
    Check("server version", _check_version, ("server", "Prefect")),
    Check("clock", _check_clock, ("server",)),
    Check("passwords", _check_passwords, ("server",)),
)
