"""Runs a coroutine in a thread with an event loop of its own, as long as a `with` block lasts.

The fakes use it, so that the same fake serves synchronous and asynchronous tests and a test that blocks does not
stop the fake.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress

from e2e.testbed.errors import StartFailed

STOP_SECONDS = 10.0

Body = Callable[[Callable[[], None]], Coroutine[None, None, None]]


@contextmanager
def running(name: str, body: Body, start_seconds: float = 15.0) -> Iterator[None]:
    """Run `body(started)` in the background until the block ends; the block begins when it calls `started()`.

    An error of the body is raised at the end of the block (or at once, when the body fails before `started()`),
    before an error of the block itself: a fake that died is the likely cause of a test that waited in vain.
    """
    thread = _LoopThread(name, body)
    thread.start()
    try:
        if not thread.started.wait(start_seconds):
            raise StartFailed(f"{name} was not up within {start_seconds:.0f} s.")
        thread.raise_failure()
        yield
    finally:
        thread.stop()
        thread.raise_failure()


class _LoopThread(threading.Thread):
    def __init__(self, name: str, body: Body) -> None:
        super().__init__(name=name, daemon=True)
        self.started = threading.Event()
        self._body = body
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            return  # stop() asked for it
        except BaseException as failure:  # noqa: BLE001 - handed over to the thread that waits
            self._failure = failure
        finally:
            self.started.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        await self._body(self.started.set)

    def stop(self) -> None:
        """Cancel the body and wait for its end."""
        if self._loop is not None and self._task is not None and self.is_alive():
            with suppress(RuntimeError):  # the loop closed since the check: the body has ended
                self._loop.call_soon_threadsafe(self._task.cancel)
        self.join(STOP_SECONDS)
        if self.is_alive():
            raise StartFailed(
                f"{self.name} did not stop within {STOP_SECONDS:.0f} s; a callback of the test may block."
            )

    def raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        while isinstance(failure, BaseExceptionGroup) and len(failure.exceptions) == 1:
            failure = failure.exceptions[0]
        if failure is not None:
            raise failure
