"""Turns text into the stems of its content words, for judging how much of a question a passage speaks about.

The query runtime's support value and the extractive generator use it. It is not the index's encoder: that one weighs
terms for search (`sparse.py`), this one only says which words carry meaning and when two of them are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lectern_runtime.stems import ALGORITHMS, Stems
from lectern_runtime.stop_words import STOP_WORDS

# What people write around a question in English and what names nothing; function words stand in `stop_words.py`.
_EMPTY_IN_QUESTIONS = """
also another anybody anyone anything away became become becomes been came come else ever every everything far find
gave get gets getting give given gives go goes going got happen happens instead keep know let like made make makes
making many may mean means might mine much must need needs one ones onto please put quite rather really say says
shall show since somebody someone something still take taken takes tell thing things though thus told together
took toward upon use used uses using via want wants way well whatever whenever whether whose within without
yes yet
"""
_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_LONGEST_WORD = 64  # longer runs are digests and encoded data, which nobody asks about


class Terms:
    """Reads content words in one language (ISO 639-1). Words of an unknown language are folded but not stemmed."""

    def __init__(self, language: str | None) -> None:
        self._stems = Stems(language) if language in ALGORITHMS else None
        known = STOP_WORDS.get(language or "en", frozenset())
        self._empty = known.union(_EMPTY_IN_QUESTIONS.split()) if language in (None, "en") else known

    def of(self, text: str) -> list[str]:
        """Stems of the content words of `text`, in order and with repeats; `minScore` reads as two words."""
        content = [word for word in words(text) if word not in self._empty]
        return self._stems.all_of(content) if self._stems else content

    def distinct(self, text: str) -> frozenset[str]:
        """The distinct stems of the content words of `text`."""
        return frozenset(self.of(text))


def words(text: str) -> Iterator[str]:
    """Lower-case words of `text`; identifiers in camel case fall into their parts."""
    for match in _WORD.finditer(text):
        word = match.group()
        if len(word) > _LONGEST_WORD:
            continue
        if word.islower() or word.isupper() or word.isdigit() or word.istitle():
            yield word.lower()
        else:
            for part in _CAMEL.findall(word):
                yield part.lower()
