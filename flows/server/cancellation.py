"""A run that is interrupted, or cancelled on its page, stops without waiting for its fits."""

import contextlib
import contextvars
import signal
import threading
from collections.abc import Iterator
from uuid import UUID

from prefect import get_client, runtime

from flows.server import interruption
from flows.server.prefect_patches import cancel_intent

_POLL_SECONDS = 2.0


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Have Ctrl-C, SIGTERM or a cancellation end a parent flow, whose body is the context.

    Prefect's runner watches the run of a deployment; here a thread watches any other.
    """
    over = threading.Event()
    if not runtime.deployment.id and threading.current_thread() is threading.main_thread():
        # A process that lived on after an interruption begins afresh.
        interruption.begun.clear()
        cancel_intent.withdraw()
        watch = (_wait_for_cancellation, UUID(str(runtime.flow_run.id)), over)
        threading.Thread(target=contextvars.copy_context().run, args=watch, daemon=True).start()
    try:
        with interruption.run_under_way():
            yield
    except Exception:
        raise
    except BaseException:
        interruption.begin(0 if cancel_intent.declared() else 130)
        raise
    finally:
        over.set()


def _wait_for_cancellation(run: UUID, over: threading.Event) -> None:
    with get_client(sync_client=True) as client:
        while not over.wait(_POLL_SECONDS):
            with contextlib.suppress(Exception):  # a server that is away for a while
                state = client.read_flow_run(run).state
                if state and (state.is_cancelling() or state.is_cancelled()):
                    return _cancel()


def _cancel() -> None:
    """Do what Prefect's runner does to the run of a deployment."""
    interruption.begin()
    cancel_intent.declare()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
