"""The connector as a program: `python -m lectern_runtime.ingest --settings FILE` does one run and ends.

With `--serve` it is the receiver of a push source (`receiver/program.py`), which does not end by itself.

The operator starts it as a Job. Its report goes to the termination message, where Kubernetes shows it to the
operator; the exit status is 0 for a complete run, 1 for a fault of the world, 2 for one of the configuration.
SIGTERM ends the run before its next document, with a report that says so and the status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from lectern_contract import names, reports
from lectern_contract.errors import LecternError
from lectern_contract.reports import RunMode, RunReport
from lectern_contract.settings import ConnectorSettings
from lectern_runtime import failpoints, programs
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.adapters.run_scratch import RunScratch
from lectern_runtime.ingest.failpoints import FAILPOINTS
from lectern_runtime.ingest.outcome import EXIT_CONFIGURATION, exit_status
from lectern_runtime.ingest.run import run
from lectern_runtime.telemetry import exporting
from lectern_runtime.telemetry import logging as log_lines

TERMINATION_LOG = Path("/dev/termination-log")
logger = logging.getLogger("lectern.connector")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one run; the exit status of the process."""
    parser = argparse.ArgumentParser(prog="lectern_runtime.ingest", description="Do one run of a connector.")
    parser.add_argument("--settings", type=Path, default=Path(names.SETTINGS_FILE))
    modes = {mode.lower(): mode for mode in RunMode}
    parser.add_argument("--mode", choices=modes, default=RunMode.SYNC.lower(), help="what the run does")
    parser.add_argument("--data-dir", type=Path, default=None, help="where the embedded log and blobs lie")
    parser.add_argument("--serve", action="store_true", help="be the receiver of a push source")
    # Inside a pod every interface is the pod's own; who may reach it is the NetworkPolicy's to say.
    parser.add_argument("--host", default="0.0.0.0", help="of the receiver")  # noqa: S104
    parser.add_argument("--port", type=int, default=names.RUNTIME_PORT, help="of the receiver")
    options = parser.parse_args(arguments)
    if options.serve:
        return _receive(options)
    log_lines.configure("INFO")
    try:
        loaded = programs.load_settings(options.settings, ConnectorSettings)
        base = f"{loaded.namespace}/{loaded.knowledge_base}"
        with exporting.traces("connector", loaded.tracing, attributes={"lectern.knowledge_base": base}):
            report = asyncio.run(_run(loaded, options.data_dir, modes[options.mode]))
    except LecternError as error:
        logger.error("%s", error)
        return EXIT_CONFIGURATION
    _tell(report)
    return exit_status(report)


def _receive(options: argparse.Namespace) -> int:
    """Be the receiver until a signal; its libraries are loaded only here."""
    from lectern_runtime.ingest.receiver import program

    log_lines.configure("INFO")
    try:
        program.run(options.settings, options.data_dir, host=options.host, port=options.port)
    except LecternError as error:
        logger.error("%s", error)
        return programs.exit_status(error)
    return programs.EXIT_STOPPED


async def _run(loaded: ConnectorSettings, data_dir: Path | None, mode: RunMode) -> RunReport:
    async with contextlib.AsyncExitStack() as stack:
        data = None
        if data_dir is not None:
            data = stack.enter_context(DataDirectory.open(data_dir, created_by=f"lectern {version('lectern')}"))
        log = await compose.open_log(loaded.log, data)
        stack.push_async_callback(log.close)
        blobs = await compose.open_blobs(loaded.blobs, data)
        stack.push_async_callback(blobs.close)
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        failpoint = failpoints.from_environment(os.environ, FAILPOINTS)
        return await run(
            loaded, log=log, blobs=blobs, scratch=RunScratch.open, mode=mode, stop=stop, failpoint=failpoint
        )


def _tell(report: RunReport) -> None:
    counts = {name: getattr(report, name) for name in ("published", "deleted", "unchanged", "failed", "documents")}
    fields = {"source": report.source, "mode": report.mode, "result": report.result, "reason": report.reason, **counts}
    failed = {"failures_by_reason": report.failures_by_reason} if report.failures_by_reason else {}
    level = logging.INFO if report.result == "Succeeded" else logging.ERROR
    logger.log(level, "%s: %s: %s", report.source, report.result, report.message, extra={**fields, **failed})
    if TERMINATION_LOG.exists():
        TERMINATION_LOG.write_bytes(reports.encode(report))


if __name__ == "__main__":
    log_lines.last_words()
    sys.exit(main())
