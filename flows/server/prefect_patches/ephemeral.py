"""A script's flow that has no server uses the embedded server of the folder, as the command does.

What: where Prefect would start a server of its own for a process, the folder's is used.
Why: Prefect's would be a second server on the folder's database, and ends with the process. Which
server a client asks is decided deep inside Prefect.
Measured: Prefect gives its server 20 s to start on 3.8.8 and 3.9.1; with a load of 2 to 5 on two
cores a flow that starts it took 10 to 23 s (3.8.8). This waits for two minutes.
Until: Prefect can be told how to start such a server.
"""

from typing import Any
from urllib.parse import urlsplit

from flows.server.connection import connect, wait_for
from flows.server.prefect_patches.import_hook import when_imported


def apply() -> None:
    """Have this process use it; changed when Prefect wants a server, as that import is slow."""
    when_imported("prefect.server.api.server", _replace_in)


def _replace_in(module: Any) -> None:
    module.SubprocessASGIServer.start = _start
    module.SubprocessASGIServer.stop = _leave


def _start(self: Any, timeout: int | None = None) -> None:
    if self.running:
        return
    address = connect()
    wait_for(address)
    self.port, self.running = urlsplit(address).port, True
    self.server_process = self  # that there is one is all that is asked of it


def _leave(self: Any) -> None:
    """Nothing: the server ends by itself after its last user."""
