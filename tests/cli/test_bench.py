"""`sparrot bench`: every level and type of a model, and what is refused."""

import json

import pytest

from sparrot.cli.main import run
from sparrot.engine import set_threads
from tone_model import write_tone_model


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """Runs `sparrot bench` beside a small model; returns exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    write_tone_model(tmp_path / "tones.sparrot")

    def call(*arguments, model="tones.sparrot"):
        code = run(["bench", model, "--rounds", "2", *arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    yield call
    set_threads(1)


@pytest.mark.parametrize("streams", [1, 20])
def test_every_level_in_every_type(bench, streams):
    code, printed, _ = bench("--json", "--streams", str(streams), "--threads", "2")
    assert code == 0
    found = json.loads(printed)
    assert {key: found[key] for key in ("model", "streams", "threads", "rounds")} == {
        "model": "tones",
        "streams": streams,
        "threads": 2,
        "rounds": 2,
    }
    assert {"isa", "commit", "machine", "frame_s"} <= set(found)
    assert [(row["type"], row["level"]) for row in found["rows"]] == [
        (kind, level) for kind in ("fp32", "bf16", "int8") for level in ("large", "small")
    ]
    for row in found["rows"]:
        assert 0 < row["ms_per_frame"] <= row["ms_per_frame_median"]
        assert row["rtf"] == pytest.approx(row["ms_per_frame"] / 1e3 / found["frame_s"])
    n_bytes = {(row["type"], row["level"]): row["bytes"] for row in found["rows"]}
    assert n_bytes["fp32", "small"] < n_bytes["fp32", "large"]


def test_a_table_for_people(bench):
    code, printed, told = bench()
    assert code == 0
    assert printed.count("│ sparrot") == 6
    assert "round 2 of 2" in told


@pytest.mark.may_skip
def test_rivals_are_checked_before_they_run(bench):
    pytest.importorskip("onnxruntime", reason="the rivals need the extra `bench`")
    pytest.importorskip("onnx", reason="the rivals need the extra `bench`")
    code, printed, told = bench("--json", "--against", "onnxruntime,torch")
    assert code == 0
    methods = {row["method"] for row in json.loads(printed)["rows"] if row["kind"] == "dense"}
    assert {"ONNX Runtime MatMul", "PyTorch"} <= methods
    assert "checking ONNX Runtime MatMul, fp32" in told


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--against", "tflite"), "no rival `tflite`: choose from onnxruntime, torch"),
        (("--streams", "0"), "a race has at least 1 stream and 1 round; got 0 and 2"),
        (("--threads", "0"), "the engine computes on 1 to 256 threads; got 0"),
    ],
)
def test_impossible_races_are_refused(bench, options, sentence):
    assert bench(*options) == (2, "", f"sparrot: {sentence}\n")


def test_a_model_that_cannot_stream_is_refused(bench, tmp_path):
    write_tone_model(tmp_path / "both.sparrot", bidirectional=True)
    code, _, told = bench(model="both.sparrot")
    assert (code, told.count("cannot stream, and bench times streams")) == (2, 1)
