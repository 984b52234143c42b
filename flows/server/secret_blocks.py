"""Secrets in blocks of the user's server: each is read where it is needed, and kept nowhere."""

import httpx

from flows.errors import InputError, UnreadableError
from flows.messages.limits import shown
from flows.server.connection import client_of, named_address
from flows.server.environment import prepare


def secret_in(block: str) -> str:
    """The text in a Secret block of the server that the environment names.

    Raises InputError if it names no server, or the server has no such block with a text, and
    UnreadableError if the server doesn't answer, or refuses to.
    """
    address = named_address()
    if address is None:
        raise InputError(
            f"PREFECT_API_URL: expected the address of the server that has the Secret block "
            f"{block!r}; found none. Set it, or give the secret in the environment."
        )
    value = _value(block, address)
    if not isinstance(value, str):
        raise InputError(
            f"Expected a text in the Secret block {block!r} of the server at {address}; found "
            f"{'no such block' if value is None else 'another value'}. Save the text there under "
            "Blocks, in the UI."
        )
    return value


def _value(block: str, address: str) -> object:
    """What is in a block; None if there is none."""
    prepare()
    from prefect.exceptions import ObjectNotFound

    try:
        with client_of(address) as client:
            return client.read_block_document_by_name(block, "secret").data.get("value")
    except ObjectNotFound:
        return None
    except httpx.HTTPError as error:
        said = shown(" ".join(str(error).split()).rstrip("."), 300)
        raise UnreadableError(
            f"Expected the Secret block {block!r} from the server at {address}; {said}. Start the "
            "server, or give the login that it asks for."
        ) from None
