"""The files of a stored model: each is named in a manifest, and verified before it is read."""

import hmac
import json
import warnings
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from metalearners.files.ownership import UntrustedError, UntrustedWarning, check_makers
from metalearners.files.regular_files import MOST_BYTES, OddFileError, read_regular, write_whole
from metalearners.files.signing import check_key, keyed_digest

MANIFEST = "manifest.json"
# 1: before modules moved, as pickles hold their names; 3: with refits, which 2 takes for learners.
_FORMATS = (2, 3)
_MODE = 0o644  # only the owner may write: files are code
_MOST_MANIFEST_BYTES = 256 << 20


class BundleError(ValueError):
    """A stored model that can't be used."""


def sign(folder: str | Path, signing_key: bytes) -> str:
    """Sign a bundle, whoever signed it before, and return its digest; nothing is unpickled.

    Raises
    ------
    BundleError
        If the folder holds no whole bundle.
    """
    check_key(signing_key)
    folder = Path(folder)
    manifest = read_manifest(folder / MANIFEST)
    for file in manifest["files"]:
        verified(folder / Path(file).name, file, manifest)
    _write_manifest(folder, manifest, signing_key)
    return digest_of(manifest)


def write_files(
    folder: Path,
    contents: Iterable[tuple[str, bytes]],
    facts: Mapping[str, Any],
    signing_key: bytes,
) -> None:
    """Write files by name, then a manifest with facts, a digest of each file and of itself.

    Only the owner may write to the files, and to the folder if this call makes it.
    """
    check_key(signing_key)
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    digests, sizes = {}, {}
    for name, content in contents:
        write_whole(folder / name, content, mode=_MODE)
        digests[name], sizes[name] = sha256(content).hexdigest(), len(content)
    manifest = {**facts, "files": digests, "sizes": sizes}
    _write_manifest(folder, manifest, signing_key)


def _write_manifest(folder: Path, manifest: Mapping[str, Any], signing_key: bytes) -> None:
    signed = {"signature": _signature(manifest, signing_key)} if signing_key else {}
    whole = {"digest": digest_of(manifest), **signed, **manifest}
    write_whole(folder / MANIFEST, json.dumps(whole, indent=2).encode(), mode=_MODE)


def _signature(manifest: Mapping[str, Any], signing_key: bytes) -> str:
    """A manifest's signature, which nobody can make without the key."""
    return keyed_digest(signing_key, "bundle", json.dumps(manifest).encode()).hex()


def check_bundle_makers(folder: Path, files: list[Path]) -> None:
    """Refuse files that any user may write to, and warn of those that some others may."""
    present = [path for path in files if path.exists()]
    try:
        warning = check_makers(folder, present)
    except UntrustedError as error:
        raise BundleError(str(error)) from None
    if warning:
        warnings.warn(warning, UntrustedWarning, stacklevel=3)


def read_manifest(path: Path, signing_key: bytes = b"") -> dict[str, Any]:
    """A manifest as it was written, by whoever has the key; a BundleError unless it is whole."""
    try:
        manifest = json.loads(read_regular(path, _MOST_MANIFEST_BYTES))
        found, digest = manifest["format_version"], manifest.pop("digest", None)
        signature = str(manifest.pop("signature", ""))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(
            f"Expected a stored model in {path.parent}; found none that can be read "
            f"({type(error).__name__}: {error}). Name a finished run."
        ) from error
    if found not in _FORMATS:
        raise BundleError(
            f"Expected a model of format {_FORMATS[0]} or {_FORMATS[1]}; found {found}. "
            "Score it with the version it was made with, or run again."
        )
    if digest != digest_of(manifest) or not _is_whole(manifest):
        raise BundleError(damaged(path))
    expected = _signature(manifest, signing_key).encode()
    if signing_key and not hmac.compare_digest(expected, signature.encode(errors="replace")):
        raise BundleError(
            f"Expected the model in {path.parent} to be signed with this key; found "
            f"{'another signature' if signature else 'no signature'}. A model is code: unless you "
            "know who made it, run again; if you do, sign it (`uplift runs sign`, `uplift models "
            "sign`, or metalearners.bundle.sign)."
        )
    return cast(dict[str, Any], manifest)


def _is_whole(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest has the parts that are read; a digest doesn't prove that."""
    about, sizes = manifest.get("about"), manifest.get("sizes", {})  # older ones have no sizes
    if not isinstance(about, dict) or not isinstance(manifest.get("arms"), list):
        return False
    dicts = (about.get("versions", {}), manifest.get("files"), sizes)
    return all(isinstance(each, dict) for each in dicts) and all(
        isinstance(size, int) for size in sizes.values()
    )


def digest_of(manifest: Mapping[str, Any]) -> str:
    """Digest of a manifest, and so of the model."""
    return sha256(json.dumps(manifest).encode()).hexdigest()


def verified(path: Path, file: str, manifest: Mapping[str, Any]) -> bytes:
    """A file's content; a BundleError unless it is the one that the manifest tells of."""
    most = manifest.get("sizes", {}).get(file, MOST_BYTES)
    try:
        content = read_regular(path, most)
    except OddFileError as error:
        raise BundleError(f"{damaged(path)} ({error.strerror})") from error
    except OSError as error:
        raise BundleError(
            f"Expected the file {path} of a stored model; {error.strerror}."
        ) from error
    if sha256(content).hexdigest() != manifest["files"][file]:
        raise BundleError(damaged(path))
    return content


def damaged(path: Path) -> str:
    """The message about a file with other content than was written."""
    return (
        f"Expected {path} as it was written; found other content. The model is damaged: restore "
        "the folder or run again."
    )
