from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tools import size_report
from tools.size_report import Measure, Row


def test_functions_are_measured_from_def_to_last_line() -> None:
    source = '@decorated\ndef first():\n    """Doc."""\n    return 1\n\n\nclass C:\n    async def second(self): ...\n'
    assert size_report.functions(source, "m.py") == [Measure("m.py:2 first", 3), Measure("m.py:8 second", 1)]


def test_files_are_measured_by_their_lines(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("A = 1\n\n\ndef f():\n    return A\n")
    assert size_report.measure([tmp_path / "m.py"], tmp_path) == ([Measure("m.py", 5)], [Measure("m.py:4 f", 2)])


def test_a_row_past_its_target_says_so() -> None:
    table = size_report.rows([Measure("a.py", 100), Measure("b.py", 600)], [Measure("f", 10)], test_lines=350)
    assert {row.name: row.met for row in table} == {
        "file lines, p50": True,
        "file lines, max": False,
        "function lines, p50": True,
        "function lines, p95": True,
        "function lines, max": True,
        "test lines per source": False,
    }
    assert str(table[1]).split() == ["file", "lines,", "max", "600", "<=", "500", "past", "its", "target"]


def test_an_empty_tree_is_reported_and_not_divided_by_zero() -> None:
    assert [row.value for row in size_report.rows([], [], 0)] == [0, 0, 0, 0, 0, 0]


def test_longest_lists_only_what_passes_the_limit_longest_first() -> None:
    measures = [Measure("a", 41), Measure("b", 40), Measure("c", 90)]
    assert size_report.longest(measures, 40) == [Measure("c", 90), Measure("a", 41)]


@given(st.lists(st.integers(0, 1000), min_size=1), st.integers(1, 100))
def test_percentile_is_a_value_that_the_share_does_not_exceed(values: list[int], percent: int) -> None:
    found = size_report.percentile(values, percent / 100)
    assert found in values
    assert sum(v <= found for v in values) * 100 >= percent * len(values)
    assert sum(v < found for v in values) * 100 < percent * len(values)


def test_a_floor_is_met_from_above() -> None:
    assert Row("ratio", 1.3, 1.2, at_most=False).met
    assert not Row("ratio", 1.1, 1.2, at_most=False).met
