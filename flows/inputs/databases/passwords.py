"""Passwords of databases: where the environment says so, they are in blocks of Prefect's server."""

import os
import re

from flows.dates.queries import IN_POSTGRESQL
from flows.errors import InputError
from flows.server.secret_blocks import secret_in

BLOCKS_VARIABLE = "UPLIFT_PASSWORD_BLOCKS"
_ENTRY = re.compile(rf"(?P<url>{IN_POSTGRESQL})=(?P<block>[a-z0-9-]+)", re.ASCII)


def password_of(url: str) -> str | None:
    """The password of a PostgreSQL database; None where its driver finds it by itself.

    The environment names the block of each database. If a config named it, the config could send
    one database's password to another.

    Raises InputError if the environment names blocks in another way, and as `secret_in`.
    """
    block = password_blocks().get(url)
    return None if block is None else secret_in(block)


def password_blocks() -> dict[str, str]:
    """Names of blocks by addresses of databases, as the environment has them.

    Raises InputError if it has them in another way.
    """
    entries = os.environ.get(BLOCKS_VARIABLE, "").split(",")
    found = [_ENTRY.fullmatch(entry.strip()) for entry in entries if entry.strip()]
    if None in found:  # it isn't shown, as it may be a password
        raise InputError(
            f"{BLOCKS_VARIABLE}: expected postgresql://host:port/database=block, with the name of "
            f"a Secret block, and a comma between two; found something else as number "
            f"{found.index(None) + 1}. Correct it."
        )
    return {entry["url"]: entry["block"] for entry in found if entry}
