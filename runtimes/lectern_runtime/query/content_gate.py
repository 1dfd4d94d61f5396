"""Decides whether two questions may share an answer although their wording differs: what must agree, agrees.

A semantic cache asks it after the vectors said that two questions are near. Near is not enough: `in 2019` and `in
2020`, `with` and `without`, `Panthers` and `Broncos` lie close together and have different answers. Only what can be
read off the words is compared; nothing here knows what a question means.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NUMBER_WORDS = """zero
one first
two second twice
three third
four fourth
five fifth
six sixth
seven seventh
eight eighth
nine ninth
ten tenth
eleven eleventh
twelve twelfth"""
NUMBER_WORDS = {
    word: str(number) for number, line in enumerate(_NUMBER_WORDS.splitlines()) for word in sorted(_words(line))
}
NEGATIONS = _words(
    "not no never none nothing nobody nowhere neither nor cannot without except lack lacks nicht kein keine keinen "
    "keiner nie niemals ohne"
)
DIRECTIONS = (
    ("before", "after"), ("above", "below"), ("over", "under"), ("maximum", "minimum"), ("max", "min"),
    ("most", "least"), ("more", "less"), ("more", "fewer"), ("first", "last"), ("start", "end"), ("begin", "end"),
    ("increase", "decrease"), ("enable", "disable"), ("install", "uninstall"), ("add", "remove"),
    ("allow", "deny"), ("upgrade", "downgrade"), ("buy", "sell"), ("open", "close"), ("old", "new"),
    ("high", "low"), ("highest", "lowest"), ("largest", "smallest"), ("longest", "shortest"), ("best", "worst"),
    ("win", "lose"), ("won", "lost"), ("inside", "outside"), ("north", "south"), ("east", "west"),
    ("men", "women"), ("male", "female"), ("symptoms", "treatment"), ("cause", "effect"),
)  # fmt: skip
UNITS = _words(
    "% percent mm cm m km inch inches ft foot feet yard yards mile miles mg g kg t lb lbs pound pounds ounce ounces ml "
    "l liter liters litre litres s sec second seconds min minute minutes h hour hours day days week weeks month months "
    "year years c f k kb mb gb tb kib mib gib hz khz mhz ghz w kw mw kwh v a usd eur gbp $ € £ dollar dollars euro "
    "euros bit bits byte bytes degree degrees"
)
QUESTION_WORDS = _words("who whom whose when where why which what how")
_TOKEN = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:['’-][^\W_]+)*|[%$€£]")
_SENTENCE_START = re.compile(r"(?:^|[.!?:]\s+)[\"'“(]*$")


@dataclass(frozen=True, slots=True)
class Content:
    """What of a question must agree: each part compared on its own."""

    numbers: tuple[str, ...]
    units: frozenset[str]
    negated: bool
    directions: frozenset[str]
    entities: frozenset[str]
    asked: str


def content(question: str) -> Content:
    """Return the parts of `question` that must agree with those of another one."""
    text = unicodedata.normalize("NFKC", question)
    found = [(match.start(), match.group()) for match in _TOKEN.finditer(text)]
    words = [token.casefold() for _, token in found]
    return Content(
        numbers=tuple(sorted(number for word in words if (number := _number(word)) is not None)),
        units=frozenset(word for before, word in pairwise(words) if _is_unit(before, word)),
        negated=any(word in NEGATIONS or word.endswith(("n't", "n’t")) for word in words),
        directions=frozenset(words) & _DIRECTED,
        entities=frozenset(_entity(token) for start, token in found if _is_name(text, start, token)),
        asked=_asked(words),
    )


def agree(one: str, other: str) -> bool:
    """Return whether nothing that can be read off the words forbids that both questions have the same answer."""
    return signatures_agree(signature(one), signature(other))


def signature(question: str) -> str:
    """Return what `signatures_agree` needs of a question: a digest and words of closed lists, so no text of it."""
    found = content(question)
    parts = [list(found.numbers), sorted(found.units), found.negated, sorted(found.entities)]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return json.dumps([digest, found.asked, sorted(found.directions)], separators=(",", ":"))


def signatures_agree(one: str, other: str) -> bool:
    """Return whether two questions, by their signatures, may share an answer; an unknown one agrees with none."""
    try:
        (digest, asked, directions), (digest_2, asked_2, directions_2) = json.loads(one), json.loads(other)
    except ValueError:
        return False
    a, b = frozenset(directions), frozenset(directions_2)
    opposed = any(
        (left in a and right in b) or (right in a and left in b)
        for left, right in DIRECTIONS
        if (left in a) != (left in b)
    )
    return digest == digest_2 and not opposed and (asked == asked_2 or not (asked and asked_2))


_DIRECTED = frozenset(word for pair in DIRECTIONS for word in pair)


def _number(word: str) -> str | None:
    if word[0].isdigit():
        return re.sub(r"(?<=\d),(?=\d{3}\b)", "", word)
    return NUMBER_WORDS.get(word)


def _is_unit(before: str, word: str) -> bool:
    return (before[0].isdigit() and word in UNITS) or (before in "$€£" and word[0].isdigit())


def _is_name(text: str, start: int, token: str) -> bool:
    """Say whether a word is written as a name: a capital within a sentence, or several capitals anywhere."""
    if sum(letter.isupper() for letter in token) > 1:
        return True
    starts = _SENTENCE_START.search(text[:start]) is not None
    return token[0].isupper() and not starts and token.casefold() not in QUESTION_WORDS and len(token) > 1


def _entity(token: str) -> str:
    return token.casefold().removesuffix("'s").removesuffix("’s")


def _asked(words: list[str]) -> str:
    """Return the word that says what kind of answer is asked for; `how many` is one, as is `how long`."""
    for place, word in enumerate(words):
        if word in QUESTION_WORDS:
            after = words[place + 1] if place + 1 < len(words) else ""
            quantity = word == "how" and after in {"many", "much", "long", "old", "far", "often", "big", "tall"}
            return f"how {after}" if quantity else ("" if word in {"what", "which", "how"} else word)
    return ""
