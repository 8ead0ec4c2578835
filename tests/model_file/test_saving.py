"""Writing: what is refused, and that a failure leaves the old file as it was."""

import errno
import os
import pickle
import resource
import signal
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from architectures import parameters
from model_file.written import (
    SMALL,
    Parts,
    describe,
    differing,
    masks,
    read_all,
    three_levels,
    write_small,
)
from sparrot.architecture import Architecture, Linear, Recurrent, Window
from sparrot.atomic import atomic_write
from sparrot.model_file import FormatError, LevelToWrite, ModelFile, with_measured, write_model
from sparrot.text import CharacterTokens

FC = Architecture(3, (Linear("fc", 4),))
KEPT = np.array([[True, False, True]] * 4)
ACCURACY = {"wer": 0.2, "cer": 0.1, "words": 50}


def write_fc(path, *, weights=None, levels=None, blocks=None, description=None):
    """A file of one layer, with what a test puts in the place of the defaults."""
    write_model(
        path,
        description or describe(FC),
        parameters(FC, 0) if weights is None else weights,
        [LevelToWrite(name="only", kept={"fc.weight": KEPT})] if levels is None else levels,
        {"fc.weight": (2, 1)} if blocks is None else blocks,
    )


def fc_with(**changes):
    return parameters(FC, 0) | changes


def level_of(**fields):
    return [LevelToWrite(**{"name": "only", "kept": {"fc.weight": KEPT}, **fields})]


