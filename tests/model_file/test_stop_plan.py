"""Stops between the levels: how many, where, and which blocks they keep."""

from dataclasses import replace
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from architectures import architectures, parameters
from model_file.written import block_mask, describe, differing
from sparrot.architecture import Architecture, Linear, Matrix
from sparrot.model_file import (
    LevelToWrite,
    MatrixLayout,
    ModelFile,
    Storage,
    WeightType,
    stop_plan,
    with_measured,
    write_model,
)
from sparrot.model_file.masks import count_blocks, nested_masks
from sparrot.model_file.stop_plan import Prunable, more_stops

WIDE = Architecture(256, (Linear("a", 256, "relu"), Linear("b", 64, "relu"), Linear("fc", 4)))


def write(path, sparsities, n_stops, dtype: WeightType = "F32", block=(16, 1)):
    """A file of `WIDE` with levels of these sparsities, densest first, and the parameters it is made of."""
    weights = parameters(WIDE, seed=3)
    pruned = [matrix for matrix in WIDE.matrices() if matrix.name != "fc.weight"]
    levels = [
        LevelToWrite(
            name=f"{100 * sparsity:.0f}",
            measured={"dev": {"wer": 0.1, "cer": 0.1, "words": 10}},
            kept={m.name: block_mask(m, block, sparsity, seed=9) for m in pruned},
        )
        for sparsity in sparsities
    ]
    storage = Storage({m.name: block for m in pruned}, {m.name: dtype for m in pruned}, n_stops)
    write_model(path, describe(WIDE), weights, levels, storage)
    return ModelFile.open(path), weights


def own(file: ModelFile, stop: int, matrix: str) -> np.ndarray:
    """Columns that a stop's segment adds to each strip of a matrix, padding not counted (float32 only)."""
    piece = file.read_stop(stop).pieces[matrix]
    return np.diff(piece.starts[: piece.stored.strips + 1].astype(int))


# how many, and where


def test_without_unnamed_stops_there_is_one_a_level(tmp_path):
    file, _ = write(tmp_path / "m", [0.0, 0.9], None)
    assert [level.stop for level in file.levels] == [1, 0]


def test_the_parts_between_two_levels_are_equal(tmp_path):
    file, _ = write(tmp_path / "m", [0.0, 0.9], 5)
    sparsities = [stop.overall_sparsity for stop in file.stops]
    assert [level.stop for level in file.levels] == [4, 0]
    steps = [sparser - denser for sparser, denser in pairwise(sparsities)]
    # A strip of some 230 new columns has up to three more than its quarter of them.
    np.testing.assert_allclose(steps, np.mean(steps), rtol=3 / (230 / 4))


def test_the_widest_gap_is_cut_first(tmp_path):
    file, _ = write(tmp_path / "m", [0.0, 0.5, 0.9], 4)
    assert [level.stop for level in file.levels] == [3, 1, 0]  # 50 % were cut, and 40 % were not
    file, _ = write(tmp_path / "m", [0.0, 0.5, 0.9], 5)
    assert [level.stop for level in file.levels] == [4, 2, 0]
    file, _ = write(tmp_path / "m", [0.0, 0.1, 0.9], 6)
    assert [level.stop for level in file.levels] == [5, 4, 0]


@pytest.mark.parametrize("sparsities", [(0.0, 0.9), (0.0, 0.7, 0.9), (0.0, 0.5), (0.4, 0.9)])
def test_every_part_has_32_columns_a_strip_and_one_more_part_would_not(tmp_path, sparsities):
    file, _ = write(tmp_path / "m", sparsities, 32)
    stops = [level.stop for level in reversed(file.levels)]
    for sparser, denser in pairwise(stops):
        added = [
            np.concatenate([own(file, stop, "a.weight"), own(file, stop, "b.weight")]).mean()
            for stop in range(sparser + 1, denser + 1)
        ]
        assert len(added) == 1 or min(added) >= 32
        assert sum(added) / 32 - len(added) < 2  # rounding to whole groups may cost one part
    assert file.stops[-1].end == file.path.stat().st_size - len_of_header(file)


def len_of_header(file: ModelFile) -> int:
    return 8 + int.from_bytes(file.path.read_bytes()[:8], "little")


