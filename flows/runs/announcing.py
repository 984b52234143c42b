"""Events of runs for Prefect's automations: names and sentences, and no values of rows.

Prefect's own thread sends them, so that a server that is away costs a run nothing.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from prefect.events import emit_event

from flows.messages.limits import shown
from flows.messages.secrets import without_secrets


def announce(run: Mapping[str, Any]) -> None:
    """Emit the events of a run, by its summary or its record; Prefect adds the flow run."""
    resource = {
        "prefect.resource.id": f"uplift.run-name/{run['name']}",
        "prefect.resource.name": str(run["name"]),
        "uplift.run": str(run["run_name"]),
        "uplift.logical-date": str(run["logical_date"]),
    }
    for each in run.get("events", []):
        sentence = shown(without_secrets(each["sentence"]), 1000)
        with contextlib.suppress(Exception):  # the run is whole, whatever becomes of its events
            emit_event(f"uplift.{each['event']}", resource, payload={"sentence": sentence})


@contextlib.contextmanager
def failure_announced() -> Iterator[None]:
    """Announce the failure of a run that has a record."""
    try:
        yield
    except BaseException as error:
        record = getattr(error, "run_record", None)
        if record is not None:
            announce(record)
        raise
