"""The generator writes what the models say, says what is stale and how to mend it, and owns only its own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from lectern_operator import generate
from lectern_operator.generate import MARK, Drift, Family

ONE = Family("made", lambda: {"made/a.md": f"<!-- {MARK} -->\na\n", "made/deep/b.md": f"<!-- {MARK} -->\nb\n"})
ALL = ("made/a.md", "made/deep/b.md")


def test_what_is_committed_is_what_the_models_say(capsys: pytest.CaptureFixture[str]) -> None:
    status = generate.main(["--check"])
    assert (status, capsys.readouterr().err) == (0, "")


def test_every_generated_file_says_so_in_its_first_line_and_names_the_command() -> None:
    texts = generate.wanted()
    assert texts
    assert [path for path, text in texts.items() if MARK not in text.partition("\n")[0]] == []


def test_writing_makes_all_files_and_a_second_time_none(tmp_path: Path) -> None:
    assert generate.drift(tmp_path, [ONE]) == Drift(stale=ALL, orphaned=())
    assert generate.write(tmp_path, [ONE]) == Drift(stale=ALL, orphaned=())
    assert (tmp_path / "made/deep/b.md").read_text().endswith("b\n")
    assert generate.write(tmp_path, [ONE]) == Drift(stale=(), orphaned=())


def test_an_edited_file_is_stale_and_is_written_again(tmp_path: Path) -> None:
    generate.write(tmp_path, [ONE])
    (tmp_path / "made/a.md").write_text("by hand")
    assert generate.drift(tmp_path, [ONE]).stale == ("made/a.md",)
    generate.write(tmp_path, [ONE])
    assert not generate.drift(tmp_path, [ONE])


def test_a_generated_file_that_nothing_makes_goes_and_others_stay(tmp_path: Path) -> None:
    generate.write(tmp_path, [ONE])
    (tmp_path / "made/old.md").write_text(f"<!-- {MARK} -->\nold\n")
    (tmp_path / "made/mine.md").write_text("written by a person\n")
    (tmp_path / "made/picture.png").write_bytes(b"\x89PNG\xff")
    assert generate.drift(tmp_path, [ONE]).orphaned == ("made/old.md",)
    generate.write(tmp_path, [ONE])
    assert sorted(file.name for file in tmp_path.rglob("*.*")) == ["a.md", "b.md", "mine.md", "picture.png"]


def test_check_names_the_file_and_the_command_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main(["--check", "--root", str(tmp_path)]) == 1
    assert "crds/knowledgebases.yaml is not what the models say; run `make generate`" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert generate.main(["--root", str(tmp_path)]) == 0
    assert "wrote docs/reference/ragendpoint.md" in capsys.readouterr().out
    assert generate.main(["--check", "--root", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    "families", [[ONE, ONE], [Family("made", lambda: {"elsewhere/a.md": ""})]], ids=["twice", "outside its folder"]
)
def test_two_families_cannot_claim_one_file_nor_write_outside_their_folder(families: list[Family]) -> None:
    with pytest.raises(ValueError, match="is claimed twice or lies outside made"):
        generate.wanted(families)
