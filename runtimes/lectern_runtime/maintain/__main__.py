"""Dead letters as a program: `python -m lectern_runtime.maintain list | show | replay | drop`; `rewind` has its own.

Run it where a worker runs, since settings and secrets are there, for instance by
`kubectl exec deploy/NAME-worker -- python -m lectern_runtime.maintain list`. The output is one line, or with --json one
object, for each letter.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from lectern_contract import names
from lectern_contract.errors import ConfigurationError, LecternError
from lectern_contract.settings import WorkerSettings
from lectern_runtime import programs
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.maintain import rewind_program
from lectern_runtime.maintain.dead_letters import DeadLetters, Filter, Heard, Letter, Look, nobody_hears
from lectern_runtime.moments import rfc3339, seconds_of
from lectern_runtime.telemetry import logging as log_lines

ACTS = ("list", "show", "replay", "drop")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; the exit status of the process."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    log_lines.configure("WARNING")
    try:
        if given[:1] == ["rewind"]:
            return rewind_program.main(given[1:])
        options = _parser().parse_args(given)
        wanted = filter_of(options.act, options.source, options.reason, options.uri, options.since)
        loaded = programs.load_settings(options.settings, WorkerSettings)
        sys.stdout.write(asyncio.run(act(loaded, options.act, wanted, data_dir=options.data_dir, as_json=options.json)))
    except LecternError as error:
        sys.stderr.write(f"{error}\n")
        return programs.exit_status(error)
    return programs.EXIT_STOPPED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lectern_runtime.maintain", description="Look at dead letters, and mend.")
    parser.add_argument("act", choices=ACTS, help="show tells all of each letter; drop says that the document is gone")
    parser.add_argument("--source", help="letters of this IngestionSource")
    parser.add_argument("--reason", help="letters of this reason, for instance Encrypted")
    parser.add_argument("--uri", help="letters whose uri fits this shell pattern")
    parser.add_argument("--since", help="letters from this moment on, RFC 3339")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--settings", type=Path, default=Path(names.SETTINGS_FILE), help="settings of a worker")
    parser.add_argument("--data-dir", type=Path, default=None, help="where the embedded log and store lie")
    return parser


def filter_of(act: str, source: str | None, reason: str | None, uri: str | None, since: str | None) -> Filter:
    """The letters that the options mean; raises `ConfigurationError` for what can hardly be meant."""
    wanted = Filter(source, reason, uri, None if since is None else seconds_of(since, "--since"))
    if act == "drop" and wanted == Filter():
        raise ConfigurationError("drop needs --source, --reason, --uri or --since: all letters are seldom meant")
    return wanted


async def act(
    loaded: WorkerSettings,
    what: str,
    wanted: Filter,
    *,
    data_dir: Path | None,
    as_json: bool,
    heard: Heard = nobody_hears,
) -> str:
    """Do `what` (one of `ACTS`) with the letters of a worker's knowledge base, and return what to tell."""
    async with contextlib.AsyncExitStack() as stack:
        data = None
        if data_dir is not None:
            data = stack.enter_context(DataDirectory.open(data_dir, created_by=f"lectern {version('lectern')}"))
        log = await compose.open_log(loaded.log, data)
        stack.push_async_callback(log.close)
        store = await compose.open_store(loaded.store, data)
        stack.push_async_callback(store.close)
        letters = DeadLetters(loaded, log=log, store=store, heard=heard)
        look = await letters.look(wanted)
        if what == "replay":
            return f"{await letters.replay(look.letters)} messages said again\n"
        if what == "drop":
            return f"{await letters.drop(look.letters)} documents said to be gone\n"
        return _told(look, whole=what == "show", as_json=as_json)


def _told(look: Look, *, whole: bool, as_json: bool) -> str:
    if as_json:
        return "".join(json.dumps(_object(letter), ensure_ascii=False) + "\n" for letter in look.letters)
    lines = [line for letter in look.letters for line in (_all(letter) if whole else [_line(letter)])]
    lines += [f"{look.unreadable} letters cannot be read by this release"] if look.unreadable else []
    lines += ["there are more letters than one look reads; narrow --since"] if look.more else []
    return "".join(f"{line}\n" for line in lines or ["no document is given up"])


def _object(letter: Letter) -> dict[str, object]:
    return {"written_at": rfc3339(letter.time_ms / 1000), **letter.body.model_dump(mode="json")}


def _line(letter: Letter) -> str:
    document = letter.body.message.document
    return f"{rfc3339(letter.time_ms / 1000)}  {document.source}  {letter.body.reason}  {document.uri!r}"


def _all(letter: Letter) -> list[str]:
    body, document = letter.body, letter.body.message.document
    return [
        _line(letter),
        f"    {body.detail}",
        f"    stage {body.stage}, {body.attempts} attempts, partition {document.tenant}/{document.access_level}, "
        f"message {body.origin_partition}/{body.origin_offset}",
    ]


if __name__ == "__main__":
    log_lines.last_words()
    sys.exit(main())