def test_small_matrices_do_not_count(tmp_path):
    """`narrow.weight` has an eighth of the weights of `a.weight`, and twice its strips."""
    layers = (Linear("a", 256), Linear("b", 16), Linear("narrow", 512), Linear("fc", 4))
    architecture = Architecture(256, layers)
    pruned = [matrix for matrix in architecture.matrices() if matrix.name in ("a.weight", "narrow.weight")]
    kept = {matrix.name: block_mask(matrix, (16, 1), 0.9, 0) for matrix in pruned}
    levels = [LevelToWrite(name="large", kept={}), LevelToWrite(name="small", kept=kept)]
    storage = Storage(dict.fromkeys(kept, (16, 1)), n_stops=7)
    write_model(tmp_path / "m", describe(architecture), parameters(architecture, 3), levels, storage)
    file = ModelFile.open(tmp_path / "m")
    assert len(file.stops) == 7
    assert own(file, 6, "narrow.weight").mean() < 4


@pytest.mark.parametrize("n_stops", [1, 33, 0, -1])
def test_numbers_of_stops_that_cannot_be(tmp_path, n_stops):
    with pytest.raises(ValueError, match=f"{n_stops} stops are asked for, and 2 levels can have 2 to 32"):
        write(tmp_path / "m", [0.0, 0.9], n_stops)


def test_a_model_that_is_not_pruned_has_no_more_stops(tmp_path):
    level = LevelToWrite(name="only", kept={})
    write_model(tmp_path / "m", describe(WIDE), parameters(WIDE, 0), [level], Storage(n_stops=32))
    assert len(ModelFile.open(tmp_path / "m").stops) == 1


# which blocks


def plan(weights: np.ndarray, sparse: np.ndarray, block, n_stops: int, gates: int = 1, order=None):
    """The segment of each weight of a matrix with two levels, of which the denser keeps everything."""
    matrix = Matrix("m", *weights.shape, gates, "fc")
    stored = MatrixLayout(matrix, "strip16", block)
    masks = nested_masks([matrix], [{}, {"m": sparse}], {"m": block})
    return more_stops([Prunable(stored, weights, masks["m"], order)], 2, n_stops)


def test_the_largest_blocks_come_first_by_hand():
    weights = np.zeros((16, 9), np.float32)
    weights[0] = [5, -8, 1, 7, -3, 2, 6, 4, 9]
    sparse = np.zeros((16, 9), np.bool_)
    sparse[:, 8] = True
    with mock.patch.object(stop_plan, "LEAST_COLUMNS", 4):
        found = plan(weights, sparse, (16, 1), 3)
    assert found.of_levels == (0, 2)
    #                  5  8  1  7  3  2  6  4  9
    np.testing.assert_array_equal(found.masks["m"].of_weight[7], [1, 1, 2, 1, 2, 2, 1, 2, 0])


def test_blocks_come_in_the_order_that_is_given():
    sparse = np.zeros((16, 9), np.bool_)
    sparse[:, 8] = True
    order = np.array([[6, 0, 7, 1, 8, 5, 2, 4, 3]])
    with mock.patch.object(stop_plan, "LEAST_COLUMNS", 4):
        found = plan(np.ones((16, 9), np.float32), sparse, (16, 1), 3, order=order).masks["m"].of_weight
    np.testing.assert_array_equal(found[7], [2, 1, 2, 1, 2, 2, 1, 1, 0])


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 16), np.int64), np.arange(31), np.arange(1, 33).reshape(2, 16)]
)
def test_an_order_that_is_none_is_refused(tmp_path, wrong):
    architecture = Architecture(16, (Linear("a", 32), Linear("fc", 4)))
    small = np.zeros((32, 16), np.bool_)
    small[:, :4] = True
    levels = [LevelToWrite(name="large", kept={}), LevelToWrite(name="small", kept={"a.weight": small})]
    storage = Storage({"a.weight": (16, 1)}, n_stops=4, order={"a.weight": wrong})
    with pytest.raises(ValueError, match=r"`a\.weight` must give each of its 2 × 16 blocks a place"):
        write_model(tmp_path / "m", describe(architecture), parameters(architecture, 0), levels, storage)


