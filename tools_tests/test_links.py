from pathlib import Path

import pytest

from tools import links, tree

PAGE = "# Title\n\n## The `make` targets: all\n\n```sh\n# not a heading\n[no](link)\n```\n"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "other.md").write_text(PAGE)
    return tmp_path / "README.md"


@pytest.mark.parametrize(
    "link",
    [
        "[a](docs/other.md)",
        "[a](docs/other.md#the-make-targets-all)",
        "[a](docs)",
        "[a](https://example.org/none)",
        "[a](mailto:x@example.org)",
        "`[a](nothing.md)`",
        "[a](#top)",
    ],
)
def test_link_that_leads_somewhere_is_fine(link: str, page: Path) -> None:
    page.write_text(f"# Top\n{link}\n")
    assert list(links.broken(page, page.parent)) == []


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("[a](docs/none.md)", "README.md: docs/none.md leads to nothing"),
        ("[a](docs/other.md#not-a-heading)", "README.md: docs/other.md#not-a-heading: no such heading"),
        ("[a](#none)", "README.md: #none: no such heading"),
    ],
)
def test_broken_link_is_named(link: str, fault: str, page: Path) -> None:
    page.write_text(f"# Top\n{link}\n")
    assert list(links.broken(page, page.parent)) == [fault]


def test_a_link_between_two_fenced_blocks_is_seen(page: Path) -> None:
    page.write_text("Text.\n\n```sh\nx\n```\n\n[a](none.md)\n\n```sh\ny\n```\n")
    assert list(links.broken(page, page.parent)) == ["README.md: none.md leads to nothing"]


def test_every_link_of_this_repository_leads_somewhere() -> None:
    documents = tree.files(suffixes=frozenset({".md"}))
    assert [sentence for document in documents for sentence in links.broken(document, tree.ROOT)] == []
