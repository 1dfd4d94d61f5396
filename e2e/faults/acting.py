"""The user of a trial, beside the trial: some of what users do waits for the operator, which may be dead just then."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from e2e.faults.arena import Arena
from e2e.faults.scenarios import Act


class Acting:
    """Acts one after the other in a thread of its own; `began` is when the first was done."""

    def __init__(self, arena: Arena, namespace: str, acts: Sequence[Act]) -> None:
        self.began = time.monotonic()
        self._failure: BaseException | None = None
        self._arena, self._namespace, self._acts = arena, namespace, acts
        self._thread = threading.Thread(target=self._run, name=f"user of {namespace}", daemon=True)
        self._thread.start()

    def is_done(self) -> bool:
        """Say whether all acts are done and the mirror has seen them; raises what kept one from being done."""
        if self._thread.is_alive():
            return False
        if self._failure is not None:
            raise self._failure
        return True

    def _run(self) -> None:
        try:
            user = self._arena.user(self._namespace)
            for act in self._acts:
                act.do(user, self._arena.world)
            self._arena.caught_up(self._namespace)
        except BaseException as failure:  # noqa: BLE001 - handed to the thread that waits
            self._failure = failure
