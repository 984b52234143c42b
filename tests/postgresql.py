"""A server of PostgreSQL for the tests, of its own, with a superuser who needs a password."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

USER, PASSWORD = "tester", "correct-horse-battery"
_USUAL = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)  # of Debian
_UNPRIVILEGED = "postgres" if os.getuid() == 0 else None  # it refuses to run as root


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([*map(str, _USUAL), os.environ["PATH"]]))


def _call(folder: Path, program: str, *arguments: str) -> None:
    subprocess.run(
        [str(_program(program)), "-D", "data", *arguments],
        cwd=folder,
        user=_UNPRIVILEGED,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """Its address, with a database; skipped where PostgreSQL isn't installed."""
    from tests.conftest import free_port

    if not (_program("initdb") and _program("pg_ctl")):
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    with TemporaryDirectory(prefix="pg", dir="/tmp") as name:  # short, for its socket
        folder, port = Path(name), free_port()
        (folder / "password").write_text(PASSWORD)
        if _UNPRIVILEGED:
            shutil.chown(folder, _UNPRIVILEGED)
        how = ["-A", "scram-sha-256", "-U", USER, "--pwfile", "password", "--no-sync"]
        _call(folder, "initdb", *how, "-E", "UTF8", "--locale", "C")
        options = f"-p {port} -k {name} -c listen_addresses=127.0.0.1 -c fsync=off"
        _call(folder, "pg_ctl", "start", "-w", "-l", "log", "-o", options)
        try:
            yield f"postgresql://127.0.0.1:{port}/postgres"
        finally:
            _call(folder, "pg_ctl", "stop", "-m", "immediate")


@pytest.fixture
def postgresql(
    postgresql_server: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Any]]:
    """The address of an empty database, and a connection to it; the password is in PGPASSWORD."""
    psycopg = pytest.importorskip("psycopg")
    monkeypatch.setenv("PGUSER", USER)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        yield postgresql_server, connection
