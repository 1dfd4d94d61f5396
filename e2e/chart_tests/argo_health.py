"""Runs a health check as Argo CD does: Lua 5.1, the resource as `obj`, no libraries but the base and tables.

Argo CD embeds gopher-lua, which speaks Lua 5.1; here it is the reference interpreter of that version (package `lupa`).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

LUA: Any = importlib.import_module("lupa.lua51")  # an extension module: no type checker finds it
KEPT = ("ipairs", "next", "pairs", "pcall", "select", "table", "tonumber", "tostring", "type", "unpack")
RESULTS = ("Healthy", "Progressing", "Degraded", "Suspended")


@dataclass(frozen=True)
class Health:
    """What a check answers."""

    status: str
    message: str


def health(program: str, resource: dict[str, Any]) -> Health:
    """Return what `program` says of `resource`; raises ValueError for an answer that Argo CD would not take."""
    lua: Any = LUA.LuaRuntime(register_eval=False, register_builtins=False, unpack_returned_tuples=True)
    globals_ = lua.globals()
    for name in list(globals_):
        if name not in KEPT:
            globals_[name] = None
    globals_["obj"] = _table(lua, resource)
    answer = lua.execute(program)
    if answer is None or answer["status"] not in RESULTS or not isinstance(answer["message"], str):
        raise ValueError(f"the check answers {answer and dict(answer)!r}")
    return Health(answer["status"], answer["message"])


def _table(lua: Any, value: Any) -> Any:
    match value:
        case dict():
            return lua.table_from({key: _table(lua, each) for key, each in value.items()})
        case list() | tuple():
            return lua.table_from([_table(lua, each) for each in value])
    return value
