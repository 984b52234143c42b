"""A server of PostgreSQL for the tests, of its own, with a superuser who needs a password."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

USER, PASSWORD = "tester", "correct-horse-battery"
_USUAL = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)  # of Debian
_UNPRIVILEGED = "postgres" if os.getuid() == 0 else None  # it refuses to run as root


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([*map(str, _USUAL), os.environ["PATH"]]))


class PostgresqlServer:
    """A server in a folder of its own, which tests may kill and start again."""

    def __init__(self, folder: Path) -> None:
        from tests.conftest import free_port

        self.folder, self.port = folder, free_port()
        self.address = f"postgresql://127.0.0.1:{self.port}/postgres"
        (folder / "password").write_text(PASSWORD)
        if _UNPRIVILEGED:
            shutil.chown(folder, _UNPRIVILEGED)
        how = ["-A", "scram-sha-256", "-U", USER, "--pwfile", "password", "--no-sync"]
        self._call("initdb", *how, "-E", "UTF8", "--locale", "C")
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._call("pg_ctl", "start", "-w", "-l", "log", "-o", options)

    def kill(self) -> None:
        """End it as a machine that fails does; its other processes end when they see that."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        self._call("pg_ctl", "stop", "-m", "immediate")

    def _call(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(_program(program)), "-D", "data", *arguments],
            cwd=self.folder,
            user=_UNPRIVILEGED,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@contextmanager
def running_postgresql() -> Iterator[PostgresqlServer]:
    """A server; the test is skipped where PostgreSQL isn't installed."""
    if not (_program("initdb") and _program("pg_ctl")):
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    with TemporaryDirectory(prefix="pg", dir="/tmp") as name:  # short, for its socket
        server = PostgresqlServer(Path(name))
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The address of a server, with a database."""
    with running_postgresql() as server:
        yield server.address


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
