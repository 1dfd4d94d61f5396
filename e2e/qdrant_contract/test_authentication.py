"""The API key: which requests need it, and what is answered without or with a wrong one."""

import httpx
import pytest
from qdrant_client.http.exceptions import UnexpectedResponse

from e2e.qdrant_contract.conftest import Server


@pytest.fixture
def locked(qdrant_server: Server) -> Server:
    """A server that asks for a key. The double always does; a real one when QDRANT_API_KEY names its key."""
    if qdrant_server.api_key is None:
        pytest.skip("QDRANT_URL names a server without a key; set QDRANT_API_KEY to one that has one")
    return qdrant_server


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_request_without_the_right_key_is_unauthorised(locked: Server, key: str | None) -> None:
    client = locked.client(key)
    try:
        with pytest.raises(UnexpectedResponse) as refused:
            await client.get_collections()
    finally:
        await client.close()
    assert refused.value.status_code in {401, 403}


async def test_refusal_does_not_repeat_the_key(locked: Server) -> None:
    async with httpx.AsyncClient(base_url=locked.url) as http:
        answer = await http.get("/collections", headers={"api-key": "a-wrong-key"})
    assert (answer.status_code in {401, 403}, "a-wrong-key" in answer.text) == (True, False)


async def test_right_key_is_accepted_in_either_header(locked: Server) -> None:
    headers = [{"api-key": locked.api_key or ""}, {"authorization": f"Bearer {locked.api_key}"}]
    async with httpx.AsyncClient(base_url=locked.url) as http:
        assert [(await http.get("/collections", headers=each)).status_code for each in headers] == [200, 200]


@pytest.mark.parametrize("path", ["/", "/healthz", "/livez", "/readyz"])
async def test_version_and_health_need_no_key(locked: Server, path: str) -> None:
    async with httpx.AsyncClient(base_url=locked.url) as http:
        assert (await http.get(path)).status_code == 200


async def test_errors_come_in_the_envelope(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.get(f"/collections/{name}")
    body = answer.json()
    assert (answer.status_code, isinstance(body["time"], float), name in body["status"]["error"]) == (404, True, True)


async def test_body_of_another_form_is_refused(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.put(f"/collections/{name}", json={"vectors": {"dense": {"size": "many", "distance": "Dot"}}})
    assert (answer.status_code, "error" in answer.json()["status"]) == (400, True)
