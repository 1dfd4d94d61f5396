"""Deletes from the fallback shard what lies under a partition's own key as well: the end of a promotion.

Counts can agree by chance, so each document is looked up: its points in the fallback go once its record lies under the
own key in the same version or a newer one. Imported by `qdrant_steps`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from qdrant_client import AsyncQdrantClient, models

from lectern_contract.collection import FALLBACK_SHARD_KEY
from lectern_contract.payload import Field, PayloadKind
from lectern_operator.clients import qdrant_reading as reading
from lectern_operator.facts import Fact, Known
from lectern_operator.facts.vector_store import DeleteCopies, Rejected

PAGE = 256
SECONDS = 10.0
"""How long one step goes on; the next pass deletes the rest."""


async def delete(qdrant: AsyncQdrantClient, step: DeleteCopies) -> Fact[None]:
    """Delete what lies in both places; `Rejected` when something lies in the fallback shard only."""
    name, key = step.collection, step.key.key
    there = (await reading.keys(qdrant, name)).get(key, ())
    answers = bool(there) and all(shard.active for shard in there)
    if not answers or await reading.owner(qdrant, name) != step.owner:
        return Rejected(f"{name} was changed meanwhile: nothing is deleted from {FALLBACK_SHARD_KEY}")
    end = asyncio.get_running_loop().time() + SECONDS
    kept, offset = 0, None
    while True:
        points, offset = await qdrant.scroll(
            name,
            scroll_filter=reading.where(step.key.where()),
            limit=PAGE,
            offset=offset,
            with_payload=[Field.DOCUMENT_ID, Field.VERSION],
            shard_key_selector=FALLBACK_SHARD_KEY,
        )
        arrived = await _arrived(qdrant, step, points)
        if arrived:
            selector = models.PointIdsList(points=[point.id for point in arrived])
            await qdrant.delete(name, points_selector=selector, shard_key_selector=FALLBACK_SHARD_KEY, wait=True)
        kept += len(points) - len(arrived)
        if offset is None or asyncio.get_running_loop().time() > end:
            break
    if not kept:
        return Known(None)
    return Rejected(
        f"{kept} points of {key} lie in {FALLBACK_SHARD_KEY} of {name} only, although that key answers: they are not "
        "deleted; ask for a full resync of the sources"
    )


async def _arrived(
    qdrant: AsyncQdrantClient, step: DeleteCopies, points: Sequence[models.Record]
) -> list[models.Record]:
    """Return those of `points` whose document lies under the own key, as new as they are or newer."""
    documents = sorted({document for point in points if (document := _document(point)) is not None})
    if not documents:
        return []
    records = await qdrant.retrieve(
        step.collection,
        ids=documents,
        with_payload=[Field.KIND, Field.VERSION],
        with_vectors=False,
        shard_key_selector=step.key.key,
    )
    newest = {
        str(record.id): _version(record)
        for record in records
        if (record.payload or {}).get(Field.KIND) == PayloadKind.RECORD
    }
    return [point for point in points if newest.get(_document(point) or "", -1) >= _version(point)]


def _document(point: models.Record) -> str | None:
    document = (point.payload or {}).get(Field.DOCUMENT_ID)
    return document if isinstance(document, str) else None


def _version(point: models.Record) -> int:
    """Return the version; of a point without one, what no version is below."""
    version = (point.payload or {}).get(Field.VERSION)
    return version if isinstance(version, int) else 1 << 53
