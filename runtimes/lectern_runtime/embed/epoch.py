"""Tells which life of the documents topic is read: offsets begin anew with a topic, versions must not.

Asked once by the worker before it reads. The topic's identity is kept beside the generation that is filled;
when it is another one, the topic was made anew, and the epoch goes up by one.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lectern_contract.errors import DataDirectoryError
from lectern_contract.ids import MAX_EPOCH
from lectern_runtime.ports import BlobStore


class _Recorded(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    topic_id: str
    epoch: int = Field(ge=0, le=MAX_EPOCH)


async def epoch_of(topic_id: str, blobs: BlobStore, *, collection: str) -> int:
    """The epoch of the topic `topic_id` for `collection`, from 0; recorded before anything is written with it.

    Workers that ask at the same time reach the same answer. Raises `DataDirectoryError` when the record is
    damaged: a guess could let old versions win over new ones.
    """
    name = f"epochs/{collection}.json"
    data = await blobs.read_named(name)
    if data is None:
        found = _Recorded(topic_id=topic_id, epoch=0)
    else:
        try:
            found = _Recorded.model_validate_json(data)
            if found.topic_id == topic_id:
                return found.epoch
            found = _Recorded(topic_id=topic_id, epoch=found.epoch + 1)
        except ValidationError as error:
            raise DataDirectoryError(
                f"{name} in the blob store is damaged, or the documents topic was made anew {MAX_EPOCH} times; restore "
                "it from a backup, or start a new index generation"
            ) from error
    await blobs.write_named(name, found.model_dump_json().encode())
    return found.epoch
