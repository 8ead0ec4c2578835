"""Scales and shifts that differ by level: in the file, at every stop, and in batches of mixed levels."""

from dataclasses import replace

import numpy as np
import pytest

import reference
import rounding
from architectures import features, parameters
from engine_networks import model_of, network_of
from model_file.written import DTYPES, Parts, block_mask, describe, three_levels
from sparrot import _core
from sparrot.architecture import Architecture, BatchNorm, Convolution, Linear, Recurrent
from sparrot.engine.network import Network, NetworkStream, advance
from sparrot.engine.prepared import PreparedModel
from sparrot.model_file import FormatError, LevelToWrite, ModelFile, Storage, convert, dtypes_of, write_model

NORMED = Architecture(  # over planes, over values, over channels of one bin
    4,
    (
        Convolution("planes", 2, kernel=3, kernel_bins=3),
        BatchNorm("by_plane"),
        Convolution("time", 5, kernel=3, stride=2),
        BatchNorm("by_channel"),
        Recurrent("lstm", "lstm", 35, projection=18),
        BatchNorm("by_value"),
        Linear("output", 4),
    ),
)
BY_LEVEL = [vector.name for vector in NORMED.vectors() if vector.by_level]


def levels_of(architecture: Architecture, block: tuple[int, int]) -> list[LevelToWrite]:
    """Levels large, medium and small, every scale and shift another at each."""
    levels = []
    for seed, level in enumerate(three_levels(architecture, block), start=50):
        drawn = parameters(architecture, seed, 1.0)
        levels.append(replace(level, vectors={name: drawn[name] for name in BY_LEVEL}))
    return levels


@pytest.fixture(scope="module", params=["F32", "BF16", "I8"])
def model(request) -> ModelFile:
    return model_of(NORMED, parameters(NORMED, 3), levels_of(NORMED, (4, 1)), (4, 1), request.param)


def rounded(model: ModelFile, frames: np.ndarray, stop: int) -> rounding.Rounded:
    level = model.levels[-1 - stop].name
    with rounding.products_of(model.matrices[0].dtype):
        return rounding.run(NORMED, model.parameters(level), frames)


# against float64


def test_the_truth_scales_planes_channels_and_values():
    given, frames = Convolution("c", 2, 1, kernel_bins=1).output(reference.Shape(2)), [[1.0, 2.0, 3.0, 4.0]]
    assert reference.batch_norm(given, [2.0, 3.0], [0.0, 1.0], frames) == [[2, 4, 10, 13]]
    values = reference.batch_norm(reference.Shape(4), [1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 1.0], frames)
    assert values == [[1, 4, 9, 17]]


def test_every_level_has_its_own_vectors_bit_for_bit(model):
    levels = levels_of(NORMED, (4, 1))
    for level in levels:
        found = model.parameters(level.name)
        assert list(found) == [m.name for m in NORMED.matrices()] + [v.name for v in NORMED.vectors()]
        for name in BY_LEVEL:
            np.testing.assert_array_equal(found[name], level.vectors[name])


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_every_level_is_within_rounding_of_float64(model, stop):
    frames = features(NORMED, 9)
    bounded = rounded(model, frames, stop)
    logits = network_of(model).run(frames, stop)
    assert np.all(abs(logits - bounded.value) <= bounded.error)
    if model.matrices[0].dtype == "F32":
        assert bounded.error.max() < 2e-3  # tight enough to tell the levels apart
        others = [rounded(model, frames, other).value for other in range(3) if other != stop]
        assert all(abs(logits - other).max() > 0.05 for other in others)


