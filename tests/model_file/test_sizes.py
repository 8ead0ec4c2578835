"""Bytes: what a level costs against dense float32."""

import json
from pathlib import Path

import numpy as np
import pytest

from model_file.written import Parts, block_mask, describe
from sparrot.architecture import Architecture, Linear, Matrix, Vector
from sparrot.engine.recognizer import packaged_model
from sparrot.model_file import LevelToWrite, ModelFile, convert, dtypes_of, with_measured, write_model
from sparrot.model_file.container import header_bytes
from sparrot.model_file.layout import MatrixLayout, place_tensors, stop_ends

BLOCK = (16, 1)
SHAPES = [  # rows, columns, gates
    (1760, 1760, 1),
    (7680, 2560, 3),
    (8192, 2688, 4),
    (8192, 320, 4),
    (8192, 640, 4),
    (8192, 1280, 4),
    (640, 2048, 1),
    (2048, 512, 4),
]


def kept_groups(stored: MatrixLayout, sparsity: float) -> int:
    """Groups of 16 × 1 blocks at a sparsity, where no gate needs padding: one a block."""
    assert stored.matrix.rows // stored.matrix.gates % 16 == 0
    return round(stored.n_blocks * (1 - sparsity))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_matrix_at_90_percent_takes_9_4_times_fewer_bytes(shape):
    stored = MatrixLayout(Matrix("m", *shape, "lstm"), "strip16", BLOCK)
    placed = place_tensors([stored], [], 0, [{"m": kept_groups(stored, 0.9)}])
    assert 9.4 <= 4 * stored.matrix.size / stop_ends(placed)[-1] <= 10


def test_a_written_file_takes_the_bytes_that_were_computed(tmp_path):
    architecture = Architecture(512, (Linear("a", 512), Linear("b", 8)))
    rng = np.random.default_rng(0)
    matrices = {m.name: rng.standard_normal((m.rows, m.columns), np.float32) for m in architecture.matrices()}
    vectors = {v.name: rng.standard_normal(v.size, np.float32) for v in architecture.vectors()}
    kept = np.repeat(rng.permutation(32 * 512).reshape(32, 512) < round(0.1 * 32 * 512), 16, axis=0)
    level = LevelToWrite(name="small", kept={"a.weight": kept})
    write_model(tmp_path / "m", describe(architecture), matrices | vectors, [level], {"a.weight": BLOCK})
    file = ModelFile.open(tmp_path / "m")
    placed = place_tensors(file.matrices, architecture.vectors(), 0, [{"a.weight": round(0.1 * 32 * 512)}])
    assert stop_ends(placed) == [file.stops[0].end] == [len(Parts.of(tmp_path / "m").data)]
    in_segments = sum(tensor.end - tensor.start for tensor in placed[0] if tensor.name.startswith("00/"))
    assert 4 * 512 * 512 / in_segments >= 9.4


def test_other_blocks_cost_more_but_never_more_than_every_strip_column():
    matrix = Matrix("m", 4 * 32, 64, 4, "lstm")
    kept = block_mask(matrix, (4, 4), 0.9, seed=0)
    stored = MatrixLayout(matrix, "strip16", (4, 4))
    assert stored.n_blocks == 32 * 16
    assert kept.reshape(-1, 16, 64).any(axis=1).sum() > 1.5 * kept.sum() / 16


def lstm(name: str, width: int) -> list[Matrix]:
    """An LSTM of 2048 cells with a projection to 640."""
    return [
        Matrix(f"{name}.input", 8192, width, 4, "lstm"),
        Matrix(f"{name}.recurrent", 8192, 640, 4, "lstm"),
        Matrix(f"{name}.projection", 640, 2048, 1, "lstm"),
    ]


# A transducer of 122 million parameters: 8 encoder layers with a time reduction after the second,
# 2 predictor layers, the joint network, and an embedding that no level prunes.
ENCODER = [matrix for i in range(8) for matrix in lstm(f"encoder{i}", {0: 320, 2: 1280}.get(i, 640))]
PREDICTOR = lstm("predictor0", 320) + lstm("predictor1", 640)
JOINT = Matrix("joint.weight", 4096, 640, 1, "fc")
EMBEDDING = Matrix("embedding.weight", 4096, 320, 1, "embedding")
LAYERS = [f"encoder{i}" for i in range(8)] + ["predictor0", "predictor1"]
VECTORS = [Vector(f"{layer}.bias", 8192, 4) for layer in LAYERS]
VECTORS += [Vector(f"{layer}.norm.{part}", 640) for layer in LAYERS for part in ("scale", "shift")]
VECTORS += [Vector("joint.bias", 4096)]


def sizes(embedding: list[Matrix]) -> tuple[int, list[int]]:
    """Dense float32 bytes, and the bytes of the whole file up to each stop, sparsest first."""
    pruned = [MatrixLayout(matrix, "strip16", BLOCK) for matrix in (*ENCODER, *PREDICTOR, JOINT)]
    stored = [*pruned, *(MatrixLayout(matrix, "dense16", None) for matrix in embedding)]
    sparsities = ({"lstm": 0.9, "fc": 0.5}, {"lstm": 0.7, "fc": 0.0}, {"lstm": 0.0, "fc": 0.0})
    kept = [{s.matrix.name: kept_groups(s, at[s.matrix.type]) for s in pruned} for at in sparsities]
    added = [{name: n - (kept[k - 1][name] if k else 0) for name, n in kept[k].items()} for k in range(3)]
    placed = place_tensors(stored, VECTORS, 0, added)
    counts = [{"blocks": kept[k], "groups": added[k]} for k in range(3)]
    text = json.dumps({"matrices": [vars(s.matrix) for s in stored], "stops": counts, "rest": "x" * 20_000})
    header = header_bytes({"sparrot": text}, [tensor for own in placed for tensor in own])
    dense = 4 * (sum(s.matrix.size for s in stored) + sum(vector.size for vector in VECTORS))
    return dense, [len(header) + end for end in stop_ends(placed)]


def test_122_million_weights(record_property):
    assert sum(matrix.size for matrix in (*ENCODER, *PREDICTOR)) == 117_964_800
    assert JOINT.size == 2_621_440
    dense, ends = sizes([])
    ratios = [dense / end for end in ends]
    record_property("ratios small, medium, large", ratios)
    assert ratios == pytest.approx([8.84, 3.07, 0.969], rel=0.003)


def test_122_million_weights_with_an_embedding_that_no_level_prunes():
    dense, ends = sizes([EMBEDDING])
    assert dense / 4 == pytest.approx(122.0e6, rel=0.002)
    assert [dense / end for end in ends] == pytest.approx([8.15, 3.00, 0.969], rel=0.003)


@pytest.mark.parametrize(("weights", "dtype"), [("float32", "F32"), ("bf16", "BF16"), ("int8", "I8")])
def test_the_sizes_of_the_packaged_model_are_those_of_the_specification(tmp_path, weights, dtype):
    source, path = ModelFile.open(packaged_model()), tmp_path / "m"
    convert(source, path, dtypes_of(source.description.architecture.matrices(), dtype))
    with_measured(path, {level.name: level.measured for level in source.levels})
    file = ModelFile.open(path)
    row = " | ".join(f"{file.level_bytes(level.name):,}" for level in file.levels)
    specification = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
    assert f"\n| `{weights}` | {row} |\n" in specification
    names = " | ".join(
        f"{level.name}, {level.overall_sparsity:.0%}".replace("%", " %") for level in file.levels
    )
    assert f"\n| `--weights` | {names} |\n" in specification
    assert f" {source.levels[0].parameters:,} parameters" in specification
