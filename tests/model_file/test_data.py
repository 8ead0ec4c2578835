"""Damage to the data: under the right checksum, at any bit, and by cutting the file."""

from collections.abc import Callable

import numpy as np
import pytest

from architectures import parameters
from model_file.written import Parts, describe, differing, read_all, write_small
from sparrot.architecture import Architecture, Linear
from sparrot.model_file import FormatError, LevelToWrite, ModelFile, write_model
from sparrot.text import train_sentencepiece

CONV = "base/conv.kernel"


def put(name: str, index: tuple, value: float) -> Callable[[Parts], None]:
    """Writes one value of a tensor."""

    def change(parts: Parts) -> None:
        parts.array(name)[index] = value

    return change


DATA = {  # name: (what becomes of the data, field, words of the message)
    "NaN in a bias": (put("base/fc.bias", (0, 3), np.nan), "base/fc.bias", "not finite"),
    "infinity in a kernel": (put(CONV, (0, 0), np.inf), CONV, "not finite"),
    "NaN in a segment": (put("00/lstm.input/values", (1, 2), np.nan), "00/lstm.input/values", "not finite"),
    "a bias of padding": (put("base/fc.bias", (0, 4), 1.0), "base/fc.bias", "padding"),
    "a kernel of padding": (put(CONV, (2, 5), 1.0), CONV, "padding"),
    "a weight of padding": (put("02/fc.weight/values", (0, 4), 1.0), "02/fc.weight/values", "padding"),
    "starts that do not begin": (
        put("01/lstm.input/starts", (0,), 1),
        "01/lstm.input/starts",
        "begins with 1",
    ),
    "starts that fall": (put("02/lstm.input/starts", (2,), 0), "02/lstm.input/starts", "falls"),
    "starts that end early": (put("02/lstm.input/starts", (-1,), 7), "02/lstm.input/starts", "ends with 7"),
    "starts beyond the end": (put("02/lstm.input/starts", (3,), 1 << 31), "02/lstm.input/starts", "falls"),
    "a column out of range": (put("02/fc.weight/columns", (0,), 17), "02/fc.weight/columns", "out of range"),
    "a column twice": (put("02/fc.weight/columns", (1,), 0), "02/fc.weight/columns", "does not rise"),
    "a column of padding": (
        put("02/fc.weight/columns", (-1,), 1),
        "02/fc.weight/columns",
        "past its last group",
    ),
}


@pytest.mark.parametrize("case", DATA)
def test_data_that_lies_under_the_right_checksum(case, small_path, refusal):
    change, field, words = DATA[case]
    parts = Parts.of(small_path)
    change(parts)
    raw = parts.with_checksums().with_description().to_bytes()
    error = refusal(raw)
    begin = len(raw) - len(parts.data) + parts.header[field]["data_offsets"][0]
    assert (error.field, error.offset) == (field, begin)
    assert words in error.fact


@pytest.mark.parametrize("case", [case for case in DATA if "NaN" not in case and "infinity" not in case])
def test_indices_and_padding_are_checked_without_verification(case, small_path, tmp_path):
    parts = Parts.of(small_path)
    DATA[case][0](parts)
    (tmp_path / "m").write_bytes(parts.to_bytes())
    file = ModelFile.open(tmp_path / "m", verify=False)
    with pytest.raises(FormatError) as caught:
        file.parameters("large")
    assert caught.value.field == DATA[case][1]


def test_without_verification_checksums_and_nan_pass(small_path, tmp_path):
    parts = Parts.of(small_path)
    for case in ("NaN in a bias", "infinity in a kernel", "NaN in a segment"):
        DATA[case][0](parts)
    (tmp_path / "m").write_bytes(parts.to_bytes())
    read = ModelFile.open(tmp_path / "m", verify=False).parameters("small")
    different = differing(read, ModelFile.open(small_path).parameters("small"))
    assert different == ["conv.kernel", "lstm.input", "fc.bias"]


def test_only_the_ranges_of_a_level_are_verified(small_path, tmp_path):
    raw = bytearray(small_path.read_bytes())
    raw[-1] ^= 1
    (tmp_path / "m").write_bytes(raw)
    file = ModelFile.open(tmp_path / "m")
    assert differing(file.parameters("medium"), ModelFile.open(small_path).parameters("medium")) == []
    begin = file.level_bytes("medium")
    with pytest.raises(FormatError, match="should have") as caught:
        file.parameters("large")
    assert (caught.value.field, caught.value.offset) == ("stops[2].crc32", begin)
    with pytest.raises(FormatError, match="should have"):
        file.max_level_copy(tmp_path / "copy", "large")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


