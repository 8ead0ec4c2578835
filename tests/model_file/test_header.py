"""One malformed header for every reason to refuse one."""

import json
import sys
import zlib

import pytest

from model_file.written import Parts, write_small
from sparrot.model_file import FormatError, ModelFile

HEADER = 8  # byte at which every fault of the header's JSON is reported


def length(n: int) -> bytes:
    return n.to_bytes(8, "little")


BYTES = {  # name: (what becomes of the file, field, byte)
    "nothing": (lambda raw: b"", "header length", 0),
    "half a length": (lambda raw: raw[:7], "header length", 0),
    "header over 16 MiB": (
        lambda raw: length((16 << 20) + 56) + raw[8:] + bytes(17 << 20),
        "header length",
        0,
    ),
    "header longer than the file": (lambda raw: length(64 * 1000 - 8) + raw[8:], "header length", 0),
    "header of 2^64 − 1 bytes": (lambda raw: b"\xff" * 8 + raw[8:], "header length", 0),
    "data not aligned": (
        lambda raw: length(int.from_bytes(raw[:8], "little") - 1) + raw[8:],
        "header length",
        0,
    ),
    "header of no bytes": (lambda raw: length(56) + bytes(56) + raw, "header", HEADER),
    "header cut to 64 bytes": (lambda raw: length(56) + raw[8:], "header", HEADER),
    "no UTF-8": (lambda raw: raw[:11] + b"\xff" + raw[12:], "header", 11),
    "trailing bytes": (lambda raw: raw + b"\0", "end of file", None),
    "a second copy behind": (lambda raw: raw + raw, "end of file", None),
}


@pytest.mark.parametrize("case", BYTES)
def test_bytes_that_are_no_container(case, small_path, refusal):
    change, field, offset = BYTES[case]
    raw = small_path.read_bytes()
    error = refusal(change(raw))
    assert (error.field, error.offset) == (field, len(raw) if offset is None else offset)


