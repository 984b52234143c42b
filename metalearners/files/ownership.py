"""Which users may write files that this process reads as code, and what to do about it."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

_SIGNING = "or sign it with a secret (signing_key; UPLIFT_CACHE_KEY for the commands)"


class UntrustedError(ValueError):
    """Any user of this machine may have made files that would run as code."""


class UntrustedWarning(UserWarning):
    """Some other users may have made files that run as code."""


def make_private(folder: Path) -> None:
    """Make a folder, and its missing parents, for their owner alone under any umask.

    Raises OSError if it can't be made, or a file has its name.
    """
    if folder.is_dir():
        return
    make_private(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:  # made meanwhile
        if not folder.is_dir():
            raise
    else:
        folder.chmod(0o700)  # a umask may have taken rights of the owner


def foreign_owner(path: Path) -> int | None:
    """The other user who owns a path, or the link there; None if this process's user does."""
    owners = {one.lstat().st_uid for one in (path, path.resolve())}
    return max(owners - {os.geteuid()}, default=None)


def check_makers(folder: Path, files: Iterable[Path] = ()) -> str:
    """A warning of other users who may write code into a folder or files in it; empty if none.

    Whoever may write to a folder may put other files into it. Root may do so anywhere.

    Raises UntrustedError if anybody may write there, or may have: the folder of another user lies
    where anybody may make one.
    """
    warning = ""
    for path in [folder, *files]:
        if who := _anybody(path):
            raise UntrustedError(
                f"Expected {path} to be writable by those alone whom you trust, as what lies there "
                f"runs as code when it is read; found that {who}. Make sure of what lies there, "
                f"then: {_closing_command(path, 'o-w')}; {_SIGNING}."
            )
        if not warning and (who := _some(path)):
            warning = (
                f"{path} holds what runs as code when it is read, and {who}. Unless you trust "
                f"them: {_closing_command(path, 'g-w')}; {_SIGNING}."
            )
    return warning


def _anybody(path: Path) -> str:
    """How any user may have made what is there; empty if not."""
    if path.stat().st_mode & stat.S_IWOTH:
        return "any user of this machine may write to it"
    parents = {path.absolute().parent, path.resolve().parent}
    if _stranger(path) and any(parent.stat().st_mode & stat.S_IWOTH for parent in parents):
        return f"user {_stranger(path)} owns it, where any user of this machine may make one"
    return ""


def _some(path: Path) -> str:
    """Which other users may have made what is there; empty if none."""
    about = path.stat()
    if _stranger(path):
        return f"user {_stranger(path)} owns it"
    if about.st_mode & stat.S_IWGRP:
        return f"users of group {about.st_gid} may write to it"
    return ""


def _stranger(path: Path) -> int | None:
    """The other user who owns a path, unless it is root."""
    return foreign_owner(path) or None


def _closing_command(path: Path, change: str) -> str:
    everything = "-R " if path.is_dir() else ""
    to = f"{everything}{os.geteuid()} {path}"
    owned = "" if foreign_owner(path) is None else f"chown {to} and "
    return f"{owned}chmod {everything}{change} {path}"


def reachable_folders(folder: Path) -> list[Path]:
    """The folders in a folder, if other users may enter it."""
    if not folder.is_dir() or not folder.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH):
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir())
