"""Rewinding as a program: `python -m lectern_runtime.maintain rewind --to-start`, for a pod with the worker's files.

It needs the log only, so that it may run while the knowledge base is suspended and no worker does. `lectern rewind` is
the same from a machine that reaches the brokers.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lectern_contract import names
from lectern_contract.errors import ConfigurationError, LecternError
from lectern_contract.settings import WorkerSettings
from lectern_runtime import programs
from lectern_runtime.adapters import compose
from lectern_runtime.maintain.rewind import Rewind, Target, act


def main(arguments: Sequence[str]) -> int:
    """Do what is asked; return the exit status. Raises `ConfigurationError` for options and settings only."""
    options = _parser().parse_args(arguments)
    target = Target.of(to_start=options.to_start, to_time=options.to_time, by_messages=options.by_messages)
    agree = agreement(yes=options.yes, dry_run=options.dry_run)
    loaded = programs.load_settings(options.settings, WorkerSettings)

    async def rewound() -> bool:
        log = await compose.open_log(loaded.log, None)
        try:
            rewind = Rewind(
                log,
                namespace=loaded.namespace,
                knowledge_base=loaded.knowledge_base,
                generation=options.generation or loaded.generation,
            )
            return await act(
                rewind, target, options.partition or (), dry_run=options.dry_run, agree=agree, say=sys.stdout.write
            )
        finally:
            await log.close()

    try:
        return programs.EXIT_STOPPED if asyncio.run(rewound()) else programs.EXIT_FAILED
    except LecternError as error:
        # A Job's pod has the labels of a worker, of which the operator takes status 2 for refused settings.
        sys.stderr.write(f"{error}\n")
        return programs.EXIT_FAILED


def agreement(*, yes: bool, dry_run: bool) -> Callable[[str], bool]:
    """Return what asks a person at the terminal; raises `ConfigurationError` when there is nobody to ask."""
    if yes or dry_run:
        return lambda _question: True
    if not sys.stdin.isatty():
        raise ConfigurationError("rewind asks before it writes, and there is no terminal: say --yes, or --dry-run")
    return lambda question: input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lectern_runtime.maintain rewind",
        description="Send the workers of a knowledge base back in the log, while none of them runs.",
    )
    parser.add_argument("--to-start", action="store_true", help="to the beginning of the log")
    parser.add_argument("--to-time", help="to the messages of this moment, RFC 3339")
    parser.add_argument("--by-messages", type=int, help="by so many messages in each partition")
    parser.add_argument("--partition", type=int, action="append", help="only this partition; may be repeated")
    parser.add_argument("--generation", type=int, help="of this index generation; default: that of the settings")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--settings", type=Path, default=Path(names.SETTINGS_FILE), help="settings of a worker")
    return parser
