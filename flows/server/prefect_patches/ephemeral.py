"""A script's flow that has no server uses the folder's embedded server, as the command does.

What: Where Prefect would start a server for a process, the process uses the folder's server.
Why: Prefect's would be a second server on the folder's database, open to any page of the user's
browser, and ends with the process. Prefect decides deep inside which server a client asks.
Measured: Prefect gives its server 20 s to start on 3.8.8 and 3.9.1; with a load of 2 to 5 on two
cores a flow that starts it took 10 to 23 s (3.8.8). This waits for two minutes.
Until: Prefect can be told how to start such a server.
"""

from typing import Any
from urllib.parse import urlsplit

from flows.server.connection import answers, connect, wait_for
from flows.server.prefect_patches.import_hook import when_imported


def apply() -> None:
    """Change Prefect once it wants a server, as importing that module is slow."""
    when_imported("prefect.server.api.server", _replace_in)


def _replace_in(module: Any) -> None:
    module.SubprocessASGIServer.start = _use_folder_server
    module.SubprocessASGIServer.stop = lambda self: None  # it ends by itself after its last user


def _use_folder_server(self: Any, timeout: int | None = None) -> None:
    if self.running:
        return
    address = connect()
    if not answers(address):
        wait_for(address)
    self.port, self.running = urlsplit(address).port, True
    self.server_process = self  # Prefect asks only whether there is one