def test_a_flipped_bit_anywhere_is_refused(small_path, tmp_path):
    raw = bytearray(small_path.read_bytes())
    rng = np.random.default_rng(0)
    header_end = len(raw) - len(Parts.of(small_path).data)
    positions = [*range(10), *rng.integers(10, header_end, 100), header_end - 1]
    positions += [header_end, *rng.integers(header_end, len(raw), 40), len(raw) - 1]
    path = tmp_path / "m"
    for position, bit in zip(positions, rng.integers(0, 8, len(positions)), strict=True):
        raw[position] ^= 1 << bit
        path.write_bytes(raw)
        with pytest.raises(FormatError):
            ModelFile.open(path).parameters("large")
        raw[position] ^= 1 << bit
    path.write_bytes(raw)
    assert list(read_all(path)) == ["large", "medium", "small"]


def test_a_cut_at_or_after_the_end_of_a_level_leaves_it(small_path, tmp_path):
    raw, whole = small_path.read_bytes(), read_all(small_path)
    ends = {
        level.name: ModelFile.open(small_path).level_bytes(level.name)
        for level in ModelFile.open(small_path).levels
    }
    path = tmp_path / "m"
    between = [*range(ends["small"], len(raw), 1999), ends["medium"] - 1, ends["medium"], ends["medium"] + 1]
    for cut in between:
        path.write_bytes(raw[:cut])
        left = [name for name, end in ends.items() if end <= cut]
        with pytest.warns(UserWarning) as caught:
            file = ModelFile.open(path)
        assert len(caught) == 1
        assert all(name in str(caught[0].message) for name in ends)
        assert ([level.name for level in file.levels], file.missing_levels) == (
            left,
            list(ends)[: -len(left)],
        )
        assert len(file.stops) == len(left)
        for name in left:
            assert differing(file.parameters(name), whole[name]) == []
        with pytest.raises(ValueError, match="was cut off"):
            file.parameters("large")


def test_a_cut_before_the_end_of_the_sparsest_level_is_refused(small_path, refusal):
    raw = small_path.read_bytes()
    end = ModelFile.open(small_path).level_bytes("small")
    header_end = len(raw) - len(Parts.of(small_path).data)
    for cut in [*range(0, header_end, 1999), header_end - 1]:
        assert refusal(raw[:cut]).field == "header length"
    for cut in [header_end, *range(header_end, end, 1999), end - 1]:
        error = refusal(raw[:cut])
        assert (error.field, error.offset) == ("end of file", cut)
        assert "sparsest level `small`" in error.fact


COLUMNS, VALUES = "00/lstm.recurrent/columns", "00/lstm.recurrent/values"
DENSE_COLUMNS = "02/lstm.recurrent/columns"
SCALES = "base/lstm.recurrent/scales"


def incomplete(parts: Parts) -> tuple[int, int]:
    """The last group of a strip of `lstm.recurrent`, filled up from some column on, and that place in it."""
    starts, values = parts.array("00/lstm.recurrent/starts"), parts.array(VALUES)
    columns = parts.array(COLUMNS)[: len(values) * values.shape[2]].reshape(len(values), -1)
    for end in starts[1:]:
        if end and columns[end - 1, -1] == columns[end - 1, -2]:
            return end - 1, int(np.argmax(np.diff(columns[end - 1]) == 0)) + 1
    raise AssertionError("every group is complete")


def fill_up_with_another_column(parts: Parts) -> None:
    group, place = incomplete(parts)
    per_group = parts.array(VALUES).shape[2]
    parts.array(COLUMNS)[group * per_group + place :][: per_group - place] -= 1


def fill_up_with_a_weight(parts: Parts) -> None:
    group, place = incomplete(parts)
    parts.array(VALUES)[group, 3, place] = 1


def fill_up_the_first_group(parts: Parts) -> None:
    """The first group of a strip that has two."""
    starts, per_group = parts.array("02/lstm.recurrent/starts"), parts.array(VALUES).shape[2]
    last = (starts[np.argmax(np.diff(starts.astype(int)) > 1)] + 1) * per_group - 1
    parts.array(DENSE_COLUMNS)[last] = parts.array(DENSE_COLUMNS)[last - 1]