@pytest.mark.parametrize("n_streams", [2, 17, 40])
def test_a_batch_of_mixed_levels_is_every_stream_by_itself(model, n_streams):
    network = network_of(model)
    random = np.random.default_rng(n_streams)
    stops = random.integers(0, 3, n_streams).tolist()
    utterances = [features(NORMED, 8, seed) for seed in range(n_streams)]
    streams = [NetworkStream(network, 4) for _ in utterances]
    for stream, frames in zip(streams, utterances, strict=True):
        stream.push(frames)
        stream.finish()
    for logits, frames, stop in zip(advance(streams, stops), utterances, stops, strict=True):
        bounded = rounded(model, frames, stop)
        assert np.all(abs(logits - bounded.value) <= bounded.error)


def test_a_switch_takes_the_vectors_of_the_new_level():
    architecture = Architecture(4, (Linear("fc", 5), BatchNorm("norm")))  # no state: a chunk is its level's
    levels = [
        LevelToWrite(name=str(i), kept={}, vectors={"norm.scale": np.full(5, i + 2, np.float32)})
        for i in range(3)
    ]
    model = model_of(architecture, parameters(architecture, 3), levels)
    network, frames = network_of(model), features(architecture, 16)
    stream = NetworkStream(network, 4)
    stream.push(frames)
    for turn, stop in enumerate([0, 2, 1, 0]):
        (chunk,) = advance([stream], [stop])
        bounded = rounding.run(architecture, model.parameters(str(2 - stop)), frames[4 * turn : 4 * turn + 4])
        assert np.all(abs(chunk - bounded.value) <= bounded.error)


def test_levels_may_be_added_while_others_run(model):
    whole, growing = network_of(model), Network(NORMED, model.read_stop(0))
    frames = features(NORMED, 12)
    for stop in range(3):
        for sparser in range(stop + 1):
            np.testing.assert_array_equal(growing.run(frames, sparser), whole.run(frames, sparser))
        if stop < 2:
            growing.add_stop(model.read_stop(stop + 1))


def test_the_engine_refuses_vectors_of_another_size_and_levels_without_any():
    affines = _core.Affines(5, 3)
    right, wrong = np.zeros(16, np.float32), np.zeros(5, np.float32)
    with pytest.raises(ValueError, match="not of the size of its layer"):
        affines.add(right, wrong)
    network = _core.Network(15)
    network.add_batch_norm(affines)

    def run() -> np.ndarray:
        stream = _core.NetworkStream(network, 0)
        stream.push(np.ones((2, 15), np.float32))
        stream.finish()
        return _core.advance([stream], [0])[0]

    with pytest.raises(ValueError, match="no scales and shifts yet"):
        run()
    affines.add(right + 2, right)
    for _ in range(31):
        affines.add(right, right)
    with pytest.raises(ValueError, match="32 stops at most"):
        affines.add(right, right)
    np.testing.assert_array_equal(run(), np.full((2, 15), 2))


# the file


def written(path, architecture: Architecture, n_stops: int | None = None, block=(16, 1)) -> ModelFile:
    pruned = [matrix for matrix in architecture.matrices() if matrix.prunable]
    by_level = [vector for vector in architecture.vectors() if vector.by_level]
    levels = [
        LevelToWrite(
            name=f"{100 * sparsity:.0f}",
            kept={m.name: block_mask(m, block, sparsity, seed=9) for m in pruned},
            vectors={v.name: np.full(v.size, 1 - sparsity, np.float32) for v in by_level},
        )
        for sparsity in (0.0, 0.5, 0.9)
    ]
    storage = Storage({m.name: block for m in pruned}, {}, n_stops)
    write_model(path, describe(architecture), parameters(architecture, 3), levels, storage)
    return ModelFile.open(path)


def test_every_stop_begins_with_its_vectors_in_the_order_of_the_layers(tmp_path):
    written(tmp_path / "m", NORMED, block=(4, 1))
    names = [name for name in Parts.of(tmp_path / "m").header if name != "__metadata__"]
    layers = ("by_plane", "by_channel", "by_value")
    expected = [f"{layer}/{part}" for layer in layers for part in ("scale", "shift")]
    for stop in range(3):
        own = [name for name in names if name.startswith(f"{stop:02d}/")]
        assert own[:6] == [f"{stop:02d}/{name}" for name in expected]
        assert own[6] == f"{stop:02d}/lstm.input/starts"
    assert not any("by_" in name for name in names if name.startswith("base/"))


