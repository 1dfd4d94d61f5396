from pathlib import Path

import pytest

from tools import readme_commands, tree
from tools.readme_commands import Command

HELP = {"": "Commands: ask, up", "ask": "Options: --data-dir DIR  --json", "up": "Options: -f DIR  --port PORT"}
MAKEFILE = "setup: .venv ## install\nunit: setup ## run the tests\n.hidden:\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "config").mkdir()
    return tmp_path


def faults_of(block: str, root: Path) -> list[str]:
    document = root / "README.md"
    document.write_text(f"Text.\n\n```sh\n{block}\n```\n")
    return readme_commands.check([document], HELP.get, root)


def test_commands_are_read_from_runnable_blocks_only() -> None:
    text = (
        "```sh\nmake setup # first\n```\n```sh later\nhelm x\n```\n```yaml\na: b\n```\n"
        "```console\n$ lectern up\nready\n```\n"
    )
    assert readme_commands.commands(text, "R.md") == [
        Command("R.md", 2, ("make", "setup")),
        Command("R.md", 11, ("lectern", "up")),
    ]


def test_a_line_is_split_into_commands_and_continued() -> None:
    text = "```sh\nA=1 lectern ask \\\n  'how are you?' | cat && make unit\n```\n"
    assert [c.words for c in readme_commands.commands(text, "R.md")] == [
        ("lectern", "ask", "how are you?"),
        ("cat",),
        ("make", "unit"),
    ]


@pytest.mark.parametrize(
    "command",
    [
        "make setup unit ARGS='-k x'",
        ".venv-local/bin/lectern ask 'what?' --data-dir d --json",
        "lectern up -f config --port=80",
        "lectern --help",
        "git clone https://example.org/x && cd x",
    ],
)
def test_command_that_exists_has_no_fault(command: str, repository: Path) -> None:
    help_with_help = {**HELP, "": HELP[""] + " --help"}
    document = repository / "README.md"
    document.write_text(f"```sh\n{command}\n```\n")
    assert readme_commands.check([document], help_with_help.get, repository) == []


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("make everything", "README.md:4: make has no target everything"),
        ("lectern fly", "README.md:4: lectern has no command fly"),
        ("lectern ask --loud", "README.md:4: lectern ask has no option --loud"),
        ("lectern ask --js", "README.md:4: lectern ask has no option --js"),
        ("lectern up -f samples", "README.md:4: samples does not exist"),
        ("scripts/x.sh", "README.md:4: scripts/x.sh is neither of this repository nor a known program"),
    ],
)
def test_command_that_does_not_exist_is_named_with_its_line(command: str, fault: str, repository: Path) -> None:
    assert faults_of(command, repository) == [fault]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_commands_of_this_repository_exist(name: str) -> None:
    document = tree.ROOT / name
    assert readme_commands.commands(document.read_text(), name), f"{name} shows no command: mark its blocks `sh`"
    assert readme_commands.check([document], readme_commands.lectern_help) == []