NAN_WEIGHT = np.array([[np.nan, 0, 0]] * 4, np.float32)
DENSE, SPARSE = LevelToWrite(name="dense", kept={}), LevelToWrite(name="sparse", kept={"fc.weight": KEPT})
REFUSED = {  # name: (what is given, words of the message)
    "no such parameter": ({"weights": fc_with(x=np.zeros(1, np.float32))}, "has no parameter `x`"),
    "a missing parameter": ({"weights": {"fc.bias": np.zeros(4, np.float32)}}, "no parameter `fc.weight`"),
    "another shape": ({"weights": fc_with(**{"fc.bias": np.zeros(5, np.float32)})}, r"float32 \(5,\)"),
    "float64": ({"weights": fc_with(**{"fc.bias": np.zeros(4)})}, "is float64"),
    "a NaN bias": (
        {"weights": fc_with(**{"fc.bias": np.full(4, np.nan, np.float32)})},
        "`fc.bias` is not finite",
    ),
    "a kept NaN": ({"weights": fc_with(**{"fc.weight": NAN_WEIGHT})}, "`fc.weight` is not finite"),
    "no level": ({"levels": []}, "1 to 32 levels, and 0"),
    "33 levels": ({"levels": level_of() * 33}, "and 33 are given"),
    "levels of one name": ({"levels": level_of() * 2}, "two levels of the same name"),
    "a level of no name": ({"levels": level_of(name="")}, "must be text"),
    "a mask of no matrix": ({"levels": level_of(kept={"x": KEPT})}, "a mask for `x`"),
    "a mask of floats": ({"levels": level_of(kept={"fc.weight": KEPT * 1.0})}, "is float64"),
    "a mask of another shape": ({"levels": level_of(kept={"fc.weight": KEPT.T})}, r"\(3, 4\)"),
    "levels not nested": (
        {"levels": [SPARSE, LevelToWrite(name="other", kept={"fc.weight": ~KEPT})]},
        "not nested: level 1 keeps",
    ),
    "sparsest first": ({"levels": [SPARSE, DENSE]}, "not nested"),
    "a cut block": (
        {"blocks": {"fc.weight": (2, 2)}},
        "level 0 is refused: it keeps a part of a block of 2×2",
    ),
    "no block shape": ({"blocks": {}}, "its block shape is not given"),
    "an accuracy without words": (
        {"levels": level_of(measured={"dev": {"wer": 0.1, "cer": 0.1}})},
        "`words`",
    ),
    "a NaN accuracy": ({"levels": level_of(measured={"dev": ACCURACY | {"wer": float("nan")}})}, "in JSON"),
    "a target in percent": ({"levels": level_of(targets={"fc": 90})}, r"in \[0, 1\]"),
    "a temperature of zero": ({"levels": level_of(confidence_temperature=0.0)}, "above 0"),
    "a path in the provenance": (
        {"description": replace(describe(FC), provenance={"path": os})},
        "provenance, configuration and measured accuracies must be made of",
    ),
    "half a surrogate pair": ({"description": replace(describe(FC), name="\ud800")}, "in JSON"),
    "a header over 16 MiB": (
        {"description": replace(describe(FC), configuration={"x": "x" * (17 << 20)})},
        "16777216 are allowed",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_not_written(case, tmp_path):
    given, words = REFUSED[case]
    with pytest.raises(ValueError, match=words) as caught:
        write_fc(tmp_path / "m", **given)
    assert not isinstance(caught.value, FormatError)
    assert str(caught.value).startswith(f"cannot write the model {tmp_path / 'm'}: ")
    assert list(tmp_path.iterdir()) == []


def test_a_nan_under_a_dropped_block_does_not_matter(tmp_path):
    dropped = np.where(KEPT, np.float32(1), np.float32(np.nan))
    write_fc(tmp_path / "m", weights=fc_with(**{"fc.weight": dropped}))
    np.testing.assert_array_equal(read_all(tmp_path / "m")["only"]["fc.weight"], KEPT.astype(np.float32))


def test_convolutions_have_no_masks(tmp_path):
    kept = {"conv.kernel": np.zeros((5, 21), np.bool_)}
    levels = [LevelToWrite(name="l", kept=kept)]
    with pytest.raises(
        ValueError, match=r"mask for `conv.kernel`, which no level can prune; it can prune fc"
    ):
        write_model(tmp_path / "m", describe(SMALL), parameters(SMALL, 0), levels, {"conv.kernel": (1, 1)})


def test_more_columns_than_an_index_can_name(tmp_path):
    wide = Architecture(1, (Linear("hidden", (1 << 16) + 1), Linear("fc", 2)))
    weights = parameters(wide, 0)
    kept = np.zeros((2, (1 << 16) + 1), np.bool_)
    pruned = [LevelToWrite(name="l", kept={"fc.weight": kept})]
    with pytest.raises(ValueError, match="has 65537 columns; one that a level prunes can have 65536"):
        write_model(tmp_path / "m", describe(wide), weights, pruned, {"fc.weight": (1, 1)})


def test_layers_whose_parameters_share_a_name():
    layers = (Recurrent("a", "rnn", 2, bidirectional=True), Recurrent("a.reverse", "rnn", 2))
    with pytest.raises(ValueError, match=r"two parameters named `a\.reverse"):
        Architecture(2, layers)


def test_a_network_without_parameters(tmp_path):
    stack = Architecture(2, (Window("stack", 0, 1, 2),))
    with pytest.raises(ValueError, match="has no parameters"):
        write_model(tmp_path / "m", describe(stack), {}, [DENSE], {})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tokens": CharacterTokens(("a", "b"))}, "there are 3 tokens, and the architecture puts out 4"),
        ({"architecture": Architecture(2, (Linear("fc", 4),))}, "have 3 values a frame, and .* reads 2"),
        ({"chunk_frames": 0}, "chunks of at least one frame"),
        ({"licence": ""}, "a licence"),
        ({"name": ""}, "a name"),
    ],
)
def test_a_description_checks_itself(changes, words):
    with pytest.raises(ValueError, match=words):
        replace(describe(FC), **changes)


