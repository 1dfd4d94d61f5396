"""Builds the computation graph of all-MiniLM-L6-v2 as an ONNX file without weights.

A developer runs it when the graph changes; its output is committed as package data of `lectern_runtime.adapters`.
Each initialiser points at its bytes inside the published `model.safetensors`, so that the runtime maps that one
file and neither copies nor parses weights. `onnx` is needed here and nowhere at run time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from lectern_runtime.adapters import minilm_files

LAYERS = 6
HEADS = 12
HIDDEN = 384
LAYER_NORM_EPSILON = 1e-12  # config.json of the model
OPSET = 17
IR_VERSION = 8  # the oldest that knows opset 17, so that any supported onnxruntime reads it
MICROSOFT = "com.microsoft"  # onnxruntime's own fused operators, present in every build for the CPU


@dataclass(frozen=True)
class Span:
    """Where one float32 tensor lies in the weights file, in bytes from its beginning."""

    shape: tuple[int, ...]
    offset: int
    length: int


def spans(weights: Path) -> dict[str, Span]:
    """Read the places of all float32 tensors from the header of a safetensors file.

    The format: 8 bytes little-endian length, that many bytes of JSON, then the tensors back to back.
    """
    with weights.open("rb") as stream:
        header_length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(header_length))
    start = 8 + header_length
    return {
        name: Span(tuple(entry["shape"]), start + entry["data_offsets"][0], _length(entry["data_offsets"]))
        for name, entry in header.items()
        if entry.get("dtype") == "F32"
    }


def _length(offsets: Sequence[int]) -> int:
    return offsets[1] - offsets[0]


@dataclass
class GraphParts:
    """Nodes and initialisers gathered so far; each method returns the name that the next node reads."""

    weights: Mapping[str, Span]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def node(self, operator: str, inputs: Sequence[str], output: str, *, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], domain=domain, **attributes))
        return output

    def weight(self, name: str) -> str:
        span = self.weights[name]
        tensor = TensorProto(
            name=name, data_type=TensorProto.FLOAT, dims=span.shape, data_location=TensorProto.EXTERNAL
        )
        for key, value in (("location", minilm_files.WEIGHTS), ("offset", span.offset), ("length", span.length)):
            tensor.external_data.add(key=key, value=str(value))
        self.initializers[name] = tensor
        return name

    def number(self, name: str, value: int) -> str:
        self.initializers[name] = helper.make_tensor(name, TensorProto.INT64, [1], [value])
        return name

    def linear(self, source: str, weight: str, output: str) -> str:
        # PyTorch stores a linear layer as (out, in); transB reads it as it lies instead of a transposed copy.
        return self.node("FusedMatMul", [source, self.weight(weight)], output, domain=MICROSOFT, transB=1)

    def add_and_normalise(self, source: str, skip: str, prefix: str, output: str) -> str:
        inputs = [
            source,
            skip,
            self.weight(f"{prefix}.LayerNorm.weight"),
            self.weight(f"{prefix}.LayerNorm.bias"),
            self.weight(f"{prefix}.dense.bias"),
        ]
        return self.node("SkipLayerNormalization", inputs, output, domain=MICROSOFT, epsilon=LAYER_NORM_EPSILON)


def embeddings(parts: GraphParts) -> str:
    """Word + position + type 0 embeddings, normalised: (batch, tokens) -> (batch, tokens, hidden)."""
    zero, one = parts.number("zero", 0), parts.number("one", 1)
    words = parts.node("Gather", [parts.weight("embeddings.word_embeddings.weight"), "input_ids"], "words")
    tokens = parts.node("Shape", ["input_ids"], "tokens", start=1, end=2)
    all_positions = parts.weight("embeddings.position_embeddings.weight")
    positions = parts.node("Slice", [all_positions, zero, tokens, zero], "positions")
    both_types = parts.weight("embeddings.token_type_embeddings.weight")
    first_type = parts.node("Slice", [both_types, zero, one, zero], "first_type")
    places = parts.node("Add", [positions, first_type], "places")
    total = parts.node("Add", [words, places], "embedded")
    norm = [parts.weight("embeddings.LayerNorm.weight"), parts.weight("embeddings.LayerNorm.bias")]
    return parts.node("LayerNormalization", [total, *norm], "layer.0.input", axis=-1, epsilon=LAYER_NORM_EPSILON)


def layer(parts: GraphParts, number: int, source: str) -> str:
    """One transformer layer after BERT (Devlin et al. 2019): attention, add and norm, feed forward, add and norm."""
    here, weights = f"layer.{number}", f"encoder.layer.{number}"
    roles = ("query", "key", "value")
    projected = [parts.linear(source, f"{weights}.attention.self.{role}.weight", f"{here}.{role}") for role in roles]
    biases = [parts.weight(f"{weights}.attention.self.{role}.bias") for role in roles]
    bias = parts.node("Concat", biases, f"{here}.bias", axis=0)
    attended = parts.node(
        "MultiHeadAttention", [*projected, bias], f"{here}.attended", domain=MICROSOFT, num_heads=HEADS
    )
    dense = parts.linear(attended, f"{weights}.attention.output.dense.weight", f"{here}.dense")
    middle = parts.add_and_normalise(dense, source, f"{weights}.attention.output", f"{here}.middle")
    wide = parts.linear(middle, f"{weights}.intermediate.dense.weight", f"{here}.wide")
    wide_bias = parts.weight(f"{weights}.intermediate.dense.bias")
    active = parts.node("BiasGelu", [wide, wide_bias], f"{here}.active", domain=MICROSOFT)
    narrow = parts.linear(active, f"{weights}.output.dense.weight", f"{here}.narrow")
    return parts.add_and_normalise(narrow, middle, f"{weights}.output", f"{here}.output")


def build(weights: Mapping[str, Span]) -> bytes:
    """Return the serialised model: `input_ids` int32 (batch, tokens) -> `vectors` float32 (batch, 384), L2 norm 1.

    There is no attention mask: the runtime batches texts of equal length only, so nothing is ever padded.
    Equal spans give equal bytes.
    """
    parts = GraphParts(weights)
    hidden = embeddings(parts)
    for number in range(LAYERS):
        hidden = layer(parts, number, hidden)
    mean = parts.node("ReduceMean", [hidden], "mean", axes=[1], keepdims=0)
    parts.node("LpNormalization", [mean], "vectors", axis=-1, p=2)
    graph = helper.make_graph(
        parts.nodes,
        "all-MiniLM-L6-v2",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT32, ["batch", "tokens"])],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", HIDDEN])],
        list(parts.initializers.values()),
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return bytes(model.SerializeToString(deterministic=True))


def main(arguments: Sequence[str]) -> int:
    """Write the graph, or with `--check` say whether the committed one is what would be written."""
    parser = argparse.ArgumentParser(prog="build_minilm_graph", description=__doc__)
    parser.add_argument("--weights", type=Path, help="folder of the model; default: the installed package")
    parser.add_argument("--check", action="store_true", help="compare only; exit status 1 if they differ")
    options = parser.parse_args(arguments)
    built = build(spans(minilm_files.find(options.weights).weights))
    target = minilm_files.graph_path()
    if options.check:
        same = target.read_bytes() == built
        print(f"{target.name} is {'current' if same else 'out of date; run tools/build_minilm_graph.py'}")
        return 0 if same else 1
    target.write_bytes(built)
    print(f"wrote {target.name}, {len(built)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
