"""Walks the leaves of the resource models and changes one leaf of a document at a time to another valid value.

Used by `test_leaves`: a leaf whose change alters no output is a field that nothing reads.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from lectern_contract import resources
from lectern_contract.errors import ResourceInvalid
from lectern_contract.resources.common import SpecModel

Document = dict[str, Any]
_TEXTS = (
    "{0}x",
    "x{0}",
    "{0}/x",
    "{0}1",
    "1",
    "0.5",
    "0.25",
    "2",
    "3Gi",
    "7",
    "x.y",
    "http://x.example:1/y",
    "Etc/GMT",
    "9.0",
    "@hourly",
    "FR",
)
"""Other values for a text, tried in turn until one is valid where the text stands."""


@dataclass(frozen=True)
class Change:
    """One leaf of `before` with another valid value in `after`; `path` has `[]` for the items of a list."""

    path: str
    before: Document
    after: Document


def of_model(model: type[BaseModel], prefix: str = "spec") -> Iterator[str]:
    """Return the path of every leaf that documents of `model` may have."""
    for name, field in model.model_fields.items():
        path, inner = f"{prefix}.{field.alias or name}", _inner(field.annotation)
        if isinstance(inner, type) and issubclass(inner, SpecModel):
            yield from of_model(inner, path)
        elif (item := _item_model(inner)) is not None:
            yield from of_model(item, f"{path}[]")
        else:
            yield path


def changes(document: Document) -> Iterator[Change]:
    """Return every leaf of `document` changed, one at a time, where another value is valid beside the rest."""
    model = resources.KINDS[document["kind"]].model_fields["spec"].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    known = set(of_model(model))
    for place in _places(document["spec"], ("spec",)):
        path = _path(place)
        if path in known and (after := _changed(document, place)) is not None:
            yield Change(path, document, after)


def _places(value: Any, at: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Every place in a document, inner ones too: maps and lists of texts are leaves as a whole."""
    yield at
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _places(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            if isinstance(inner, Mapping):
                for key, deeper in inner.items():
                    yield from _places(deeper, (*at, index, key))


def _path(place: tuple[str | int, ...]) -> str:
    text = ""
    for part in place:
        text += "[]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _changed(document: Document, place: tuple[str | int, ...]) -> Document | None:
    for candidate in chain(_candidates(_at(document, place)), _literals(document, place)):
        after = copy.deepcopy(document)
        _at(after, place[:-1])[place[-1]] = candidate
        if after != document and _accepted(after):
            return after
    return None


def _candidates(value: Any) -> Iterator[Any]:
    match value:
        case bool():
            yield not value
        case int():
            yield from (value + 1, value - 1, value // 2, value * 2)
        case str():
            yield from (text.format(value) for text in _TEXTS)
        case list():
            yield from ([*value[:-1], other] for other in _candidates(value[-1]) if value)
            yield from ([], value[:1], list(reversed(value)))
        case Mapping():
            for key, inner in value.items():
                yield from ({**value, key: other} for other in _candidates(inner))
            yield {**value, "x": "1"}


def _literals(document: Document, place: tuple[str | int, ...]) -> list[Any]:
    """The members of the enumeration at `place`, alone and as a list."""
    annotation: Any = resources.KINDS[document["kind"]].model_fields["spec"].annotation
    for part in place[1:]:
        annotation = _inner(annotation)
        if isinstance(part, int):
            annotation = get_args(annotation)[0]
            continue
        fields = annotation.model_fields.items()
        annotation = next(field.annotation for name, field in fields if (field.alias or name) == part)
    inner = _inner(annotation)
    if get_origin(inner) is tuple:
        return [[member] for member in get_args(_inner(get_args(inner)[0]))]
    return list(get_args(inner))


def _accepted(document: Document) -> bool:
    try:
        resources.parse(document)
    except ResourceInvalid:
        return False
    return True


def _at(document: Any, place: tuple[str | int, ...]) -> Any:
    for part in place:
        document = document[part]
    return document


def _inner(annotation: Any) -> Any:
    """The annotation without Optional and Annotated."""
    while True:
        if hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
            continue
        alternatives = [each for each in get_args(annotation) if each is not type(None)]
        if type(None) in get_args(annotation) and len(alternatives) == 1:
            annotation = alternatives[0]
            continue
        return annotation


def _item_model(annotation: Any) -> type[SpecModel] | None:
    if get_origin(annotation) is not tuple:
        return None
    item = _inner(get_args(annotation)[0])
    return item if isinstance(item, type) and issubclass(item, SpecModel) else None
