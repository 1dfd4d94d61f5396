"""Parsing: from bytes of each kind to text, title and blocks, or to a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_contract.errors import DocumentError
from lectern_runtime.embed import parse
from lectern_runtime.embed.parsed import Block, ParsedDocument, covering
from lectern_runtime.embed.parsers import charset, html, markdown, text

MARKDOWN, HTML, PLAIN = "text/markdown", "text/html", "text/plain"


def shape(parsed: ParsedDocument) -> list[tuple[str, str, str]]:
    """Blocks as (kind, section, text)."""
    return [(block.kind, " > ".join(block.section), parsed.text[block.start : block.end]) for block in parsed.blocks]


def test_markdown_keeps_its_source_and_knows_its_blocks() -> None:
    lines = ["# Top *one* {#id}", "", "text [a](b)", "", "[ref]: http://x", "", "## Sub", "- a", "- b", ""]
    lines += ["```", "# no", "", "x", "```", "|a|b|", "|-|-|", "|1|2|", "", "end"]
    parsed = parse.parse("\r\n".join(lines).encode(), MARKDOWN)
    assert parsed.title == "Top one"
    assert parsed.text == "\n".join(lines)
    assert shape(parsed) == [
        ("heading", "Top one", "# Top *one* {#id}"),
        ("paragraph", "Top one", "text [a](b)"),
        ("paragraph", "Top one", "[ref]: http://x"),
        ("heading", "Top one > Sub", "## Sub"),
        ("list", "Top one > Sub", "- a\n- b"),
        ("code", "Top one > Sub", "```\n# no\n\nx\n```"),
        ("table", "Top one > Sub", "|a|b|\n|-|-|\n|1|2|"),
        ("paragraph", "Top one > Sub", "end"),
    ]


@pytest.mark.parametrize(
    ("source", "title", "text"),
    [
        ('---\nlayout: x\ntitle: "A \\"b\\""\n---\n# H\nt', 'A "b"', "# H\nt"),
        ("---\ntitle: Plain\n---\nt", "Plain", "t"),
        ("---\nnav: 1\n---\n# H\nt", "H", "# H\nt"),
        ('+++\ntitle = "Toml"\n+++\nt', "Toml", "t"),
        ("---\n\nno front matter\n\n---\nt", "", "---\n\nno front matter\n\n---\nt"),
        ("---\ntitle: never closed\n\nt", "", "---\ntitle: never closed\n\nt"),
        ("Setext\n======\nt", "Setext", "Setext\n======\nt"),
    ],
)
def test_front_matter_gives_the_title_and_goes(source: str, title: str, text: str) -> None:
    parsed = parse.parse(source.encode(), MARKDOWN)
    assert (parsed.title, parsed.text) == (title, text)


def test_embedded_images_are_not_text() -> None:
    parsed = parse.parse(b"see ![x](data:image/png;base64," + b"QUJD" * 500 + b") here", MARKDOWN)
    assert parsed.text == "see ![x](data:) here"


def test_html_becomes_readable_text() -> None:
    source = """<html><head><title>The  title</title><style>p{}</style></head><body><nav>menu</nav>
        <h1>Top <em>one</em></h1><p>Hello <b>big</b>
        world<br>next</p><ul><li>a<li><p>b</p><ul><li>c</ul></ul>
        <table><tr><th>A</th><th><p>B</p></th></tr><tr><td>1<td>2</table>
        <pre>x = 1

y</pre><h2>Sub</h2>tail <script>no()</script> end <p hidden>no</p><img alt="a picture"></body></html>"""
    parsed = parse.parse(source.encode(), HTML)
    assert parsed.title == "The title"
    assert shape(parsed) == [
        ("heading", "Top one", "Top one"),
        ("paragraph", "Top one", "Hello big world\nnext"),
        ("list", "Top one", "- a\n- b\n  - c"),
        ("table", "Top one", "A | B\n1 | 2"),
        ("code", "Top one", "x = 1\n\ny"),
        ("heading", "Top one > Sub", "Sub"),
        ("paragraph", "Top one > Sub", "tail end a picture"),
    ]


def test_html_nests_as_deep_as_it_likes() -> None:
    parsed = parse.parse(b"<div>" * 20_000 + b"deep" + b"<ul><li>" * 200 + b"end", HTML)
    assert parsed.text.startswith("deep")
    assert parsed.text.endswith("- end")


def test_plain_text_has_paragraphs_and_no_title() -> None:
    parsed = parse.parse(b"one\nline\n\n  \n\ntwo\n", PLAIN)
    assert (parsed.title, shape(parsed)) == ("", [("paragraph", "", "one\nline"), ("paragraph", "", "two")])


WORDS = "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 5


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("\ufeffplain é".encode(), "plain é"),
        ("wide é".encode("utf-16"), "wide é"),
        ("wide é".encode("utf-32"), "wide é"),
        (b"\xfe\xff" + "big é".encode("utf-16-be"), "big é"),
        (("no mark " * 20).encode("utf-16-le"), "no mark " * 20),
        (("no mark " * 20).encode("utf-16-be"), "no mark " * 20),
        (WORDS.encode("koi8-r"), WORDS),
        (WORDS.encode("cp1251"), WORDS),
        (b"caf\xe9 cr\xe8me", "café crème"),
        (b"a\r\nb\rc\n", "a\nb\nc\n"),
    ],
)
def test_text_comes_back_from_any_charset(data: bytes, text: str) -> None:
    assert charset.decode(data) == text


def test_html_is_believed_about_its_charset_only_when_it_fits() -> None:
    head = b'<meta http-equiv="Content-Type" content="text/html; charset=%s"><p>'
    assert parse.parse(head % b"shift_jis" + "日本語".encode("shift_jis"), HTML).text == "日本語"
    assert parse.parse(head % b"ascii" + "日本語".encode(), HTML).text == "日本語"
    assert parse.parse(head % b"iso-8859-1" + b"\x80 5", HTML).text == "€ 5"


@pytest.mark.parametrize(
    ("data", "media_type", "reason"),
    [
        (b"%PDF-1.7\n...", PLAIN, "NotWhatItSays"),
        (b"PK\x03\x04aaa", MARKDOWN, "NotWhatItSays"),
        (b"\x00\x01\x02\x03" * 100, MARKDOWN, "BinaryContent"),
        (bytes(range(1, 32)) * 100, PLAIN, "BinaryContent"),
        (bytes(range(256)) * 10, HTML, "CharsetUnknown"),
        (b"", PLAIN, "NoText"),
        (b" \n\t ", MARKDOWN, "NoText"),
        (b"<html><script>x()</script></html>", HTML, "NoText"),
        (b"--- *** ---", PLAIN, "NoText"),
        (b"x", "application/x-unheard-of", "MediaTypeUnknown"),
        (b"x", "application/pdf", "NotWhatItSays"),
    ],
)
def test_what_is_no_text_is_refused_with_a_reason(data: bytes, media_type: str, reason: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse.parse(data, media_type)
    assert (caught.value.stage, caught.value.reason) == ("parse", reason)


@given(st.sampled_from([MARKDOWN, HTML, PLAIN]), st.text(st.sampled_from("ab \n#>-*`|<>/pdivul&;1.é\t"), max_size=200))
def test_blocks_cover_all_text_in_order_and_survive_json(media_type: str, source: str) -> None:
    parsed = {MARKDOWN: markdown, HTML: html, PLAIN: text}[media_type].parse(source.encode())
    end = 0
    for block in parsed.blocks:
        assert not parsed.text[end : block.start].strip()
        piece = parsed.text[block.start : block.end]
        assert piece
        assert piece == piece.strip()
        end = block.end
    assert not parsed.text[end:].strip()
    assert ParsedDocument.from_json(parsed.to_json()) == parsed
    if media_type == PLAIN:
        assert parsed.text == source


def test_gaps_between_blocks_become_paragraphs() -> None:
    blocks = covering(" a b c ", [Block(3, 4, "code", ("S",))])
    assert blocks == (Block(1, 2, "paragraph"), Block(3, 4, "code", ("S",)), Block(5, 6, "paragraph", ("S",)))
