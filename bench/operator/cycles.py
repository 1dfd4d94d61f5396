"""Resources that come and go by the thousand, each with its children, and what the operator's memory is meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice

from bench.operator import population as people
from bench.operator.site import Site
from e2e.faults.arena import NotSettled
from e2e.faults.process import Operator
from e2e.faults.scenarios import source
from e2e.testbed.api import Api, connect
from lectern_contract import labels

AT_ONCE = 8
BLOCKS = 20
"""How often the memory is read on the way."""
STATUS_SECONDS = 60.0
POLL_SECONDS = 0.05
CHILDREN = (
    "/api/v1/namespaces/{}/configmaps",
    "/api/v1/namespaces/{}/serviceaccounts",
    "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
)
"""The kinds of the children of a source that is suspended."""


async def come_and_go(site: Site, namespace: str, count: int, operator: Operator) -> list[float]:
    """Let `count` sources of `namespace` come and go; return the operator's memory after each block, in MB."""
    block, numbers, readings = max(1, count // BLOCKS), iter(range(count)), list[float]()
    async with connect(site.plane.rest) as api:
        while part := list(islice(numbers, block)):
            left = iter(part)
            async with asyncio.TaskGroup() as tasks:
                for _ in range(AT_ONCE):
                    tasks.create_task(_one_by_one(api, site, namespace, left))
            readings.append(operator.resident_megabytes())
    return readings


async def _one_by_one(api: Api, site: Site, namespace: str, numbers: Iterator[int]) -> None:
    for number in numbers:
        await _once(api, site, namespace, f"cycle-{number}")


async def _once(api: Api, site: Site, namespace: str, name: str) -> None:
    """Create a source, delete it once it has a status, and then its children, as the garbage collector would.

    The real one makes twenty requests a second at most: it would be the only thing that is measured.
    """
    document = source(site.world, name)
    document["spec"] |= {"knowledgeBaseRef": "kb-0", "suspend": True}
    path = f"{people.API}/namespaces/{namespace}/ingestionsources"
    uid = (await api.request("POST", path, document))["metadata"]["uid"]
    await _told(site, namespace, name)
    await api.request("DELETE", f"{path}/{name}")
    for children in CHILDREN:
        where = children.format(namespace)
        await api.request("DELETE", f"{where}?labelSelector={labels.OWNER_UID}%3D{uid}")


async def _told(site: Site, namespace: str, name: str) -> None:
    """Wait until the source has a status; raises NotSettled."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + STATUS_SECONDS
    while not people.has_status(site.mirror.of(namespace, "ingestionsources"), name):
        if clock() > deadline:
            raise NotSettled(f"{name} got no status in {STATUS_SECONDS:.0f} s")
        await asyncio.sleep(POLL_SECONDS)