class FullDisk:
    """A file of which only so many bytes can be written."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, data):
        self._room -= memoryview(data).nbytes
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(data)


@pytest.mark.parametrize("room", [0, 100, 9_500, 15_000])
def test_a_full_disk_leaves_the_old_file(room, tmp_path, monkeypatch):
    write_small(tmp_path / "m")
    old = (tmp_path / "m").read_bytes()

    @contextmanager
    def full(path):
        with atomic_write(path) as file:
            yield FullDisk(file, room)

    monkeypatch.setattr("sparrot.model_file.writer.atomic_write", full)
    monkeypatch.setattr("sparrot.model_file.prefix.atomic_write", full)
    for write in (
        lambda: write_small(tmp_path / "m", block=(1, 1)),
        lambda: ModelFile.open(tmp_path / "m").max_level_copy(tmp_path / "m", "medium"),
        lambda: with_measured(tmp_path / "m", {"small": {"dev": ACCURACY}}),
    ):
        with pytest.raises(OSError, match="No space left"):
            write()
        assert (tmp_path / "m").read_bytes() == old
        assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_limit_on_the_size_of_files_leaves_the_old_file(tmp_path):
    write_small(tmp_path / "m")
    old = (tmp_path / "m").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(old) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_small(tmp_path / "m")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "m").read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_measured_accuracies_are_added_and_replaced(tmp_path):
    write_small(tmp_path / "m")
    before, data = read_all(tmp_path / "m"), Parts.of(tmp_path / "m").data
    old = ModelFile.open(tmp_path / "m").level("large").measured["dev"]
    with_measured(tmp_path / "m", {"large": {"final": ACCURACY}, "small": {"final": ACCURACY}})
    large, medium, small = ModelFile.open(tmp_path / "m").levels
    assert large.measured == {"dev": old, "final": ACCURACY}
    assert (medium.measured, small.measured) == ({}, {"final": ACCURACY})
    with_measured(tmp_path / "m", {"large": {"dev": ACCURACY}})
    assert ModelFile.open(tmp_path / "m").level("large").measured == {"dev": ACCURACY, "final": ACCURACY}
    assert Parts.of(tmp_path / "m").data == data
    after = read_all(tmp_path / "m")
    assert [differing(before[name], after[name]) for name in before] == [[], [], []]


def test_measured_accuracies_that_are_refused(tmp_path):
    write_small(tmp_path / "m")
    raw = (tmp_path / "m").read_bytes()
    with pytest.raises(ValueError, match="no level `huge`"):
        with_measured(tmp_path / "m", {"huge": {"dev": ACCURACY}})
    with pytest.raises(ValueError, match="missing field `cer`"):
        with_measured(tmp_path / "m", {"large": {"dev": {"wer": 0.1, "words": 5}}})
    assert (tmp_path / "m").read_bytes() == raw
    (tmp_path / "m").write_bytes(raw[:-64])
    with (
        pytest.warns(UserWarning),
        pytest.raises(ValueError, match="is cut; take the whole file"),
    ):
        with_measured(tmp_path / "m", {"small": {"dev": ACCURACY}})


def test_a_copy_can_take_the_place_of_its_own_file(tmp_path):
    write_small(tmp_path / "m")
    medium = read_all(tmp_path / "m")["medium"]
    ModelFile.open(tmp_path / "m").max_level_copy(tmp_path / "m", "medium")
    assert differing(medium, read_all(tmp_path / "m")["medium"]) == []
    assert list(read_all(tmp_path / "m")) == ["medium", "small"]


def test_an_unknown_level_names_the_nearest(tmp_path):
    write_small(tmp_path / "talk.sparrot")
    file = ModelFile.open(tmp_path / "talk.sparrot")
    shown = [f"{level.name} ({100 * level.overall_sparsity:.0f} %)" for level in file.levels]
    expected = (
        f"no level `smal` in {file.path}: it holds {shown[0]}, {shown[1]} and {shown[2]}. "
        f"Did you mean `small`? A number from 0 to 1 means the stop of the nearest sparsity, and "
        f"`sparrot inspect {file.path}` lists them all."
    )
    for use in (
        file.level,
        file.parameters,
        file.level_bytes,
        lambda n: file.max_level_copy(tmp_path / "c", n),
    ):
        with pytest.raises(ValueError, match="no level") as caught:
            use("smal")
        assert str(caught.value) == expected
    with pytest.raises(ValueError, match=r"\)\. A number from 0 to 1"):
        file.level("zzz")


def test_a_level_without_masks_of_a_pruned_matrix_keeps_it_whole(tmp_path):
    levels = [replace_kept(level) for level in three_levels(SMALL, (4, 1))]
    weights = parameters(SMALL, 5)
    write_model(tmp_path / "m", describe(SMALL), weights, levels, {"fc.weight": (4, 1)})
    stored = {entry.matrix.name: entry.layout for entry in ModelFile.open(tmp_path / "m").matrices}
    assert [name for name, layout in stored.items() if layout == "strip16"] == ["fc.weight"]
    assert differing(weights, read_all(tmp_path / "m")["large"]) == []


def replace_kept(level):
    return replace(level, kept={name: mask for name, mask in level.kept.items() if name == "fc.weight"})


def test_masks_of_the_tests_are_nested():
    sparse, dense = masks(SMALL, (4, 1), 0.9), masks(SMALL, (4, 1), 0.7)
    assert all(np.all(dense[name] | ~sparse[name]) for name in sparse)


def test_errors_survive_a_trip_between_processes():
    error = FormatError("it is cut", "end of file", 12)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.field, again.offset) == (str(error), "end of file", 12)
