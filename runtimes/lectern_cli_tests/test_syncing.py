"""Runs that somebody asks for in the process of `lectern up`: which run answers, and where none does."""

from __future__ import annotations

import pytest

from lectern_cli.statuses import SourceState
from lectern_cli.syncing import Syncing
from lectern_cli_tests import laptop
from lectern_contract import wiring
from lectern_contract.errors import ConfigurationError
from lectern_contract.reports import RunMode
from lectern_contract.resources import IngestionSource, KnowledgeBase, parse
from lectern_runtime.ingest.outcome import Tally


def syncing(idle: str = "") -> Syncing:
    """A source of which three runs have ended."""
    kb, source = parse(laptop.body("KnowledgeBase")), parse(laptop.body("IngestionSource"))
    assert isinstance(kb, KnowledgeBase)
    assert isinstance(source, IngestionSource)
    settings = wiring.connector_settings(source, kb, source_root="/nowhere")
    return Syncing(settings, SourceState(), idle, finished=3)


def test_while_nothing_runs_the_next_run_answers() -> None:
    assert syncing().ask(RunMode.SYNC) == 4


def test_while_a_run_goes_on_the_one_after_it_answers() -> None:
    running = syncing()
    running.tally = Tally()
    assert running.ask(RunMode.SYNC) == 5, "what goes on may have looked already"
    assert running.ask(RunMode.SYNC) == 5, "both askings are one run"


@pytest.mark.parametrize("modes", [(RunMode.FULL, RunMode.SYNC), (RunMode.SYNC, RunMode.FULL)])
def test_of_several_askings_the_most_thorough_is_done(modes: tuple[RunMode, RunMode]) -> None:
    asked = syncing()
    for mode in modes:
        asked.ask(mode)
    assert asked.asked is RunMode.FULL


def test_a_source_that_is_never_run_says_why() -> None:
    with pytest.raises(ConfigurationError, match=r"is not run: its spec\.suspend is true"):
        syncing("its spec.suspend is true").ask(RunMode.SYNC)
