"""What failed once runs again and is named; what fails twice, or in numbers, fails the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import again

ONCE = """
from pathlib import Path

def test_steady():
    with Path("steady").open("a") as file:
        file.write("x")

def test_unsteady():
    seen = Path("seen")
    if not seen.exists():
        seen.touch()
        raise AssertionError
"""


@pytest.fixture
def journeys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with a folder for journeys."""
    (tmp_path / "e2e").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_fails_once_is_run_again_alone_and_named(journeys: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (journeys / "e2e/test_it.py").write_text(ONCE)

    assert again.main("step", ["e2e"]) == 0

    assert "step: unsteady: e2e.test_it::test_unsteady\n" in capfd.readouterr().out
    assert (journeys / "steady").read_text() == "x"


def test_what_failed_beside_others_is_run_again_with_nothing_beside_it(
    journeys: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # this test may run in such a worker itself
    alone = "import os\n\ndef test_alone():\n    assert 'PYTEST_XDIST_WORKER' not in os.environ\n"
    (journeys / "e2e/test_it.py").write_text(alone)

    assert again.main("unit", ["-n", "2", "e2e"]) == 0

    assert "unit: unsteady: e2e.test_it::test_alone\n" in capfd.readouterr().out


def test_what_fails_twice_fails_the_run(journeys: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (journeys / "e2e/test_it.py").write_text("def test_broken():\n    raise AssertionError\n")

    assert again.main("step", ["e2e"]) == 1

    assert "step: FAILED TWICE: e2e.test_it::test_broken\n" in capfd.readouterr().out


def test_many_failures_are_no_accident(journeys: Path, capfd: pytest.CaptureFixture[str]) -> None:
    broken = "".join(f"def test_{number}():\n    raise AssertionError\n" for number in range(again.MOST_AGAIN + 1))
    (journeys / "e2e/test_it.py").write_text(broken)

    assert again.main("step", ["e2e"]) == 1

    assert "once more" not in capfd.readouterr().out


def test_what_cannot_be_collected_is_not_tried_again(journeys: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (journeys / "e2e/test_it.py").write_text("import no_such_module\n")

    assert again.main("step", ["e2e"]) == 2

    assert "once more" not in capfd.readouterr().out
