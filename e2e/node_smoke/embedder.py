"""An embedding server for pods: MiniLM itself behind TEI's routes, `python -m e2e.node_smoke.embedder HOST PORT`.

The model is real, the server is a DOUBLE of TEI: /health, /info, /embed and /tokenize as its API describes them,
without its queue, its metrics and its truncation.
"""

import json
import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lectern_contract.errors import LecternError
from lectern_runtime.adapters.onnx import OnnxMiniLm
from lectern_runtime.errors import InputTooLong


def application(model: OnnxMiniLm) -> Starlette:
    """Return TEI's routes over `model`."""

    async def health(_: Request) -> Response:
        return Response(status_code=200)

    async def info(_: Request) -> Response:
        told = await model.info()
        return JSONResponse(
            {
                "model_id": told.model,
                "model_sha": told.revision,
                "model_dtype": "float32",
                "model_type": {"embedding": {"pooling": "mean"}},
                "max_input_length": told.max_input_tokens,
                "max_batch_tokens": told.max_batch_tokens,
                "max_client_batch_size": told.max_batch_size,
                "auto_truncate": False,
                "version": "double",
            }
        )

    async def embed(request: Request) -> Response:
        texts = _inputs(await request.body())
        if len(texts) > (await model.info()).max_batch_size:
            return JSONResponse({"error": "batch size is too large", "error_type": "Validation"}, status_code=422)
        try:
            vectors = await model.embed(texts)
        except InputTooLong as error:
            return JSONResponse({"error": str(error), "error_type": "Validation"}, status_code=413)
        except LecternError as error:
            return JSONResponse({"error": str(error), "error_type": "Backend"}, status_code=424)
        return JSONResponse([[float(number) for number in row] for row in vectors])

    async def tokenize(request: Request) -> Response:
        texts = _inputs(await request.body())
        spans = await model.tokenize(texts)
        return JSONResponse(
            [
                [
                    {"id": 0, "text": text[start:end], "special": False, "start": start, "stop": end}
                    for start, end in found
                ]
                for text, found in zip(texts, spans, strict=True)
            ]
        )

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/info", info),
            Route("/embed", embed, methods=["POST"]),
            Route("/tokenize", tokenize, methods=["POST"]),
        ]
    )


def _inputs(body: bytes) -> list[str]:
    """Return the texts of a request: TEI takes one or a list."""
    given: Any = json.loads(body)["inputs"]
    return [given] if isinstance(given, str) else [str(each) for each in given]


def main(host: str, port: str) -> None:
    """Serve until SIGTERM."""
    uvicorn.run(application(OnnxMiniLm.open()), host=host, port=int(port), log_level="warning", http="h11")


if __name__ == "__main__":
    main(*sys.argv[1:])
