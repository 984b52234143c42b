"""Digests that nobody can compute without a secret key."""

from hashlib import blake2b

DIGEST_BYTES = 32


def keyed_digest(signing_key: bytes, name: str, content: bytes | memoryview) -> bytes:
    """The digest of content under a name; without a key, anybody can compute it."""
    secret = blake2b(signing_key).digest() if signing_key else b""
    own = blake2b(name.encode(), key=secret).digest()
    return blake2b(content, digest_size=DIGEST_BYTES, key=own).digest()


def check_key(signing_key: bytes) -> None:
    """Refuse a key that isn't bytes.

    Raises TypeError if it isn't.
    """
    if not isinstance(signing_key, bytes):
        raise TypeError(
            f"Expected signing_key to be bytes; found {type(signing_key).__name__}. Encode a text, "
            "as with .encode()."
        )
