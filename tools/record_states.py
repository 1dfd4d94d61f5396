"""Records every state that the operator's transition tests put a resource into: `python -m tools.record_states FILE`.

Runs these tests with a plugin that looks at the fake cluster before and after each pass, and writes one JSON array:
the scenario (the test), and the resource as a GitOps tool would see it. The checks of Argo CD's health and of the
kstatus conventions are held over these states (e2e/chart_tests), so they are of today's operator and of no other.
"""

import argparse
import copy
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lectern_contract import resources
from lectern_operator_tests import passes

TESTS = Path(passes.__file__).parent
PATTERN = "test_transitions_*.py"


class Recorder:
    """A plugin of pytest: wraps the passes of the tests and keeps what they leave, each state of a scenario once."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []
        self._seen: set[str] = set()
        self._scenario = ""

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Take the name of the test as the name of the scenario."""
        self._scenario = item.nodeid.rpartition("/")[2].replace("test_transitions_", "").replace(".py::test_", ": ")

    def wrapped(self, look: Callable[[passes.Operator], Any]) -> Callable[[passes.Operator], Any]:
        """Return `look` with a record before and after."""

        async def recorded(operator: passes.Operator) -> Any:
            self._take(operator)
            try:
                return await look(operator)
            finally:
                self._take(operator)

        return recorded

    def _take(self, operator: passes.Operator) -> None:
        for (kind, _, _), body in sorted(operator.cluster.objects.items()):
            if kind in resources.KINDS:
                state = {"scenario": self._scenario, "object": _shown(body)}
                key = json.dumps(state, sort_keys=True)
                if key not in self._seen:
                    self._seen.add(key)
                    self.states.append(json.loads(key))


def _shown(body: dict[str, Any]) -> dict[str, Any]:
    """Return what decides about the health of a resource."""
    metadata = {
        name: body["metadata"][name]
        for name in ("name", "namespace", "generation", "deletionTimestamp")
        if name in body["metadata"]
    }
    return copy.deepcopy({**{key: body[key] for key in body if key != "metadata"}, "metadata": metadata})


def record(tests: Path = TESTS) -> list[dict[str, Any]]:
    """Run the transition tests below `tests` and return the states; raises SystemExit where one fails."""
    recorder = Recorder()
    files = [str(file) for file in sorted(tests.glob(PATTERN))]
    original = passes.Operator.look
    passes.Operator.look = recorder.wrapped(original)  # type: ignore[assignment,method-assign]  # a wrapper in its place
    try:
        status = pytest.main(["-q", "-n", "0", "-p", "no:cacheprovider", *files], plugins=[recorder])
    finally:
        passes.Operator.look = original  # type: ignore[method-assign]  # the same
    if status != pytest.ExitCode.OK:
        raise SystemExit(f"the transition tests do not pass ({status!r}); mend them, then record again")
    return recorder.states


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the states to the file that is named and say how many there are."""
    parser = argparse.ArgumentParser(prog="python -m tools.record_states", description=__doc__)
    parser.add_argument("file", type=Path, help="where to write the JSON array")
    options = parser.parse_args(arguments)
    states = record()
    options.file.write_text(json.dumps(states, indent=1, sort_keys=True) + "\n")
    print(f"{len(states)} states of {len({each['scenario'] for each in states})} scenarios")
    return 0


if __name__ == "__main__":
    sys.exit(main())
