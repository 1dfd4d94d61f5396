"""Turns text into the stems of its content words, for judging how much of a question a passage speaks about.

The query runtime's support value and the extractive generator use it. It is not the index's encoder: that one weighs
terms for search (`sparse.py`), this one only says which words carry meaning and when two of them are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import snowballstemmer

SNOWBALL = {
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
"""Name of the stemmer for each language that `KnowledgeBase.spec.sparse.language` knows."""

# Words that ask, point or join and name nothing: a passage needs none of them to answer.
_ENGLISH_EMPTY = frozenset(
    """
    a about after all also am an and another any anybody anyone anything are aren as at away be became because become
    been before being between both but by came can cannot come could couldn did didn do does doesn doing don done
    during each either else ever every far few find for from gave get gets getting give given gives go goes got had
    hadn has hasn have haven having he her here hers herself him himself his how however i if in instead into is isn
    it its itself just keep know let like ll made make makes making many may me mean means might mine more most much
    must my myself need needs no nor not of off often on once one ones only onto or other our ours ourselves out over
    own per please put quite rather re really same say says shall she should shouldn show since so some somebody
    someone something still such t take taken takes tell than that the their theirs them themselves then there these
    they thing things this those though through thus to told too took toward under until up upon us use used uses
    using ve very via want wants was wasn way we well went were weren what whatever when where whether which while
    who whom whose why will with within without won would wouldn yes yet you your yours yourself
    """.split()
)
_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_LONGEST_WORD = 64  # longer runs are digests and encoded data, which nobody asks about


class Terms:
    """Reads content words in one language (ISO 639-1). Words of an unknown language are folded but not stemmed."""

    def __init__(self, language: str | None) -> None:
        name = SNOWBALL.get(language or "")
        stemmer = snowballstemmer.stemmer(name) if name else None
        self._empty = _ENGLISH_EMPTY if language in (None, "en") else frozenset()

        # A stem costs about 30 microseconds and a corpus repeats its words: remembering them makes reading cheap.
        @lru_cache(maxsize=50_000)
        def stem(word: str) -> str:
            return str(stemmer.stemWord(word)) if stemmer else word

        self._stem = stem

    def of(self, text: str) -> list[str]:
        """Stems of the content words of `text`, in order and with repeats; `minScore` reads as two words."""
        return [self._stem(word) for word in words(text) if word not in self._empty]

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
