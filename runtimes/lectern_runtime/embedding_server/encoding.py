"""From the inputs of a request to the ids that the model reads, or to the reason why not."""

from __future__ import annotations

from lectern_runtime.embedding_server.bodies import Input
from lectern_runtime.embedding_server.engine import CHARACTERS_PER_TOKEN, Engine, Token
from lectern_runtime.embedding_server.refusals import empty, invalid

CAUSE = "tokenization"


def encoded(engine: Engine, given: Input, *, truncate: bool, left: bool) -> list[int]:
    """Return the ids of an input with special tokens around a text; ids that are given are taken as they are.

    Raises Refusal for an input that is empty, or too long where it may not be cut.
    """
    if not given:
        raise empty("inputs")
    longest = engine.model.longest
    most = longest * CHARACTERS_PER_TOKEN
    if len(given) > most:
        if not truncate:
            raise _too_long(len(given), most, "characters")
        given = given[-most:] if left else given[:most]
    special = isinstance(given, str)
    ids = engine.encode(given if isinstance(given, str) else engine.decode(given, skip_special=False), special=special)
    if not ids:
        raise empty("inputs")
    if len(ids) > longest:
        if not truncate:
            raise _too_long(len(ids), longest, "tokens")
        ids = engine.shortened(ids, special=special, left=left)
    return ids


def tokens(engine: Engine, text: str, *, special: bool) -> list[Token]:
    """Return the tokens of a text of any number of tokens; raises Refusal when it is empty or too long for that."""
    if not text:
        raise empty("inputs")
    most = engine.model.longest * CHARACTERS_PER_TOKEN
    if len(text) > most:
        raise _too_long(len(text), most, "characters")
    return engine.tokens(text, special=special)


def decoded(engine: Engine, ids: list[int], *, skip_special: bool) -> str:
    """Return the text of ids; raises Refusal when there are none."""
    if not ids:
        raise empty("input_ids")
    return engine.decode(ids, skip_special=skip_special)


def refuse_prompt(name: str | None) -> None:
    """Raise Refusal for a prompt by name: the model comes without prompts."""
    if name is not None:
        raise invalid(
            f"`default-prompt-name` is set to `{name}` but no prompts were found in the Sentence Transformers "
            "configuration",
            cause=CAUSE,
        )


def _too_long(given: int, most: int, of: str) -> Exception:
    return invalid(f"`inputs` must have less than {most} {of}. Given: {given}", cause=CAUSE)