def test_unnamed_stops_lie_between_the_levels_in_overall_sparsity(tmp_path):
    wide = Architecture(256, (Linear("a", 256, "relu"), BatchNorm("norm"), Linear("fc", 4)))
    file = written(tmp_path / "m", wide, n_stops=9)
    n = len(file.stops)
    sparsities = [stop.overall_sparsity for stop in file.stops]
    ends = [level.stop for level in reversed(file.levels)]
    assert n > len(ends) + 2
    for stop in range(n):
        found = file.parameters(sparsities[stop])["norm.scale"]
        gap = next(i for i in range(2) if ends[i] <= stop <= ends[i + 1])
        low, high = sparsities[ends[gap + 1]], sparsities[ends[gap]]
        share = (sparsities[stop] - low) / (high - low)
        exact = [1.0, 0.5, 0.1][::-1][gap + 1] * (1 - share) + [0.1, 0.5, 1.0][gap] * share
        np.testing.assert_allclose(found, exact, rtol=1e-6)
        frames = features(wide, 3)
        bounded = rounding.run(wide, file.parameters(sparsities[stop]), frames)
        assert np.all(abs(network_of(file).run(frames, stop) - bounded.value) <= bounded.error)


def test_copies_and_converted_files_keep_the_vectors(tmp_path):
    file = written(tmp_path / "m", NORMED, block=(4, 1))
    file.max_level_copy(tmp_path / "copy", "50")
    convert(file, tmp_path / "int8", dtypes_of(NORMED.matrices(), "I8"))
    for path in ("copy", "int8"):
        other = ModelFile.open(tmp_path / path)
        for level in other.levels:
            for name in BY_LEVEL:
                found, expected = other.parameters(level.name)[name], file.parameters(level.name)[name]
                np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("tensor", "index", "value", "words"),
    [
        ("01/by_value/scale", (0, 3), np.nan, "not finite"),
        ("02/by_channel/shift", (0, 2), np.inf, "not finite"),
        ("00/by_plane/shift", (0, 2), 1.0, "padding"),
        ("01/by_plane/scale", (0, 15), -0.0, "padding"),
    ],
)
def test_reader_and_engine_refuse_the_same_damage(tmp_path, tensor, index, value, words):
    written(tmp_path / "m", NORMED, block=(4, 1))
    parts = Parts.of(tmp_path / "m")
    assert parts.array(tensor).dtype == DTYPES["F32"]
    parts.array(tensor)[index] = value
    (tmp_path / "bad").write_bytes(parts.with_checksums().with_description().to_bytes())
    bad = ModelFile.open(tmp_path / "bad")
    with pytest.raises(FormatError, match=words) as read:
        bad.parameters("0")
    with pytest.raises(FormatError, match=words) as run:
        _ = PreparedModel(bad)["0"]
    assert read.value.field == run.value.field == tensor


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (
            {"fc.bias": np.zeros(4, np.float32)},
            r"`fc.bias` of its own; those that differ by level are norm",
        ),
        ({"norm.scale": np.zeros(5, np.float32)}, r"is float32 \(5,\), and must be 3 values of float32"),
        ({"norm.scale": np.zeros(3)}, "is float64"),
        ({"norm.shift": np.full(3, np.nan, np.float32)}, "all of them finite"),
    ],
)
def test_vectors_that_no_level_can_have_are_refused(tmp_path, vectors, said):
    architecture = Architecture(3, (BatchNorm("norm"), Linear("fc", 4)))
    levels = [LevelToWrite(name="only", kept={}, vectors=vectors)]
    with pytest.raises(ValueError, match=said):
        write_model(tmp_path / "m", describe(architecture), parameters(architecture, 0), levels, {})
