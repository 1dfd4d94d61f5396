"""Reads what a resource names, and the parts of it that the operator needs to log in itself."""

from __future__ import annotations

from collections.abc import Sequence

from lectern_contract.references import Reference
from lectern_contract.resources.common import CredentialsRef, SecretKeyRef
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.outside import Content
from lectern_operator.reconcilers.outside import Contents


async def read(references: Sequence[Reference], contents: Contents) -> dict[tuple[str, str], Fact[Content | None]]:
    """Return what each named object holds, by kind and name."""
    named = sorted({(each.kind, each.namespace, each.name) for each in references})
    return {(kind, name): await contents.read(kind, namespace, name) for kind, namespace, name in named}


async def value(reference: SecretKeyRef | None, namespace: str, contents: Contents) -> Fact[str | None]:
    """Return the value of one key; None when none is asked for."""
    if reference is None:
        return Known(None)
    return await _key(reference.name, reference.key, namespace, contents)


async def pair(
    reference: CredentialsRef | None, keys: tuple[str, str], namespace: str, contents: Contents
) -> Fact[tuple[str, str] | None]:
    """Return the values of two keys of one Secret; None when none are asked for."""
    if reference is None:
        return Known(None)
    first, second = [await _key(reference.name, key, namespace, contents) for key in keys]
    match first, second:
        case Known(value=one), Known(value=two):
            return Known((one, two))
        case Unknown(), _:
            return first
        case _:
            assert isinstance(second, Unknown)
            return second


async def _key(name: str, key: str, namespace: str, contents: Contents) -> Fact[str]:
    match await contents.read("Secret", namespace, name):
        case Known(value=None):
            return Unknown(f"Secret {name} does not exist")
        case Known(value=Content() as content):
            text = content.text(key)
            return Known(text) if text else Unknown(f"Secret {name} has no text under key {key}")
        case Unknown() as unknown:
            return unknown
        case _:
            raise AssertionError("a fact is known or unknown")