def test_equal_blocks_are_taken_in_order():
    weights = np.tile(np.float32([1, 2, 1]), (16, 267))
    sparse = np.zeros((16, 801), np.bool_)
    sparse[:, 0] = True
    found = plan(weights, sparse, (16, 1), 3).masks["m"].of_weight[0]
    last = np.flatnonzero((found == 1) & (weights[0] == 1))[-1]
    assert np.all(found[weights[0] == 2] == 1)
    assert np.all(found[1 : last + 1] == 1)
    assert np.count_nonzero(found == 1) == 400


def test_a_strip_gets_whole_columns_of_four():
    """Half of the blocks are 9: six of the first strip, three of the second, which take eight and four."""
    weights = np.ones((32, 10), np.float32)
    weights[0, :6], weights[16, :3] = 9, 9
    sparse = np.zeros((32, 10), np.bool_)
    sparse[:, 9] = True
    with mock.patch.object(stop_plan, "LEAST_COLUMNS", 1):
        found = plan(weights, sparse, (16, 1), 3).masks["m"].of_weight
    np.testing.assert_array_equal(found[0], [1, 1, 1, 1, 1, 1, 1, 1, 2, 0])
    np.testing.assert_array_equal(found[16], [1, 1, 1, 1, 2, 2, 2, 2, 2, 0])


def test_no_more_blocks_than_fill_the_columns():
    """Five of ten blocks of two columns: one more makes twelve columns."""
    sparse = np.zeros((16, 22), np.bool_)
    sparse[:, 20:] = True
    with mock.patch.object(stop_plan, "_large", least_one):
        found = plan(np.ones((16, 22), np.float32), sparse, (16, 2), 3).masks["m"].of_weight
    np.testing.assert_array_equal(found[0], [*[1] * 12, *[2] * 8, 0, 0])


def test_blocks_that_are_no_whole_strips_are_taken_one_by_one():
    """A quarter of 36 blocks is nine: five in the first of four rows of blocks, and four in the second."""
    weights = np.ones((16, 10), np.float32)
    weights[:4, :5] = weights[4:8, :4] = 2
    sparse = np.zeros((16, 10), np.bool_)
    sparse[:, 9] = True
    with mock.patch.object(stop_plan, "_large", least_one):
        found = plan(weights, sparse, (4, 1), 5).masks["m"].of_weight
    np.testing.assert_array_equal((found[::4] == 1).sum(axis=1), [5, 4, 0, 0])


TALL = [(16, 1), (32, 1), (16, 2), (48, 3), (16, 6), (32, 32)]


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(TALL),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 20),
    st.integers(3, 9),
    st.data(),
)
def test_groups_of_unnamed_stops_are_full(block, gates, n_rows, n_columns, n_stops, data):
    """Save where a strip has no more columns to give: then it gives all that it has."""
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    shape = (gates * n_rows * block[0], n_columns * block[1])
    matrix = Matrix("m", *shape, gates, "fc")
    sparse = block_mask(matrix, block, data.draw(st.floats(0.3, 1.0)), seed=1)
    assume(not sparse.all())
    with mock.patch.object(stop_plan, "_large", least_one):
        found = plan(rng.standard_normal(shape).astype(np.float32), sparse, block, n_stops, gates)
    strips = found.masks["m"].of_weight[::16]
    for segment in range(1, found.n_stops - 1):
        new, later = (strips == segment).sum(axis=1), (strips > segment).sum(axis=1)
        assert np.all((new % 4 == 0) | (later == 0))


def least_one(matrices):
    """In the place of `_large`: every matrix counts, and a segment needs one weight."""
    return list(matrices), 1


