"""What the http connector keeps of a page: validators for the next run, unpacked bytes, a bounded spool on disk."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectern_runtime.ingest.connector import Fetched
from lectern_runtime.ingest.web import validators
from lectern_runtime.ingest.web.inflate import Damaged, Inflater, TooMuch, gunzip
from lectern_runtime.ingest.web.spool import Spool
from lectern_runtime.ingest.web.validators import Validators


def test_what_is_known_of_a_page_asks_for_its_change_and_nothing_else_does() -> None:
    known = validators.of(b"text", {"etag": 'W/"1"', "last-modified": "Mon"}, "text/html")
    assert validators.read(known.text()) == known
    assert known.conditions() == {"If-None-Match": 'W/"1"', "If-Modified-Since": "Mon"}
    assert validators.of(b"text", {}, "").conditions() == {}
    assert len(validators.of(b"", {"etag": "x" * 256, "last-modified": "y" * 256}, "a/" + "b" * 125).text()) < 1024
    for odd in ("", "x", "[]", "null", '{"sha256": 1}', '{"other": "x"}', '"x"'):
        assert validators.read(odd) == Validators()


@pytest.mark.parametrize("value", ["x" * 257, "a\r\nb", "ü", "\x00", None])
def test_headers_that_cannot_be_sent_back_are_left_out(value: str | None) -> None:
    assert validators.header(value) == ""


@given(st.binary(max_size=200_000), st.integers(1, 70_000))
def test_unpacking_gives_what_was_packed_in_pieces_of_any_size(data: bytes, step: int) -> None:
    packed = gzip.compress(data) + gzip.compress(b"more")
    inflater = Inflater(len(data) + 4)
    found = b"".join(inflater.feed(packed[at : at + step]) for at in range(0, len(packed), step))
    inflater.end()
    assert found == data + b"more"


def test_unpacking_stops_at_the_limit_and_at_damage() -> None:
    bomb = gzip.compress(bytes(100_000_000))
    with pytest.raises(TooMuch):
        gunzip(bomb, limit=1_000_000)
    for damaged in (b"", b"\x1f\x8b", b"text", gzip.compress(b"text")[:-1], zlib.compress(b"text")[:-1]):
        with pytest.raises(Damaged):
            gunzip(damaged, limit=100)
    assert gunzip(gzip.compress(b"text") + b"\x00\x00", limit=100) == b"text"


def test_the_spool_keeps_the_newest_within_its_bounds_and_each_page_once() -> None:
    spool = Spool(max_bytes=10, max_pages=3)
    for name in "abcd":
        spool.put(name, Fetched(name.encode() * 2, media_type="text/html", etag=name))
    assert spool.bytes == 6
    assert [spool.take(name) for name in "abbd"] == [
        None,
        Fetched(b"bb", media_type="text/html", etag="b"),
        None,
        Fetched(b"dd", media_type="text/html", etag="d"),
    ]
    spool.put("big", Fetched(b"x" * 11))
    spool.put("nine", Fetched(b"x" * 9))
    assert (spool.take("big"), spool.take("c"), spool.bytes) == (None, None, 9)
    spool.put("nine", Fetched(b"y"))
    assert spool.take("nine") == Fetched(b"y")
    spool.close()
    assert (spool.take("d"), spool.bytes) == (None, 0)
