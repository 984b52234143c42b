"""A run that is interrupted, or cancelled on its page, stops without waiting for its fits."""

import contextlib
import contextvars
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self
from uuid import UUID

from prefect import get_client, runtime
from prefect._internal import control_listener
from prefect.task_runners import ThreadPoolTaskRunner

from flows.server import interruption

_POLL_SECONDS = 2.0


class PromptTaskRunner(ThreadPoolTaskRunner[Any]):
    """Threads that flows side by side share, and that an interruption doesn't wait for.

    Parameters
    ----------
    pool : of the threads; not shut down here
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        super().__init__(max_workers=pool._max_workers)
        self._pool = pool

    def duplicate(self) -> "PromptTaskRunner":
        """A runner of the same threads."""
        return type(self)(self._pool)

    def __enter__(self) -> Self:
        super().__enter__()
        self._executor = _Lent(self._pool)  # type: ignore[assignment] # private: it has its own
        return self

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        # Private: Prefect's own exit waits for the fits that are running, whatever has happened.
        if exc_type is not None and self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
        super().__exit__(exc_type, exc_value, traceback)


class _Lent:
    """A pool of threads that is lent: who has it can shut down no more than what it submitted."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._futures: list[Future[Any]] = []

    def submit(self, call: Callable[..., Any], *arguments: Any, **more: Any) -> Future[Any]:
        """Have a call made in the pool."""
        self._futures.append(self._pool.submit(call, *arguments, **more))
        return self._futures[-1]

    def shutdown(self, wait: bool = True, cancel_futures: bool = False) -> None:
        """Cancel what hasn't begun, and wait for the rest, as asked."""
        if cancel_futures:
            for future in self._futures:
                future.cancel()
        if wait:
            futures.wait(self._futures)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """The body of a parent flow, whose end is near after Ctrl-C, SIGTERM or a cancellation.

    A run that a deployment started is watched by whom serves it.
    """
    over = threading.Event()
    if not runtime.deployment.id and threading.current_thread() is threading.main_thread():
        _forget_earlier()
        _watch(UUID(str(runtime.flow_run.id)), over)
    try:
        yield
    except Exception:
        raise
    except BaseException:
        interruption.hurry(0 if control_listener.get_intent() else 130)
        raise
    finally:
        over.set()


def _forget_earlier() -> None:
    """A process that lived on after an interruption begins afresh."""
    interruption.begun.clear()
    control_listener.clear_intent()


def _watch(run: UUID, over: threading.Event) -> None:
    arguments = (_wait_for_cancellation, run, over)
    threading.Thread(target=contextvars.copy_context().run, args=arguments, daemon=True).start()


def _wait_for_cancellation(run: UUID, over: threading.Event) -> None:
    with get_client(sync_client=True) as client:
        while not over.wait(_POLL_SECONDS):
            with contextlib.suppress(Exception):  # a server that is away for a while
                state = client.read_flow_run(run).state
                if state and (state.is_cancelling() or state.is_cancelled()):
                    return _cancel()


def _cancel() -> None:
    """Do as who serves a deployment would."""
    interruption.hurry()
    # Private: how Prefect's engine tells a cancellation from any other SIGTERM; only its own
    # runner can say so from outside.
    control_listener._set_intent("cancel")
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
