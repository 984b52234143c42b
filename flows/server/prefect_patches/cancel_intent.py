"""A process announces that the SIGTERM it is about to get is a cancellation.

What: This sets the intent that Prefect's runner sends to the process of a deployment's run.
Why: Prefect's engine ends a run that gets SIGTERM as Crashed unless it has that intent, and only
Prefect's runner can send it. A run at a terminal that is cancelled on its page has no runner.
Measured: A flow that gets SIGTERM ends as Crashed, with the intent as Cancelled, on Prefect 3.8.8
and 3.9.1.
Until: Prefect cancels runs that no deployment started.
"""

from prefect._internal import control_listener


def declare() -> None:
    """Have the next SIGTERM end the flow run as cancelled."""
    control_listener._set_intent("cancel")


def declared() -> bool:
    """Whether the run is being cancelled, here or by Prefect's runner."""
    return control_listener.get_intent() is not None


def withdraw() -> None:
    """Forget the intent of an earlier run."""
    control_listener.clear_intent()
