"""Imports the libraries of the embedded mode, loads its model, embeds one text and says `ready`: a floor for starting.

`startup` runs it as a program in turns with `lectern up`. There is nothing of Lectern in it but finding the model.
"""

from __future__ import annotations

import fastapi
import numpy as np
import prometheus_client
import qdrant_edge
import typer
import uvicorn

from lectern_runtime.adapters import minilm_files, onnx

USED = (fastapi, prometheus_client, qdrant_edge, typer, uvicorn)
"""Imported by every `lectern up`, whatever it does."""


def main() -> None:
    """Load, embed, say so."""
    files = minilm_files.find()
    tokens = onnx.open_tokenizer(files).encode("ready").ids
    vectors = onnx.session_forward(onnx.open_session(files))(np.array([tokens], np.int32))
    print("ready" if vectors.shape == (1, onnx.DIMENSIONS) and USED else "broken", flush=True)


if __name__ == "__main__":
    main()
