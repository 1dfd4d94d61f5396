"""TEI's routes over a `Service`: what comes in, what goes out."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from importlib import metadata
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from lectern_runtime.embedding_server import bodies, encoding
from lectern_runtime.embedding_server.bodies import Embedding
from lectern_runtime.embedding_server.engine import Token
from lectern_runtime.embedding_server.metrics import CONTENT_TYPE
from lectern_runtime.embedding_server.refusals import Kind, Refusal, empty_batch, not_this_model, too_many
from lectern_runtime.embedding_server.service import Service
from lectern_runtime.ports import Vectors

JSON = "application/json"


class Routes:
    """The handlers; each raises Refusal or Unreadable, which the app turns into answers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def health(self, _: Request) -> Response:
        """Say whether the model works."""
        if await self._service.healthy():
            return Response()
        raise Refusal(Kind.UNHEALTHY, "unhealthy", cause=None)

    async def info(self, _: Request) -> Response:
        """Tell the model and the limits."""
        model, limits = self._service.engine.model, self._service.limits
        return _answer(
            {
                "model_id": model.name,
                "model_sha": model.revision,
                "model_dtype": model.dtype,
                "served_model_name": model.name,
                "model_type": {"embedding": {"pooling": model.pooling}},
                "max_concurrent_requests": limits.max_concurrent_requests,
                "max_input_length": model.longest,
                "max_batch_tokens": limits.max_batch_tokens,
                "max_batch_requests": None,
                "max_client_batch_size": limits.max_client_batch_size,
                "auto_truncate": limits.auto_truncate,
                "tokenization_workers": self._service.threads,
                "version": f"lectern-{metadata.version('lectern')}",
                "sha": None,
                "docker_label": None,
            }
        )

    async def metrics(self, _: Request) -> Response:
        """Show the metrics."""
        return PlainTextResponse(self._service.metrics.page(), headers={"content-type": CONTENT_TYPE})

    async def embed(self, request: Request) -> Response:
        """Answer with the vectors of the inputs."""
        asked = bodies.embedding(await self._body(request))
        rows, spent = await self._service.embed(asked, request)
        return _answer(rows.tolist(), spent.headers())

    async def similarity(self, request: Request) -> Response:
        """Answer with the cosines of a sentence with others."""
        asked = bodies.similarity(await self._body(request))
        if len(asked.inputs.items) == 1:
            raise empty_batch("inputs.sentences")
        rows, spent = await self._service.embed(asked, request)
        return _answer((rows[1:] @ rows[0]).tolist(), spent.headers())

    async def openai(self, request: Request) -> Response:
        """Answer with the vectors of the inputs in the shape of OpenAI's API."""
        body = await self._body(request)
        shown = _openai_format(body)
        inputs = bodies.inputs(bodies.field(body, "input"), "input")
        asked = Embedding(inputs=inputs, truncate=None, left=False, prompt_name=None, normalize=True)
        rows, spent = await self._service.embed(asked, request)
        data = [{"object": "embedding", "embedding": shown(row), "index": index} for index, row in enumerate(rows)]
        usage = {"prompt_tokens": spent.tokens, "total_tokens": spent.tokens}
        name = self._service.engine.model.name
        return _answer({"object": "list", "data": data, "model": name, "usage": usage}, spent.headers())

    async def tokenize(self, request: Request) -> Response:
        """Answer with the tokens of the inputs and their places."""
        body = await self._body(request)
        given = bodies.field(body, "inputs")
        texts = [given] if isinstance(given, str) else bodies.texts(given, "inputs")
        special = bodies.flag(body, "add_special_tokens", True)
        self._service.check_batch(len(texts), "inputs")
        encoding.refuse_prompt(bodies.text(body, "prompt_name"))
        engine = self._service.engine

        def listed() -> str:  # text by text: as objects the tokens of a large body would take hundreds of megabytes
            return ",".join(_json(_tokens(encoding.tokens(engine, text, special=special))) for text in texts)

        return Response(f"[{await self._service.in_thread(listed)}]", media_type=JSON)

    async def decode(self, request: Request) -> Response:
        """Answer with the texts of lists of ids."""
        body = await self._body(request)
        given = bodies.field(body, "ids")
        lists = [given] if bodies.is_ids(given) else given
        if not isinstance(lists, list) or not all(map(bodies.is_ids, lists)):
            raise bodies.wrong("ids: data did not match any variant of untagged enum InputIds")
        skip = bodies.flag(body, "skip_special_tokens", True)
        self._service.check_batch(len(lists), "ids")
        engine = self._service.engine

        def texts() -> list[str]:
            return [encoding.decoded(engine, ids, skip_special=skip) for ids in lists]

        return _answer(await self._service.in_thread(texts))

    async def predict(self, request: Request) -> Response:
        """Refuse: the model classifies nothing."""
        bodies.field(await self._body(request), "inputs")
        raise not_this_model("Model is not a classifier model")

    async def embed_sparse(self, request: Request) -> Response:
        """Refuse: the model has no sparse vectors."""
        bodies.embedding(await self._body(request))
        raise not_this_model("Model is not an embedding model with SPLADE pooling")

    async def embed_all(self, request: Request) -> Response:
        """Refuse: the graph gives the vector of an input, not those of its tokens."""
        bodies.embedding(await self._body(request))
        raise not_this_model("`embed_all` is not available for this model")

    async def rerank(self, request: Request) -> Response:
        """Refuse: the model ranks nothing."""
        body = await self._body(request)
        bodies.texts([bodies.field(body, "query")], "query")
        texts = bodies.texts(bodies.field(body, "texts"), "texts")
        if not texts:
            raise empty_batch("texts")
        if len(texts) > self._service.limits.max_client_batch_size:
            raise too_many(len(texts), self._service.limits.max_client_batch_size)
        raise not_this_model("model is not a re-ranker model")

    async def _body(self, request: Request) -> dict[str, Any]:
        service = self._service
        return await bodies.read(request, limit=service.limits.payload_limit, held=service.held)


def _answer(content: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(_json(content), headers=headers, media_type=JSON)


def _json(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"))


def _openai_format(body: dict[str, Any]) -> Callable[[Vectors], Any]:
    asked = body.get("encoding_format", "float")
    if asked == "float":
        return lambda row: row.tolist()
    if asked == "base64":
        return lambda row: base64.b64encode(row.astype("<f4").tobytes()).decode()
    raise bodies.wrong("encoding_format: expected `float` or `base64`")


def _tokens(tokens: list[Token]) -> list[dict[str, Any]]:
    return [
        {"id": each.id, "text": each.text, "special": each.special, "start": each.start, "stop": each.stop}
        for each in tokens
    ]