TEXTS = {  # name: (what becomes of the header's text, field)
    "no JSON": (lambda text: text[:-1], "header"),
    "a space in front": (lambda text: " " + text, "header"),
    "a newline behind": (lambda text: text + "\n", "header"),
    "two objects": (lambda text: text + "{}", "header"),
    "a list": (lambda text: f"[{text}]", "header"),
    "a list in braces": (lambda text: '{"a":1}x{}', "header"),
    "a name twice": (lambda text: text[:-1] + ',"base/fc.bias":{}}', "header"),
    "NaN": (lambda text: text[:-1] + ',"base/x":NaN}', "header"),
    "infinity": (lambda text: text[:-1] + ',"base/x":1e999}', "header"),
    "a number of 5000 digits": (lambda text: text[:-1] + f',"base/x":{"9" * 5000}}}', "header"),
    "100,000 brackets": (lambda text: text[:-1] + f',"base/x":{"[" * 100_000}}}', "header"),
    "half a surrogate pair": (lambda text: text.replace("CC-BY", "\\ud800"), "header"),
    "half a surrogate pair in a name": (lambda text: text[:-1] + ',"\\ud800":{}}', "header"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_headers_that_are_no_json_object(case, small_path, refusal):
    change, field = TEXTS[case]
    parts = Parts.of(small_path)
    error = refusal(parts.to_bytes(change(json.dumps(parts.header))))
    assert (error.field, error.offset) == (field, HEADER)


def test_half_a_surrogate_pair_in_the_description(small_path, refusal):
    parts = Parts.of(small_path)
    parts.described["licence"] = "\ud800"
    error = refusal(parts.with_description().to_bytes())
    assert (error.field, error.offset) == ("sparrot", HEADER)
    assert "half a surrogate pair" in error.fact


def renamed(header: dict, old: str, new: str) -> None:
    entries = [(new if name == old else name, entry) for name, entry in header.items()]
    header.clear()
    header.update(entries)


METADATA = {  # name: (what becomes of the metadata, field, words of the message)
    "none": (lambda m: m.clear(), "format", "it is no sparrot model"),
    "a number": (lambda m: m.update(format=1), "__metadata__", "must hold texts only"),
    "another format": (lambda m: m.update(format="pt"), "format", "it is no sparrot model"),
    "a later version": (lambda m: m.update(format="sparrot 2"), "format", "Upgrade sparrot"),
    "a version that begins alike": (lambda m: m.update(format="sparrot 10"), "format", "Upgrade sparrot"),
    "one more": (lambda m: m.update(extra="x"), "extra", "alone"),
    "no checksum": (lambda m: m.pop("sparrot.crc32"), "sparrot.crc32", "alone"),
    "no description": (lambda m: m.pop("sparrot"), "sparrot", "alone"),
    "a wrong checksum": (lambda m: m.update({"sparrot.crc32": "00000000"}), "sparrot.crc32", "should have"),
    "a checksum in capitals": (
        lambda m: m.update({"sparrot.crc32": m["sparrot.crc32"].upper() + "A"}),
        "sparrot.crc32",
        "eight",
    ),
    "a list for a description": (
        lambda m: m.update({"sparrot": "[1]", "sparrot.crc32": f"{zlib.crc32(b'[1]'):08x}"}),
        "sparrot",
        "is no object",
    ),
    "a changed description": (
        lambda m: m.update(sparrot=m["sparrot"].replace("CC-BY", "CC-NC")),
        "sparrot.crc32",
        "should have",
    ),
}


@pytest.mark.parametrize("case", METADATA)
def test_metadata_that_is_not_ours(case, small_path, refusal):
    change, field, words = METADATA[case]
    parts = Parts.of(small_path)
    change(parts.header["__metadata__"])
    error = refusal(parts.to_bytes())
    assert (error.field, error.offset) == (field, HEADER)
    assert words in str(error)


CONV, BIAS = "base/conv.kernel", "base/conv.bias"
ENTRIES = {  # name: (what becomes of the tensors, field, words of the message)
    "no object": (lambda h: h.update({CONV: 1}), CONV, "must be an object"),
    "a missing field": (lambda h: h[CONV].pop("dtype"), CONV, "missing field `dtype`"),
    "an unknown field": (lambda h: h[CONV].update(x=1), CONV, "unknown field `x`"),
    "an unknown dtype": (lambda h: h[CONV].update(dtype="F16"), f"{CONV}.dtype", "must be one of"),
    "a dtype that is no text": (lambda h: h[CONV].update(dtype=["F32"]), f"{CONV}.dtype", "must be text"),
    "another dtype": (lambda h: h[BIAS].update(dtype="U32"), BIAS, "must be F32"),
    "a negative size": (lambda h: h[CONV].update(shape=[-1, 16]), f"{CONV}.shape", "sizes"),
    "a fraction of a size": (lambda h: h[CONV].update(shape=[1.5, 16]), f"{CONV}.shape", "sizes"),
    "a true size": (lambda h: h[CONV].update(shape=[True, 16]), f"{CONV}.shape", "sizes"),
    "four dimensions": (lambda h: h[CONV].update(shape=[1, 2, 3, 4]), f"{CONV}.shape", "at most 3"),
    "sizes that overflow": (
        lambda h: h[CONV].update(shape=[1 << 62, 1 << 62]),
        f"{CONV}.shape",
        "below 2^63",
    ),
    "a size over 2^63": (lambda h: h[CONV].update(shape=[1 << 64, 0]), f"{CONV}.shape", "sizes"),
    "a negative position": (
        lambda h: h[CONV].update(data_offsets=[-64, 0]),
        f"{CONV}.data_offsets",
        "two positions",
    ),
    "one position": (lambda h: h[CONV].update(data_offsets=[0]), f"{CONV}.data_offsets", "two positions"),
    "a position with a fraction": (
        lambda h: h[BIAS].update(data_offsets=[0, 64.0]),
        f"{BIAS}.data_offsets",
        "two positions",
    ),
    "an end that lies": (
        lambda h: h[BIAS].update(data_offsets=[0, 128]),
        f"{BIAS}.data_offsets",
        "must end at",
    ),
    "a shape that lies": (lambda h: h[BIAS].update(shape=[2, 16]), f"{BIAS}.data_offsets", "must end at"),
    "a missing tensor": (lambda h: h.pop("02/fc.weight/values"), "02/fc.weight/values", "has no tensor"),
    "another name": (
        lambda h: renamed(h, "01/fc.weight/starts", "01/fc.weights/starts"),
        "01/fc.weight/starts",
        "has no tensor",
    ),
    "one more tensor": (
        lambda h: h.update(more={"dtype": "F32", "shape": [0, 16], "data_offsets": [0, 0]}),
        "more",
        "does not know",
    ),
    "another shape of the same size": (lambda h: h[BIAS].update(shape=[16, 1]), BIAS, "must be F32 [1, 16]"),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_tensors_that_lie(case, small_path, refusal):
    change, field, words = ENTRIES[case]
    parts = Parts.of(small_path)
    change(parts.header)
    error = refusal(parts.to_bytes())
    assert error.field == field
    assert words in error.fact


def test_ranges_that_overlap(small_path, refusal):
    parts = Parts.of(small_path)
    first, second = parts.header[BIAS], parts.header["base/lstm.bias"]
    second["data_offsets"] = [n - 64 for n in second["data_offsets"]]
    error = refusal(parts.to_bytes())
    assert first["data_offsets"] == [0, 64] and second["data_offsets"][0] == 0
    assert "overlaps what is before it" in error.fact
    assert error.offset == len(parts.to_bytes()) - len(parts.data) + 0


def test_ranges_that_leave_a_hole(small_path, refusal):
    parts = Parts.of(small_path)
    for name, entry in parts.header.items():
        if name not in ("__metadata__", BIAS):
            entry["data_offsets"] = [n + 64 for n in entry["data_offsets"]]
    error = refusal(parts.to_bytes())
    assert (error.field, "leaves a hole before it" in error.fact) == ("base/lstm.bias", True)
    assert error.offset == len(parts.to_bytes()) - len(parts.data) + 128


def test_ranges_that_change_places(small_path, refusal):
    parts = Parts.of(small_path)
    shift, scale = parts.header["base/norm.shift"], parts.header["base/norm.scale"]
    shift["data_offsets"], scale["data_offsets"] = scale["data_offsets"], shift["data_offsets"]
    assert refusal(parts.to_bytes()).field == "base/norm.scale"


def test_a_machine_of_the_other_byte_order(small_path, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "byteorder", "big")
    with pytest.raises(FormatError, match="little-endian"):
        ModelFile.open(small_path)
    with pytest.raises(ValueError, match="little-endian"):
        write_small(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []
