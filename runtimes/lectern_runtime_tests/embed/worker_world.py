"""What tests of the worker share: a text of several chunks, and ports that misbehave."""

from __future__ import annotations

from typing import Any

LONG = "\n\n".join(f"Paragraph {number} of the text says something of its own." for number in range(12))


class Wrapped:
    """A port with some of its methods replaced."""

    def __init__(self, real: Any, **replaced: Any) -> None:
        self._real = real
        for name, method in replaced.items():
            setattr(self, name, method)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Failing:
    """Calls that fail `times` times before they work."""

    def __init__(self, method: Any, times: int, error: Exception) -> None:
        self.method, self.left, self.error = method, times, error

    async def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.left -= 1
        if self.left >= 0:
            raise self.error
        return await self.method(*arguments, **named)
