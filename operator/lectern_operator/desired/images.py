"""Which container images the operator starts; read once from the environment in `main`, passed to every builder."""

from __future__ import annotations

from dataclasses import dataclass

TEI_VERSION = "1.9"


@dataclass(frozen=True, slots=True)
class Images:
    """References of the images; `text_embeddings` has no tag, because the accelerator decides it."""

    worker: str
    connector: str
    query: str
    text_embeddings: str

    def embedding_server(self, *, accelerated: bool) -> str:
        """Return TEI's image: the one that detects CUDA devices itself, or the one for CPUs."""
        return f"{self.text_embeddings}:{'cuda' if accelerated else 'cpu'}-{TEI_VERSION}"
