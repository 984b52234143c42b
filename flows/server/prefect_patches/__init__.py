"""Changes to Prefect's own behaviour, each in a file of its own, made for Prefect 3.9.1.

Each file says what it changes, why, what was measured on which version, and when it can go.
tests/flows/server/test_prefect_patches.py fails when a newer Prefect makes one of them unnecessary
or breaks it. `cancel_intent` and `prompt_task_runner` change nothing by themselves: their users
call them. `import_hook` changes a module before anybody uses it.
"""

from importlib import import_module
from typing import Literal

Process = Literal["any", "flows", "server", "serve"]

# Which kind of process needs which changes.
APPLIED: dict[Process, tuple[str, ...]] = {
    "any": ("settings_files",),  # before it imports Prefect
    # Where the flows are imported.
    "flows": (
        *("client_retries", "heartbeats", "ephemeral", "tls_contexts"),
        "own_messages",
    ),
    "server": ("sqlite_writers",),  # the embedded server
    "serve": ("engine_command",),  # `uplift serve`, which starts a process for each run
}


def apply(process: Process) -> None:
    """Change Prefect in this process as its kind needs it; a second call changes nothing."""
    for name in APPLIED[process]:
        import_module(f"{__name__}.{name}").apply()