TYPED = {  # name: (types, what becomes of the data, field, words of the message)
    "a column out of range": (("BF16", "I8"), put(COLUMNS, (0,), 6), COLUMNS, "out of range"),
    "another column in an incomplete group": (
        ("BF16", "I8"),
        fill_up_with_another_column,
        COLUMNS,
        "does not rise",
    ),
    "a weight that fills up a group": (("BF16", "I8"), fill_up_with_a_weight, VALUES, "fills up a group"),
    "an incomplete group before the last": (
        ("BF16", "I8"),
        fill_up_the_first_group,
        DENSE_COLUMNS,
        "does not rise",
    ),
    "a column of padding": (("BF16", "I8"), put(COLUMNS, (-1,), 1), COLUMNS, "past its last group"),
    "starts that fall": (
        ("BF16", "I8"),
        put("00/lstm.recurrent/starts", (1,), 999),
        "00/lstm.recurrent/starts",
        "falls from 999",
    ),
    "starts that end early": (
        ("BF16", "I8"),
        put("00/lstm.recurrent/starts", (-1,), 1),
        "00/lstm.recurrent/starts",
        "ends with 1 where",
    ),
    "starts that do not begin": (
        ("BF16", "I8"),
        put("00/lstm.recurrent/starts", (0,), 1),
        "00/lstm.recurrent/starts",
        "begins with 1",
    ),
    "a weight of padding": (("BF16", "I8"), put(VALUES, (-1, 15, 0), 1), VALUES, "row of padding"),
    "a dense weight of padding": (("BF16", "I8"), put(CONV, (0, 5, 0), 1), CONV, "row of padding"),
    "a dense weight of no column": (("BF16", "I8"), put(CONV, (-1, 0, -1), 1), CONV, "past its last column"),
    "code -128": (("I8",), put(VALUES, (1, 2, 0), -128), VALUES, "a code is -128"),
    "dense code -128": (("I8",), put(CONV, (1, 2, 0), -128), CONV, "a code is -128"),
    "a scale below zero": (("I8",), put(SCALES, (1, 2), -1e-3), SCALES, "between 0 and"),
    "a scale that makes infinite weights": (("I8",), put(SCALES, (1, 2), 3e36), SCALES, "between 0 and"),
    "a scale of padding": (("I8",), put(SCALES, (-1, 15), 1e-3), SCALES, "row of padding"),
    "a scale of NaN": (("I8",), put(SCALES, (1, 2), np.nan), SCALES, "not finite"),
    "a NaN": (("BF16",), put(VALUES, (1, 2, 0), 0x7FC0), VALUES, "not finite"),
    "an infinity": (("BF16",), put(VALUES, (1, 2, 0), 0xFF80), VALUES, "not finite"),
    "a dense infinity": (("BF16",), put(CONV, (1, 2, 0), 0x7F80), CONV, "not finite"),
}


UNIT_COLUMNS, UNIT_VALUES, UNIT_STARTS = (
    f"02/lstm.recurrent/{part}" for part in ("columns", "values", "starts")
)
FC_COLUMNS, FC_VALUES, FC_STARTS = (f"02/fc.weight/{part}" for part in ("columns", "values", "starts"))


def into_padding(parts: Parts) -> None:
    """Moves the last weight of the last row of `fc.weight` into the row after it, which is padding."""
    parts.array(FC_STARTS)[4] -= 1


UNITS = {  # name: (layouts, what becomes of the data, field, words of the message)
    "a column out of range": (
        ("tile4", "tile8", "csr"),
        put(UNIT_COLUMNS, (0,), 6),
        UNIT_COLUMNS,
        "out of range for a matrix of [126] columns",
    ),
    "a column twice": (("tile4", "csr"), put(FC_COLUMNS, (1,), 0), FC_COLUMNS, "does not rise at "),
    "starts that fall": (
        ("tile4", "tile8", "csr"),
        put(UNIT_STARTS, (1,), 999),
        UNIT_STARTS,
        "falls from 999",
    ),
    "starts that end early": (
        ("tile4", "tile8", "csr"),
        put(UNIT_STARTS, (-1,), 1),
        UNIT_STARTS,
        "ends with 1 where",
    ),
    "a column past the last": (
        ("tile4", "tile8", "csr"),
        put(UNIT_COLUMNS, (-1,), 1),
        UNIT_COLUMNS,
        "not zero past its last (tile|weight)",
    ),
    "a weight past the last": (
        ("csr",),
        put(FC_VALUES, (-1,), 1),
        FC_VALUES,
        "not zero past its last weight",
    ),
    "a weight past the last column": (
        ("tile4", "tile8"),
        put(FC_VALUES, (-1, 0, -1), 1),
        FC_VALUES,
        "a weight past the last column",
    ),
    "a weight of padding": (("tile8",), put(FC_VALUES, (0, 5, 0), 1), FC_VALUES, "row of padding"),
    "a row of padding": (("csr",), into_padding, FC_VALUES, "row of padding"),
    "-0 of padding": (("tile8",), put(FC_VALUES, (0, 5, 0), -0.0), FC_VALUES, "row of padding"),
    "-0 past the last": (("csr",), put(FC_VALUES, (-1,), -0.0), FC_VALUES, "not zero past its last weight"),
    "a NaN": (("tile8", "csr"), put(FC_VALUES, (0,), np.nan), FC_VALUES, "not finite|in a row of padding"),
}


