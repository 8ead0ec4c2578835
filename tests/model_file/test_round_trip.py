"""Every level comes back bit for bit: from the whole file, from a prefix and from a copy."""

import tempfile
import threading
import weakref
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from architectures import architectures, parameters
from model_file.written import (
    SMALL,
    Parts,
    as_stored,
    at_level,
    block_mask,
    describe,
    differing,
    read_all,
    three_levels,
    write_small,
)
from sparrot.architecture import Architecture, LayerNorm, Linear
from sparrot.model_file import LevelToWrite, ModelFile, Storage, layout_of_block, packing, write_model
from sparrot.model_file.pieces import Units, gather
from sparrot.text import train_sentencepiece

LAYOUTS = st.sampled_from(["strip16", "tile4", "tile8", "csr"])
TYPES = st.sampled_from(["F32", "BF16", "I8"])
BLOCKS = st.sampled_from([(16, 1), (4, 4), (8, 8), (1, 1), (12, 2), (32, 32), (8, 3), (16, 16)])


@st.composite
def models(draw):
    """An architecture, parameters, one to four nested levels, and how each matrix is stored."""
    architecture = draw(architectures(streaming=draw(st.booleans())))
    weights = parameters(architecture, seed=draw(st.integers(0, 1000)))
    sparsities = sorted(draw(st.lists(st.floats(0, 1), min_size=1, max_size=4)))
    pruned = [m for m in architecture.matrices() if m.prunable and draw(st.booleans())]
    blocks = {matrix.name: draw(BLOCKS) for matrix in pruned}
    levels = [
        LevelToWrite(
            name=f"level {sparsity} {i}",
            kept={m.name: block_mask(m, blocks[m.name], sparsity, seed) for seed, m in enumerate(pruned)},
        )
        for i, sparsity in enumerate(sparsities)
    ]
    dtypes = draw(st.fixed_dictionaries({m.name: TYPES for m in architecture.matrices()}))
    layouts = draw(st.none() | LAYOUTS)  # None: those that are chosen for the blocks
    layout_of = layout_of_block if layouts is None else lambda block: layouts
    return architecture, weights, levels, Storage(blocks, dtypes, layout_of=layout_of)


