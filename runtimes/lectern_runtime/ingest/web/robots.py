"""What a server's robots.txt lets us fetch and how fast, by RFC 9309; the text is read by Protego.

Pure. `crawl.py` fetches the file once a run for each origin and asks before every page.
"""

from __future__ import annotations

from dataclasses import dataclass

from protego import Protego

MAX_BYTES = 512_000
"""RFC 9309, 2.5 asks for at least 500 KiB."""
MAX_DELAY_SECONDS = 30.0
"""A crawl-delay is honoured up to this; a server that asks for more is better served by spec.rateLimit."""
PRODUCT = "Lectern"
"""The product token that robots.txt files and pages may name."""


@dataclass(frozen=True, slots=True)
class Robots:
    """The rules of one origin. `reachable` is False where nobody knows them, so that nothing may be fetched."""

    rules: Protego | None
    reachable: bool = True

    def allows(self, url: str) -> bool:
        """Whether the page may be fetched."""
        if not self.reachable:
            return False
        return self.rules is None or self.rules.can_fetch(url, PRODUCT)

    @property
    def delay_seconds(self) -> float:
        """Least time between two requests."""
        asked = self.rules.crawl_delay(PRODUCT) if self.rules is not None else None
        return min(max(asked or 0.0, 0.0), MAX_DELAY_SECONDS)


UNREACHABLE = Robots(None, reachable=False)


def read(status: int, body: bytes) -> Robots:
    """The rules that an answer to `/robots.txt` stands for (RFC 9309, 2.3.1).

    No file (4xx) allows everything; a server that cannot answer, or asks for a pause (429), allows nothing for now.
    """
    if status == 200:
        text = body[:MAX_BYTES].decode("utf-8", "replace").removeprefix("\ufeff")
        return Robots(Protego.parse(text))
    if 400 <= status < 500 and status != 429:
        return Robots(None)
    return UNREACHABLE
