"""Fixtures of the journeys: a laptop of its own for each test, and one running corpus for those that only ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.journeys import corpus
from e2e.journeys.command import Up, up
from e2e.journeys.corpus import Laptop


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    """The usual resources and an empty directory of documents."""
    return corpus.laptop(tmp_path)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Laptop, Up]]:
    """A settled `lectern up` over twenty documents and a plain text, for tests of one module that change nothing."""
    laptop = corpus.laptop(tmp_path_factory.mktemp("asked"))
    corpus.write_documents(laptop.documents, 20)
    laptop.write(corpus.PLAIN_PATH, corpus.plain_text())
    with up(*laptop.arguments) as running:
        yield laptop, running.settled()
