"""Replaces personal data in what a parser found, before it is cut, embedded, stored or told.

Called by the worker between parsing and chunking. What stands in the text afterwards is all that the index knows;
offsets in citations count the masked text. The bytes in the blob store stay as the source has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import phonenumbers
import re2

from lectern_contract.errors import ConfigurationError
from lectern_contract.payload import MetadataValue
from lectern_contract.settings import MaskingRuleSettings
from lectern_runtime.embed.parsed import Block, ParsedDocument

Span = tuple[int, int]
Find = Callable[[str], Iterable[Span]]

# RE2 matches in linear time whatever a text or a user's pattern is.
_EMAIL = re2.compile(r"[\p{L}\p{N}._%+'-]+@(?:[\p{L}\p{N}-]+\.)+\p{L}{2,}")
_IBAN = re2.compile(r"\b[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?\b")
_CARD = re2.compile(r"\b[2-6](?:[ -]?[0-9]){12,18}\b")
_IBAN_LENGTHS = range(15, 35)
_MOST_PHONE_TRIES = 1 << 30
"""The library gives up after some thousand candidates that are no numbers; a table of figures has more."""


class Masking:
    """The rules of `spec.dataPolicy.masking`, each applied to what the ones before it have left."""

    def __init__(self, rules: Sequence[MaskingRuleSettings]) -> None:
        """Raises `ConfigurationError` for a pattern that is none."""
        self._rules = tuple((f"[{rule.name}]", _finder(rule)) for rule in rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def text(self, text: str) -> str:
        """Return `text` masked."""
        for mask, find in self._rules:
            text = _replaced(text, _merged(find(text)), mask)
        return text

    def metadata(self, metadata: Mapping[str, MetadataValue]) -> dict[str, MetadataValue]:
        """Return the metadata with its texts masked."""
        return {key: self.text(value) if isinstance(value, str) else value for key, value in metadata.items()}

    def document(self, parsed: ParsedDocument) -> ParsedDocument:
        """Return the document masked: title, text with its blocks moved, and the headings above them."""
        text, blocks = parsed.text, parsed.blocks
        for mask, find in self._rules:
            if spans := _merged(find(text)):
                text, blocks = _replaced(text, spans, mask), _moved(blocks, spans, len(mask))
        sections = {path: tuple(map(self.text, path)) for path in {block.section for block in blocks}}
        blocks = tuple(replace(block, section=sections[block.section]) for block in blocks)
        return ParsedDocument(self.text(parsed.title), text, blocks)


def _finder(rule: MaskingRuleSettings) -> Find:
    match rule.kind:
        case "Email":
            return lambda text: (each.span() for each in _EMAIL.finditer(text))
        case "Phone":
            return lambda text: _phones(text, rule.region)
        case "Iban":
            return lambda text: (each.span() for each in _IBAN.finditer(text) if _is_iban(each[0]))
        case "CardNumber":
            return lambda text: (each.span() for each in _CARD.finditer(text) if _is_card(each[0]))
        case "Pattern":
            return _pattern(rule)


def _pattern(rule: MaskingRuleSettings) -> Find:
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(rule.pattern or "", options)
    except re2.error as error:
        raise ConfigurationError(
            f"spec.dataPolicy.masking: the pattern of {rule.name} cannot be used: {error}; write it in RE2's syntax, "
            "which has no look-around and no back references"
        ) from error
    return lambda text: (each.span() for each in compiled.finditer(text))


def _phones(text: str, region: str | None) -> Iterator[Span]:
    found = phonenumbers.PhoneNumberMatcher(text, region, max_tries=_MOST_PHONE_TRIES)
    return ((match.start, match.end) for match in found)


def _is_iban(text: str) -> bool:
    """Whether the check digits are right: the number, its first four characters last, is 1 modulo 97 (ISO 13616)."""
    compact = "".join(character for character in text if character.isalnum())
    digits = "".join(str(int(character, 36)) for character in compact[4:] + compact[:4])
    return len(compact) in _IBAN_LENGTHS and int(digits) % 97 == 1


def _is_card(text: str) -> bool:
    """Whether the last digit is right by Luhn's formula (ISO/IEC 7812-1, annex B)."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _merged(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, without empty ones, as one where they overlap."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _replaced(text: str, spans: Sequence[Span], mask: str) -> str:
    pieces, reached = list[str](), 0
    for start, end in spans:
        pieces += (text[reached:start], mask)
        reached = end
    return "".join((*pieces, text[reached:]))


def _moved(blocks: Iterable[Block], spans: Sequence[Span], length: int) -> tuple[Block, ...]:
    """The blocks where their text is after each of `spans` became `length` characters.

    A mask belongs to every block that what it replaced was in; blocks that would overlap by that begin after it.
    """
    shifts = [0, *accumulate(length - (end - start) for start, end in spans)]
    moved: list[Block] = []
    number = 0  # of spans that end at or before the block's start
    for block in blocks:
        while number < len(spans) and spans[number][1] <= block.start:
            number += 1
        inside = number
        while inside < len(spans) and spans[inside][0] < block.end:
            inside += 1
        cut_start = number < len(spans) and spans[number][0] < block.start
        start = (spans[number][0] if cut_start else block.start) + shifts[number]
        cut_end = inside > number and spans[inside - 1][1] > block.end
        end = spans[inside - 1][0] + shifts[inside - 1] + length if cut_end else block.end + shifts[inside]
        start = max(start, moved[-1].end) if moved else start
        if start < end:
            moved.append(replace(block, start=start, end=end))
    return tuple(moved)
