"""The last line of a log that a kubelet kept as termination message, as a sentence: runtimes log JSON."""

from __future__ import annotations

import json
import re

_HEAD = re.compile(r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(?:[.,]\d+)?Z? (?:ERROR lectern\S* )?")
"""How a line of text begins: when, how bad, who."""


def last_words(message: str) -> str:
    """Return the last line of a log without its time, which would be another one after each restart."""
    said = [line.strip() for line in message.splitlines() if line.strip()]
    try:
        line = json.loads(said[-1]) if said else ""
    except ValueError:
        return _HEAD.sub("", said[-1])
    return str(line.get("cause") or line.get("message") or "") if isinstance(line, dict) else str(line)