@pytest.mark.parametrize(
    ("layout", "case"), [(layout, case) for case, lies in UNITS.items() for layout in lies[0]]
)
def test_data_of_other_layouts_that_lies(layout, case, tmp_path):
    """`lstm.recurrent` has 80 rows and 6 columns, `fc.weight` 4 and 17."""
    _, change, field, words = UNITS[case]
    block = {"tile4": (4, 4), "tile8": (8, 8), "csr": (1, 1)}[layout]
    write_small(tmp_path / "whole", block)
    parts = Parts.of(tmp_path / "whole")
    change(parts)
    (tmp_path / "m").write_bytes(parts.with_checksums().with_description().to_bytes())
    with pytest.raises(FormatError, match=words) as caught:
        read_all(tmp_path / "m")
    assert caught.value.field == field


@pytest.fixture(scope="module")
def typed_paths(tmp_path_factory):
    """Files of the small network in each type."""
    folder = tmp_path_factory.mktemp("typed")
    for dtype in ("BF16", "I8"):
        write_small(folder / dtype, dtype=dtype)
    return folder


@pytest.mark.parametrize(
    ("dtype", "case"), [(dtype, case) for case, lies in TYPED.items() for dtype in lies[0]]
)
def test_data_of_other_types_that_lies(dtype, case, typed_paths, tmp_path):
    _, change, field, words = TYPED[case]
    parts = Parts.of(typed_paths / dtype)
    change(parts)
    raw = parts.with_checksums().with_description().to_bytes()
    (tmp_path / "m").write_bytes(raw)
    with pytest.raises(FormatError, match=words) as caught:
        read_all(tmp_path / "m")
    begin = len(raw) - len(parts.data) + parts.header[field]["data_offsets"][0]
    assert (caught.value.field, caught.value.offset) == (field, begin)
    trusting = ModelFile.open(tmp_path / "m", verify=False)
    if words == "not finite":
        trusting.parameters("large")
    else:
        with pytest.raises(FormatError, match=words):
            trusting.parameters("large")


def test_a_file_that_shrinks_while_it_is_open(tmp_path):
    write_small(tmp_path / "m")
    file = ModelFile.open(tmp_path / "m")
    (tmp_path / "m").write_bytes(b"")
    with pytest.raises(FormatError) as caught:
        file.parameters("small")
    assert caught.value.field == "end of file"


@pytest.fixture(scope="module")
def pieces_path(tmp_path_factory):
    """A file with a sentencepiece model and one level."""
    path = tmp_path_factory.mktemp("pieces") / "pieces.sparrot"
    architecture = Architecture(3, (Linear("fc", 8),))
    tokens = train_sentencepiece(["abc abd bad cab dab"], 8)
    level = LevelToWrite(name="only", kept={})
    write_model(path, describe(architecture, tokens), parameters(architecture, 0), [level], {})
    return path


BLOBS = {  # name: (what becomes of the file, field, words of the message)
    "another checksum": (lambda p: p.described["sentencepiece"].update(crc32="00000000"), "disagrees"),
    "shorter": (lambda p: p.described["sentencepiece"].update(bytes=100), "disagrees"),
    "no bytes": (lambda p: p.described["sentencepiece"].update(bytes=0), "from 1 on"),
    "longer than the file": (lambda p: p.described["sentencepiece"].update(bytes=1 << 50), "are needed"),
    "characters": (
        lambda p: p.described.update(tokens={"kind": "characters", "symbols": list("abcdefg")}),
        "must be null",
    ),
    "null": (lambda p: p.described.update(sentencepiece=None), "and none was given"),
}


@pytest.mark.parametrize("case", BLOBS)
def test_a_sentencepiece_model_that_is_not_as_described(case, pieces_path, refusal):
    change, words = BLOBS[case]
    parts = Parts.of(pieces_path)
    change(parts)
    assert words in refusal(parts.with_description().to_bytes()).fact


def test_padding_of_the_sentencepiece_model(pieces_path, refusal):
    parts = Parts.of(pieces_path)
    put("base/sentencepiece", (-1,), 1)(parts)
    error = refusal(parts.with_checksums().with_description().to_bytes())
    assert (error.field, "not zero past its end" in error.fact) == ("base/sentencepiece", True)
