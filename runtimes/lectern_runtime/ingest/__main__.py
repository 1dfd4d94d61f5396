"""The connector as a program: `python -m lectern_runtime.ingest --settings FILE` does one run and ends.

The operator starts it as a Job. Its report goes to the termination message, where Kubernetes shows it to the
operator; the exit status is 0 for a complete run, 1 for a fault of the world, 2 for one of the configuration.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from lectern_contract import names, reports
from lectern_contract.errors import LecternError
from lectern_contract.reports import RunMode, RunReport
from lectern_contract.settings import ConnectorSettings
from lectern_runtime import programs
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.ingest.outcome import EXIT_CONFIGURATION, exit_status
from lectern_runtime.ingest.run import run

TERMINATION_LOG = Path("/dev/termination-log")
logger = logging.getLogger("lectern.connector")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one run; the exit status of the process."""
    parser = argparse.ArgumentParser(prog="lectern_runtime.ingest", description="Do one run of a connector.")
    parser.add_argument("--settings", type=Path, default=Path(names.SETTINGS_FILE))
    modes = {mode.lower(): mode for mode in RunMode}
    parser.add_argument("--mode", choices=modes, default=RunMode.SYNC.lower(), help="what the run does")
    parser.add_argument("--data-dir", type=Path, default=None, help="where the embedded log and blobs lie")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        loaded = programs.load_settings(options.settings, ConnectorSettings)
        report = asyncio.run(_run(loaded, options.data_dir, modes[options.mode]))
    except LecternError as error:
        logger.error("%s", error)
        return EXIT_CONFIGURATION
    _tell(report)
    return exit_status(report)


async def _run(loaded: ConnectorSettings, data_dir: Path | None, mode: RunMode) -> RunReport:
    async with contextlib.AsyncExitStack() as stack:
        data = None
        if data_dir is not None:
            data = stack.enter_context(DataDirectory.open(data_dir, created_by=f"lectern {version('lectern')}"))
        log = await compose.open_log(loaded.log, data)
        stack.push_async_callback(log.close)
        blobs = await compose.open_blobs(loaded.blobs, data)
        stack.push_async_callback(blobs.close)
        return await run(loaded, log=log, blobs=blobs, mode=mode)


def _tell(report: RunReport) -> None:
    logger.info("%s: %s: %s", report.source, report.result, report.message)
    if TERMINATION_LOG.exists():
        TERMINATION_LOG.write_bytes(reports.encode(report))


if __name__ == "__main__":
    sys.exit(main())
