"""What was observed, or why it could not be: a fact that is unknown is never a zero, an empty list or a no.

Reconcilers and clients make facts of what the world answers; policies match on them and take no destructive step on an
`Unknown`. The modules here are the shapes of such answers, one for each system outside; the layer below clients,
desired and policies, which do not know each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Known(Generic[T_co]):
    """A fact as it was read."""

    value: T_co


@dataclass(frozen=True, slots=True)
class Unknown:
    """A fact that could not be read, and why, as a sentence."""

    reason: str


Fact = Known[T_co] | Unknown
