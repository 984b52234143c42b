"""Task threads that flows side by side share, and that an interruption doesn't wait for.

What: flows take their threads from one pool; one that is interrupted leaves the tasks that are
running in their threads.
Why: stages side by side fit no more at a time than one would; a fit is one call, which may take
minutes, and Ctrl-C, SIGTERM and Cancel end a run in seconds.
Measured: interrupted while a task had 5 s to go, a flow took 5.0 s to end on 3.8.8 and 3.9.1, with
this 0.02 s and 0.03 s.
Until: Prefect's `ThreadPoolTaskRunner` leaves running tasks behind, or takes an argument for it.
"""

from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

from prefect.task_runners import ThreadPoolTaskRunner


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
