import io
import json
import lzma
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bench import data, vector_cache
from bench.data import DataMissing, Paragraph, RetrievalSet
from lectern_runtime.adapters.onnx import DIMENSIONS
from lectern_runtime.ports import EmbedderInfo, Vectors

WIKI = RetrievalSet(
    tuple(Paragraph(f"A#{number:03}", "A", f"text {number}") for number in range(20)),
    {f"q{number}": f"question {number}" for number in range(6)},
    {f"q{number}": {f"A#{2 * number:03}": 1} for number in range(6)},
)


def written(root: Path) -> Path:
    folder = root / "retrieval" / "wiki-a"
    folder.mkdir(parents=True)
    lines = "\n".join(json.dumps({"id": each.id, "title": each.title, "text": each.text}) for each in WIKI.paragraphs)
    (folder / "corpus.jsonl.xz").write_bytes(lzma.compress(lines.encode()))
    (folder / "queries.jsonl").write_text(
        "\n".join(json.dumps({"id": id_, "text": text, "answers": []}) for id_, text in WIKI.questions.items())
    )
    rows = [f"{id_}\t{passage}\t{rank}" for id_, judged in WIKI.judgements.items() for passage, rank in judged.items()]
    (folder / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\trelevance", *rows]))
    return root


def test_a_set_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert data.read_wiki(written(tmp_path)) == WIKI


def test_a_missing_file_is_named_with_the_next_step(tmp_path: Path) -> None:
    (written(tmp_path) / "retrieval" / "wiki-a" / "qrels.tsv").unlink()
    with pytest.raises(DataMissing, match=r"qrels\.tsv is not there: the test data is incomplete"):
        data.read_wiki(tmp_path)


def test_a_missing_directory_is_named_with_the_variable_that_sets_it(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="LECTERN_BENCH_DATA=/no/such/place"):
        data.directory({data.VARIABLE: "/no/such/place"})
    assert data.directory({data.VARIABLE: str(tmp_path)}) == tmp_path


def test_a_sample_holds_its_questions_what_answers_them_and_others_in_order() -> None:
    part = data.sample(WIKI, paragraphs=8, questions=3, seed=5)
    ids = [each.id for each in part.paragraphs]
    assert (len(part.questions), len(ids), ids) == (3, 8, sorted(ids))
    assert part.questions.keys() == part.judgements.keys()
    assert {passage for judged in part.judgements.values() for passage in judged} < set(ids)
    assert part == data.sample(WIKI, paragraphs=8, questions=3, seed=5)
    assert part != data.sample(WIKI, paragraphs=8, questions=3, seed=6)


def test_a_sample_larger_than_the_set_is_the_set() -> None:
    assert data.sample(WIKI, paragraphs=100, questions=100, seed=1) == WIKI


def archive(root: Path, names: Sequence[str]) -> Path:
    (root / "docs-history").mkdir(parents=True)
    with tarfile.open(root / "docs-history" / "2.13.tar.xz", "w:xz") as content:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            content.addfile(info, io.BytesIO(name.encode()))
    return root


def test_pages_are_a_seeded_choice_of_the_markdown_files(tmp_path: Path) -> None:
    names = ["2.13/a.md", "2.13/b/c.md", "2.13/image.png", "2.13/d.md"]
    written_pages = data.unpack_pages(archive(tmp_path / "data", names), tmp_path / "out", pages=9, seed=1)
    assert [page.relative_to(tmp_path / "out").as_posix() for page in written_pages] == [
        "2.13/a.md",
        "2.13/b/c.md",
        "2.13/d.md",
    ]
    assert (tmp_path / "out" / "2.13" / "b" / "c.md").read_text() == "2.13/b/c.md"
    assert len(data.unpack_pages(tmp_path / "data", tmp_path / "two", pages=2, seed=1)) == 2


@pytest.mark.parametrize("name", ["../outside.md", "/outside.md", "2.13/../../outside.md"])
def test_a_page_outside_of_the_target_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataMissing, match="outside of it"):
        data.unpack_pages(archive(tmp_path / "data", [name]), tmp_path / "out", pages=1, seed=1)
    assert not (tmp_path / "outside.md").exists()


class CountingEmbedder:
    """Gives the text's length a direction of its own; counts what it was asked for."""

    def __init__(self, revision: str = "r" * 40) -> None:
        self.revision = revision
        self.texts = 0

    async def info(self) -> EmbedderInfo:
        return EmbedderInfo("model", self.revision, DIMENSIONS, 256, 64, 16_384)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.texts += len(texts)
        return np.stack([np.eye(DIMENSIONS, dtype=np.float32)[len(text)] for text in texts])

    async def tokenize(self, texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        return [[(0, len(text))] for text in texts]

    async def close(self) -> None:
        self.texts = 0


async def test_vectors_are_made_once_and_then_kept(tmp_path: Path) -> None:
    said: list[str] = []
    texts = ["a", "bb", "ccc"]
    first, second = CountingEmbedder(), CountingEmbedder()
    made = await vector_cache.vectors(texts, first, tmp_path / "cache", said.append)
    kept = await vector_cache.vectors(texts, second, tmp_path / "cache", said.append)
    assert (first.texts, second.texts) == (3, 0)
    assert np.array_equal(made, kept)
    assert "embedding 3 passages" in said[0]
    assert "from" in said[-1]


@pytest.mark.parametrize("texts", [["a", "bb"], ["bb", "a", "ccc"]])
async def test_other_texts_are_embedded_anew(tmp_path: Path, texts: list[str]) -> None:
    embedder = CountingEmbedder()
    await vector_cache.vectors(["a", "bb", "ccc"], embedder, tmp_path, print)
    embedder.texts = 0
    await vector_cache.vectors(texts, embedder, tmp_path, print)
    assert embedder.texts == len(texts)


async def test_another_model_embeds_anew(tmp_path: Path) -> None:
    other = CountingEmbedder("s" * 40)
    await vector_cache.vectors(["a"], CountingEmbedder(), tmp_path, print)
    await vector_cache.vectors(["a"], other, tmp_path, print)
    assert other.texts == 1


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
async def test_a_damaged_file_is_made_again(tmp_path: Path, content: bytes | None) -> None:
    embedder = CountingEmbedder()
    await vector_cache.vectors(["a"], embedder, tmp_path, print)
    (path,) = tmp_path.glob("*.npy")  # noqa: ASYNC240 a few names of a temporary directory
    if content is None:
        np.save(path, np.full((1, DIMENSIONS), 3, np.float32))  # not of length 1
    else:
        path.write_bytes(content)
    vectors = await vector_cache.vectors(["a"], embedder, tmp_path, print)
    assert embedder.texts == 2
    assert np.array_equal(vectors, np.load(path))


def test_the_cache_lies_where_the_user_keeps_caches() -> None:
    assert vector_cache.directory({"XDG_CACHE_HOME": "/somewhere"}) == Path("/somewhere/lectern/bench")
    assert vector_cache.directory({}) == Path.home() / ".cache" / "lectern" / "bench"
