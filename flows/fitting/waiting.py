"""What a run says while another makes a fit that it needs."""

import time
from collections.abc import Callable
from datetime import datetime

from flows.messages import progress
from flows.server import interruption
from metalearners._typing import Ref
from metalearners.cache.claims import Holder

_QUIET_SECONDS = 2.0  # most fits of others end sooner


class Waiting:
    """Says for which other run this one waits, once for each; `label` names a unit by its key."""

    def __init__(self, label: Callable[[Ref], str]) -> None:
        self._label = label
        self._begun: dict[tuple[Ref, Holder], float] = {}
        self._told: set[str] = set()

    def __call__(self, key: Ref, holder: Holder) -> None:
        """Tell of a holder once it has been waited for a while; end the wait of a run that ends."""
        if interruption.begun.is_set():
            raise KeyboardInterrupt
        begun = self._begun.setdefault((key, holder), time.monotonic())
        if time.monotonic() - begun > _QUIET_SECONDS and holder.name not in self._told:
            self._told.add(holder.name)
            progress.tell(self._message(key, holder))

    def _message(self, key: Ref, holder: Holder) -> str:
        since = ""
        if holder.since:
            since = (
                f" since {datetime.fromtimestamp(holder.since).astimezone():%Y-%m-%d %H:%M:%S %Z}"
            )
        return (
            f"Waiting for {holder.name}, which has been fitting {self._label(key)}{since}. "
            f"If it gives no sign of life for {holder.patience:.0f} s, the fit is made here."
        )
