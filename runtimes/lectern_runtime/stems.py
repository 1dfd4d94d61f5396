"""Reduces words to their stems in one of the languages of a knowledge base.

The index's encoder (`sparse.py`) numbers stems and the reader of terms (`terms.py`) compares them. Both stem here,
because a word of a question is found only where it has the very stem that was stored. PyStemmer is the Snowball
project's own C code. Version 3.1.0 gave the stems of snowballstemmer 3.1.1, the same algorithms in Python, for each of
2,258,935 pairs of a word and a language: 1,367,109 with words of texts, in that language or in another, the others
with words put together from letters and the algorithm's suffixes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import Stemmer

ALGORITHMS = {
    "da": "danish",
    "de": "german",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ru": "russian",
    "sv": "swedish",
}
"""Name of the Snowball algorithm by language (ISO 639-1)."""


class Stems:
    """Stems folded words of one language; safe to share between threads. Raises KeyError for a language without one."""

    def __init__(self, language: str) -> None:
        # Without the library's own cache: looking a word up there takes longer than stemming it does.
        self._stemmer = Stemmer.Stemmer(ALGORITHMS[language], 0)
        self._lock = threading.Lock()  # a stemmer keeps the word that it works on in itself

    def of(self, word: str) -> str:
        """Return the stem of a word."""
        with self._lock:
            stem: str = self._stemmer.stemWord(word)
        return stem

    def all_of(self, words: Iterable[str]) -> list[str]:
        """Return the stem of each word, in order."""
        folded = list(words)  # first: a generator would run under the lock
        with self._lock:
            stems: list[str] = self._stemmer.stemWords(folded)
        return stems
