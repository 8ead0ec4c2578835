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