@st.composite
def models(draw):
    """An architecture, parameters, one to three nested levels, and how they are stored in how many stops."""
    architecture = draw(architectures(streaming=True))
    pruned = [m for m in architecture.matrices() if m.prunable]
    blocks = {
        m.name: draw(st.sampled_from([(16, 1), (4, 4), (1, 1), (12, 2), (8, 3), (32, 32)])) for m in pruned
    }
    dtypes = {m.name: draw(st.sampled_from(["F32", "BF16", "I8"])) for m in pruned}
    sparsities = sorted(draw(st.lists(st.floats(0, 1), min_size=1, max_size=3)))
    levels = [
        LevelToWrite(
            name=f"level {i}",
            kept={m.name: block_mask(m, blocks[m.name], sparsity, k) for k, m in enumerate(pruned)},
        )
        for i, sparsity in enumerate(sparsities)
    ]
    n_stops = draw(st.integers(len(levels), 32))
    return (
        architecture,
        parameters(architecture, draw(st.integers(0, 99))),
        levels,
        Storage(blocks, dtypes, n_stops),
    )


@settings(max_examples=40, deadline=None)
@given(models())
def test_levels_keep_their_bits_and_stops_are_nested(tmp_path_factory, model):
    architecture, weights, levels, storage = model
    folder = tmp_path_factory.mktemp("stops")
    with mock.patch.object(stop_plan, "_large", least_one):
        write_model(folder / "m", describe(architecture), weights, levels, storage)
    write_model(folder / "plain", describe(architecture), weights, levels, replace(storage, n_stops=None))
    file, plain = ModelFile.open(folder / "m"), ModelFile.open(folder / "plain")
    assert len(levels) <= len(file.stops) <= storage.n_stops
    for level in levels:
        assert differing(file.parameters(level.name), plain.parameters(level.name)) == []
        assert replace(file.level(level.name), stop=0) == replace(plain.level(level.name), stop=0)
    before = None
    for stop in file.stops:
        found = file.parameters(stop.overall_sparsity)
        for matrix in architecture.matrices() if before else ():
            name = matrix.name
            assert np.all((before[name] == found[name]) | (before[name] == 0))
        before = found


@settings(max_examples=20, deadline=None)
@given(models())
def test_stops_count_what_they_keep(tmp_path_factory, model):
    """Blocks and parameters, by the masks that the weights show: here none of them is zero.

    Matrices that are stored whole, nearly all of which every level keeps, count as they are.
    """
    architecture, weights, levels, storage = model
    weights = {name: np.where(w == 0, np.float32(1), w) for name, w in weights.items()}
    path = tmp_path_factory.mktemp("stops") / "m"
    with mock.patch.object(stop_plan, "_large", least_one):
        write_model(path, describe(architecture), weights, levels, replace(storage, dtypes={}))
    file = ModelFile.open(path)
    total = sum(w.size for w in weights.values())
    whole = {stored.matrix.name for stored in file.matrices if stored.layout == "dense16"}
    for stop in file.stops:
        level = file.level(stop.overall_sparsity)
        found = file.parameters(level.name)
        kept = sum(w.size if name in whole else int(np.count_nonzero(w)) for name, w in found.items())
        assert level.parameters == kept
        assert level.overall_sparsity == 1 - kept / total
        for matrix in architecture.matrices():
            if matrix.name in file.stops[level.stop].blocks:
                n_blocks = count_blocks(found[matrix.name] != 0, matrix.gates, storage.blocks[matrix.name])
                assert file.stops[level.stop].blocks[matrix.name] == n_blocks


# asking for them


@pytest.fixture(scope="module")
def stops_path(tmp_path_factory):
    """Stops 0 … 6 of which 0, 2 and 6 are the levels 90, 70 and 0."""
    path = tmp_path_factory.mktemp("stops") / "m"
    file, _ = write(path, [0.0, 0.7, 0.9], 7, block=(16, 1))
    assert [level.stop for level in file.levels] == [6, 1, 0]
    return path


def test_a_sparsity_is_the_nearest_stop(stops_path):
    file = ModelFile.open(stops_path)
    shares = [stop.overall_sparsity for stop in file.stops]
    for stop, exactly in enumerate(shares):
        assert file.level(exactly).stop == file.level(repr(exactly)).stop == stop
    for stop, (sparser, denser) in enumerate(pairwise(shares)):
        middle = (sparser + denser) / 2
        assert file.level(middle + 1e-9).stop == stop
        assert file.level(middle - 1e-9).stop == stop + 1
    assert (file.level(1).stop, file.level("1.0").stop, file.level(1e-9).stop) == (0, 0, 6)


