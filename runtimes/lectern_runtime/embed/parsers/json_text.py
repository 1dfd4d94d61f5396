"""Turns JSON and JSON lines into an outline that reads well: a block for each entry at the top, keys with values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.parsers import charset
from lectern_runtime.embed.parsers.composer import Composer
from lectern_runtime.embed.parsers.faults import corrupt, fault

MAX_DEPTH = 200
_INDENT = "  "
_MAX_INDENT = 16
_TITLE_KEYS = ("title", "name")


def parse(data: bytes) -> ParsedDocument:
    """The document, numbers spelled as they are. Raises `DocumentError` Corrupt or TooDeep."""
    return _written([_loaded(charset.decode(data))])


def parse_lines(data: bytes) -> ParsedDocument:
    """A document of which each line is JSON."""
    return _written([[_loaded(line) for line in charset.decode(data).split("\n") if line.strip()]])


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except ValueError as error:
        raise corrupt("the JSON document", "it is not JSON") from error
    except RecursionError as error:
        raise _too_deep() from error


def _written(values: list[Any]) -> ParsedDocument:
    (value,) = values
    composer = Composer()
    title = ""
    if isinstance(value, dict):
        title = next((value[key] for key in _TITLE_KEYS if isinstance(value.get(key), str)), "")
        for key, each in value.items():
            composer.outline(_lines({key: each}, 0))
    elif isinstance(value, list):
        for each in value:
            composer.outline(_lines(each, 0))
    else:
        composer.block("paragraph", _scalar(value))
    return composer.finish(title)


def _lines(value: Any, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise _too_deep()
    indent = _INDENT * min(depth, _MAX_INDENT)
    if isinstance(value, dict):
        for key, each in value.items():
            if isinstance(each, (dict, list)) and each:
                yield f"{indent}{key}:"
                yield from _lines(each, depth + 1)
            else:
                yield f"{indent}{key}: {_scalar(each)}"
    elif isinstance(value, list):
        for each in value:
            if isinstance(each, (dict, list)):
                yield from _lines(each, depth + 1)
            else:
                yield f"{indent}- {_scalar(each)}"
    else:
        yield indent + _scalar(value)


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, (dict, list)):
        return ""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _too_deep() -> Exception:
    return fault("TooDeep", f"the JSON document is nested more than {MAX_DEPTH} levels deep")