@settings(max_examples=40, deadline=None)
@given(models())
def test_every_level_is_the_masked_parameters_bit_for_bit(model):
    architecture, weights, levels, storage = model
    stored = as_stored(weights, levels, storage.dtypes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        write_model(path, describe(architecture), weights, levels, storage)
        file = ModelFile.open(path)
        assert file.description == describe(architecture)
        for level in levels:
            assert differing(at_level(stored, level), file.parameters(level.name)) == []


@settings(max_examples=15, deadline=None)
@given(models(), st.data())
def test_a_level_is_the_same_bits_in_a_copy_that_ends_with_it(model, data):
    architecture, weights, levels, storage = model
    stored = as_stored(weights, levels, storage.dtypes)
    last = data.draw(st.integers(0, len(levels) - 1))
    with tempfile.TemporaryDirectory() as folder:
        path, copy = Path(folder) / "model", Path(folder) / "copy"
        write_model(path, describe(architecture), weights, levels, storage)
        ModelFile.open(path).max_level_copy(copy, levels[last].name)
        assert ModelFile.open(copy).levels == ModelFile.open(path).levels[last:]
        assert ModelFile.open(copy).missing_levels == []
        for level in levels[last:]:
            assert differing(at_level(stored, level), ModelFile.open(copy).parameters(level.name)) == []
        whole_data, copied_data = Parts.of(path).data, Parts.of(copy).data
        assert whole_data.startswith(copied_data)
        assert len(copied_data) == Parts.of(path).described["stops"][-1 - last]["end"]


def test_the_levels_say_what_was_written_and_what_it_means(small_path):
    large, medium, small = ModelFile.open(small_path).levels
    assert [large.name, medium.name, small.name] == ["large", "medium", "small"]
    assert large.measured == {"dev": {"wer": 0.1, "cer": 0.04, "words": 1000}}
    assert medium.targets == {"lstm": 0.7, "gru": 0.7, "fc": 0.7}
    assert (medium.blank_penalty, small.emission_delay_s, small.confidence_temperature) == (0.25, 0.08, 1.5)
    assert (large.overall_sparsity, large.sparsity) == (0, {"conv": 0, "lstm": 0, "gru": 0, "fc": 0})

    kept = three_levels(SMALL, (4, 1))[1].kept
    dropped = sum(np.count_nonzero(~mask) for mask in kept.values())
    n_parameters = sum(m.size for m in SMALL.matrices()) + sum(v.size for v in SMALL.vectors())
    assert large.parameters == n_parameters
    assert medium.parameters == n_parameters - dropped
    assert medium.overall_sparsity == pytest.approx(dropped / n_parameters, rel=1e-12)
    lstm = [mask for name, mask in kept.items() if name.startswith("lstm")]
    expected = 1 - sum(mask.sum() for mask in lstm) / sum(mask.size for mask in lstm)
    assert medium.sparsity["lstm"] == pytest.approx(expected, rel=1e-12)


def test_the_stops_count_blocks_and_groups(tmp_path):
    fc = Architecture(40, (Linear("fc", 20),))
    kept = np.zeros((20, 40), np.bool_)
    kept[:16, 3] = kept[16:, 39] = True  # a whole block, and one at the edge
    blocks = {"fc.weight": (16, 1)}
    levels = [LevelToWrite(name="a", kept={}), LevelToWrite(name="b", kept={"fc.weight": kept})]
    write_model(tmp_path / "m", describe(fc), parameters(fc, 0), levels, blocks)
    sparse, dense = ModelFile.open(tmp_path / "m").stops
    assert (sparse.blocks, sparse.groups) == ({"fc.weight": 2}, {"fc.weight": 2})
    assert (dense.blocks, dense.groups) == ({"fc.weight": 80}, {"fc.weight": 78})


def test_a_matrix_that_no_level_prunes_is_in_the_base(small_path):
    stored = {entry.matrix.name: (entry.layout, entry.block) for entry in ModelFile.open(small_path).matrices}
    assert stored["conv.kernel"] == ("dense16", None)
    assert stored["lstm.input"] == ("strip16", (4, 1))


@pytest.mark.parametrize(
    ("block", "layout"),
    [
        ((4, 4), "tile4"),
        ((8, 8), "tile8"),
        ((1, 1), "csr"),
        ((2, 8), "csr"),
        ((3, 16), "csr"),
        ((4, 1), "strip16"),
        ((8, 4), "strip16"),
        ((12, 2), "strip16"),
        ((16, 1), "strip16"),
        ((16, 16), "strip16"),
        ((32, 32), "strip16"),
    ],
)
def test_the_layout_of_a_block_shape(tmp_path, block, layout):
    write_small(tmp_path / "m", block)
    stored = {entry.matrix.name: entry.layout for entry in ModelFile.open(tmp_path / "m").matrices}
    assert stored == {name: "dense16" if name == "conv.kernel" else layout for name in stored}


def test_another_layout_may_be_named(tmp_path):
    write_small(tmp_path / "m", (16, 1), layout_of=lambda block: "csr" if block == (16, 1) else "tile4")
    assert ModelFile.open(tmp_path / "m").matrices[1].layout == "csr"


def test_a_mask_that_keeps_everything_prunes_nothing(tmp_path):
    fc = Architecture(3, (Linear("fc", 2),))
    level = LevelToWrite(name="only", kept={"fc.weight": np.ones((2, 3), np.bool_)})
    write_model(tmp_path / "m", describe(fc), parameters(fc, 0), [level], {})
    assert ModelFile.open(tmp_path / "m").matrices[0].layout == "dense16"


@pytest.mark.parametrize(("dtype", "most"), [("F32", 0.03), ("BF16", 0.11), ("I8", 0.2)])
def test_a_few_dropped_weights_are_zeros_of_a_dense_matrix(tmp_path, dtype, most):
    """As long as every level drops the same ones; what they were, even NaN, does not count."""
    fc = Architecture(100, (Linear("fc", 16),))
    for n_dropped, n_more in [(round(100 * most), 0), (round(100 * most) + 1, 0), (1, 1)]:
        weights, kept = parameters(fc, 0), np.ones((16, 100), np.bool_)
        kept[:, :n_dropped] = False
        sparser = kept.copy()
        sparser[:, n_dropped : n_dropped + n_more] = False
        weights["fc.weight"][~kept] = np.nan
        levels = [LevelToWrite(name=name, kept={"fc.weight": k}) for name, k in (("a", kept), ("b", sparser))]
        storage = Storage({"fc.weight": (16, 1)}, {"fc.weight": dtype})
        write_model(tmp_path / "m", describe(fc), weights, levels, storage)
        file = ModelFile.open(tmp_path / "m")
        is_dense = n_dropped <= round(100 * most) and n_more == 0
        assert (file.matrices[0].layout == "dense16") == is_dense
        assert file.level("a").parameters == 16 + 16 * (100 if is_dense else 100 - n_dropped)
        found = file.parameters("b")["fc.weight"]
        assert not found[~sparser].any()
        assert (found[sparser] != 0).any()


def test_negative_zero_survives_in_vectors_only(tmp_path):
    architecture = Architecture(2, (Linear("a", 2), Linear("b", 2), LayerNorm("n")))
    weights = {name: np.full_like(w, -0.0) for name, w in parameters(architecture, 0).items()}
    kept = np.array([[True, False], [True, True]])
    levels = [LevelToWrite(name="l", kept={"a.weight": kept})]
    write_model(tmp_path / "m", describe(architecture), weights, levels, {"a.weight": (1, 1)})
    for name, read in ModelFile.open(tmp_path / "m").parameters("l").items():
        assert np.all(read == 0)
        assert np.all(np.signbit(read) == (read.ndim == 1)), name


def test_weights_of_any_size_survive(tmp_path):
    architecture = Architecture(4, (Linear("fc", 2),))
    extremes = np.array([[1e-45, -1e-38, 3.4e38, -3.4e38], [1.0, -1.5, 1e-40, 2.0]], np.float32)
    weights = {"fc.weight": extremes, "fc.bias": np.array([1e-45, 3.4e38], np.float32)}
    kept = np.array([[True, True, True, False], [True, False, True, True]])
    levels = [LevelToWrite(name="dense", kept={}), LevelToWrite(name="sparse", kept={"fc.weight": kept})]
    write_model(tmp_path / "m", describe(architecture), weights, levels, {"fc.weight": (1, 1)})
    read = read_all(tmp_path / "m")
    assert [differing(at_level(weights, level), read[level.name]) for level in levels] == [[], []]


def test_sentencepiece_tokens_come_back_from_every_prefix(tmp_path):
    tokens = train_sentencepiece(["abc abd bad cab dab"], 8)
    architecture = Architecture(3, (Linear("hidden", 17), Linear("fc", 8)))
    kept = np.arange(17)[:, None].repeat(3, 1) < 5
    levels = [LevelToWrite(name="dense", kept={}), LevelToWrite(name="sparse", kept={"hidden.weight": kept})]
    blocks = {"hidden.weight": (5, 3)}
    write_model(tmp_path / "m", describe(architecture, tokens), parameters(architecture, 0), levels, blocks)
    assert ModelFile.open(tmp_path / "m").description.tokens == tokens
    ModelFile.open(tmp_path / "m").max_level_copy(tmp_path / "copy", "sparse")
    assert ModelFile.open(tmp_path / "copy").description.tokens.encode("dab") == tokens.encode("dab")
    assert len(safetensors.numpy.load_file(tmp_path / "copy")["base/sentencepiece"]) % 64 == 0


def test_the_stock_library_opens_files_and_copies(small_path, tmp_path):
    ModelFile.open(small_path).max_level_copy(tmp_path / "copy", "medium")
    for path, levels in ((small_path, 3), (tmp_path / "copy", 2)):
        stock = safetensors.numpy.load_file(path)
        parts = Parts.of(path)
        assert set(stock) == set(parts.header) - {"__metadata__"}
        assert len([name for name in stock if name.endswith("lstm.input/values")]) == levels
        for name, array in stock.items():
            np.testing.assert_array_equal(array, parts.array(name))


@pytest.mark.parametrize("block", [(4, 1), (4, 4), (8, 8), (1, 1)])
@pytest.mark.parametrize("dtype", ["BF16", "I8"])
def test_the_stock_library_opens_every_type_and_layout(tmp_path, dtype, block):
    write_small(tmp_path / "m", block, dtype=dtype)
    stock, parts = safetensors.torch.load_file(tmp_path / "m"), Parts.of(tmp_path / "m")
    assert set(stock) == set(parts.header) - {"__metadata__"}
    for name, tensor in stock.items():
        assert parts.array(name).tobytes() == tensor.contiguous().view(torch.uint8).numpy().tobytes()
    assert stock["00/lstm.input/values"].dtype == {"BF16": torch.bfloat16, "I8": torch.int8}[dtype]


@pytest.mark.parametrize("block", [(16, 1), (4, 4), (8, 8), (1, 1)])
@pytest.mark.parametrize("dtype", ["F32", "BF16", "I8"])
def test_every_tensor_is_aligned_and_the_base_comes_first(tmp_path, dtype, block):
    write_small(tmp_path / "m", block, dtype=dtype)
    raw = (tmp_path / "m").read_bytes()
    header = Parts.of(tmp_path / "m").header
    names = [name for name in header if name != "__metadata__"]
    starts = [header[name]["data_offsets"][0] for name in names]
    assert (8 + int.from_bytes(raw[:8], "little")) % 64 == 0
    assert starts == sorted(starts) and all(start % 64 == 0 for start in starts)
    parts = [name.partition("/")[0] for name in names]
    assert parts == sorted(parts, key=["base", "00", "01", "02"].index)


def test_parameters_are_not_kept_and_cannot_be_written_to(small_path):
    file = ModelFile.open(small_path)
    first = file.parameters("medium")
    assert differing(first, file.parameters("medium")) == []
    with pytest.raises(ValueError, match="read-only"):
        first["fc.weight"][0, 0] = 1
    kept = weakref.ref(first["fc.weight"])
    first.clear()
    assert kept() is None


def test_threads_read_levels_of_one_file_at_once(small_path):
    expected, file, found = read_all(small_path), ModelFile.open(small_path), []

    def read(name):
        found.append(differing(expected[name], file.parameters(name)))

    threads = [threading.Thread(target=read, args=(name,)) for name in list(expected) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[]] * 12


def test_an_open_file_is_not_the_one_that_takes_its_name(tmp_path):
    weights = write_small(tmp_path / "m")
    file = ModelFile.open(tmp_path / "m")
    write_small(tmp_path / "m", block=(1, 1))
    expected = at_level(weights, three_levels(SMALL, (4, 1))[2])
    assert differing(expected, file.parameters("small")) == []


def test_a_level_costs_the_file_up_to_its_end(small_path):
    file = ModelFile.open(small_path)
    bytes_of = [file.level_bytes(level.name) for level in file.levels]
    assert bytes_of[0] == small_path.stat().st_size
    assert bytes_of == sorted(bytes_of, reverse=True)
    assert bytes_of[0] - bytes_of[2] == file.stops[2].end - file.stops[0].end


def _without_last_unit(units: Units) -> Units:
    values = units.values.copy()
    values[-1:] = 0
    return Units(units.starts, units.columns, values)


MUTANTS: dict[str, Callable[..., Units]] = {
    "a unit is lost": lambda w, a, g, u: _without_last_unit(gather(w, a, g, u)),
    "scaled by 1.0001": lambda w, a, g, u: gather(w * np.float32(1.0001), a, g, u),
    "a block is transposed": lambda w, a, g, u: gather(np.roll(w, 1, axis=1), a, g, u),
    "rows are off by one": lambda w, a, g, u: gather(np.roll(w, 1, axis=0), a, g, u),
    "gates are swapped": lambda w, a, g, u: gather(np.roll(w, len(w) // g, axis=0), a, g, u),
    "the mask is ignored": lambda w, a, g, u: gather(w, np.ones_like(a), g, u),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_of_the_packing_is_caught(mutant, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "gather", MUTANTS[mutant])
    weights = write_small(tmp_path / "m")
    expected = at_level(weights, three_levels(SMALL, (4, 1))[1])
    assert "lstm.recurrent" in differing(expected, read_all(tmp_path / "m")["medium"])


def test_float32_strips_are_the_bytes_that_they_always_were(tmp_path):
    for block, crc32 in {(4, 1): 0xB93B398A, (16, 1): 0xBC791975, (12, 2): 0xF660DA34}.items():
        write_small(tmp_path / "m", block)
        assert zlib.crc32((tmp_path / "m").read_bytes()) == crc32