def test_a_stop_without_a_level_takes_the_rest_from_the_next_denser_one(stops_path):
    file = ModelFile.open(stops_path)
    unnamed = file.level("0.3")
    assert unnamed.name == f"{file.stops[unnamed.stop].overall_sparsity:.2f}"
    assert file.level(unnamed.name) == unnamed == file.level(float(unnamed.name))
    assert (unnamed.targets, unnamed.measured) == ({}, {})
    assert (
        unnamed.overall_sparsity == file.stops[unnamed.stop].overall_sparsity == pytest.approx(0.3, abs=0.1)
    )
    assert file.level_bytes(unnamed.name) < stops_path.stat().st_size
    found = file.parameters(unnamed.name)
    weights = sum(found[m.name].size for m in WIDE.matrices())
    kept = sum(int(np.count_nonzero(found[m.name])) for m in WIDE.matrices())
    assert unnamed.sparsity == {"fc": pytest.approx(1 - kept / weights, rel=1e-12)}


def test_the_sparsity_by_type_adds_up_where_blocks_at_the_edges_are_smaller(tmp_path):
    architecture = Architecture(40, (Linear("fc", 20),))
    level = LevelToWrite(name="large", kept={})
    sparse = replace(
        level, name="small", kept={"fc.weight": block_mask(architecture.matrices()[0], (16, 1), 0.9, 0)}
    )
    with mock.patch.object(stop_plan, "_large", least_one):
        storage = Storage({"fc.weight": (16, 1)}, n_stops=9)
        write_model(
            tmp_path / "m", describe(architecture), parameters(architecture, 0), [level, sparse], storage
        )
    file = ModelFile.open(tmp_path / "m")
    assert len(file.stops) == 9
    for stop in file.stops:
        unnamed = file.level(stop.overall_sparsity)
        assert 800 * (1 - unnamed.sparsity["fc"]) + 20 == pytest.approx(unnamed.parameters, rel=1e-12)


def test_a_stop_with_a_level_is_that_level(stops_path):
    file = ModelFile.open(stops_path)
    assert file.level(file.stops[1].overall_sparsity) == file.level("70")


@pytest.mark.parametrize("name", ["sparsity=0.3", "x", "1.1", "-0.1", "nan", "", "71"])
def test_what_is_no_sparsity(stops_path, name):
    with pytest.raises(
        ValueError, match=f"no level `{name}` in .* A number from 0 to 1 means the stop of the"
    ):
        ModelFile.open(stops_path).level(name)


def test_a_level_that_is_called_like_a_number_is_found_by_its_name(stops_path):
    file = ModelFile.open(stops_path)
    assert (file.level("0").stop, file.level("70").stop) == (6, 1)


def test_what_is_sparser_or_denser_than_every_stop_is_the_last_one(tmp_path):
    file, _ = write(tmp_path / "m", [0.5, 0.9], 2)
    assert (file.level("0.1").name, file.level("0.99").name) == ("50", "90")


def test_a_file_that_was_cut_between_levels_has_the_stops_that_are_left(stops_path, tmp_path):
    whole = ModelFile.open(stops_path)
    dense = whole.parameters("0.3")
    stop = whole.level("0.3").stop
    (tmp_path / "m").write_bytes(stops_path.read_bytes()[: whole.level_bytes("0.3") + 64])
    with pytest.warns(UserWarning, match="0 is missing"):
        cut = ModelFile.open(tmp_path / "m")
    assert len(cut.stops) == stop + 1
    assert differing(cut.parameters("0.3"), dense) == []
    with pytest.raises(
        ValueError,
        match=r"the stop nearest to a sparsity of 0\.01 was cut off: .* the densest drops 0\.\d+",
    ):
        cut.level("0.01")


def test_copies_and_accuracies_need_a_name(stops_path, tmp_path):
    with pytest.raises(ValueError, match=r"has no name for `0.3`, and this takes one: 0 "):
        ModelFile.open(stops_path).max_level_copy(tmp_path / "m", "0.3")
    (tmp_path / "m").write_bytes(stops_path.read_bytes())
    with pytest.raises(ValueError, match=r"has no name for `0.3`"):
        with_measured(tmp_path / "m", {"0.3": {"dev": {"wer": 0.0, "cer": 0.0, "words": 1}}})
