import json
import os
import warnings

import pytest

from architectures import parameters
from model_file.written import block_mask, describe
from sparrot.architecture import Architecture, Linear
from sparrot.cli.main import run
from sparrot.model_file import LevelToWrite, Storage, dtypes_of, write_model
from tone_model import CHUNK, write_tone_model


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tone_model(
        tmp_path_factory.mktemp("inspect") / "tones.sparrot", small={"emission_delay_s": 0.04}
    )


@pytest.fixture
def described(path, capsys):
    assert run(["inspect", str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def page(path, capsys, monkeypatch, columns=160):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(["inspect", str(path)]) == 0
    return capsys.readouterr().out


def test_levels(described, path):
    large, small = described["levels"]
    assert (large["name"], small["name"]) == ("large", "small")
    assert large["sparsity"] == {"fc": 0, "rnn": 0}
    assert large["parameters"] - small["parameters"] == 6  # the row of the voice that makes a c
    assert small["sparsity"]["fc"] == pytest.approx(6 / (5 * 66 + 6 * 6))
    assert large["bytes"] == described["bytes"] == path.stat().st_size > small["bytes"]
    assert large["measured"] == {"tones": {"wer": 0.0, "cer": 0.0, "words": 9}}
    assert small["emission_delay_s"] == 0.04
    assert described["missing_levels"] == []


def test_layers_matrices_and_blocks(described):
    assert [layer["kind"] for layer in described["layers"]] == [
        "window",
        "window",
        "linear",
        "recurrent",
        "linear",
    ]
    voice = next(matrix for matrix in described["matrices"] if matrix["name"] == "voice.weight")
    assert (voice["rows"], voice["columns"], voice["type"], voice["layout"]) == (6, 6, "fc", "csr")
    assert {matrix["dtype"] for matrix in described["matrices"]} == {"F32"}
    assert (voice["block"], voice["n_blocks"]) == ([1, 6], 6)
    assert voice["kept_blocks"] == {"large": 6, "small": 5}
    ear = next(matrix for matrix in described["matrices"] if matrix["name"] == "ear.weight")
    assert (ear["layout"], ear["block"], ear["kept_blocks"]) == ("dense16", None, {})


def test_latency(described):
    latency = described["latency_s"]
    assert latency == {"window": 0.025, "right_context": 0.01, "chunk": CHUNK * 0.02, "total": 0.115}
    assert set(described["resampler_latency_s"]) == {"8000", "16000", "44100", "48000"}
    assert described["resampler_latency_s"]["8000"] == pytest.approx(0.118, abs=0.002)
    assert described["resampler_latency_s"]["16000"] == 0
    assert described["streaming"] is True
    assert described["resolution_s"] == 0.02


@pytest.fixture
def stops_path(tmp_path, monkeypatch):
    """Levels of 0 and 90 % in int8, and two stops between them."""
    monkeypatch.setattr("sparrot.model_file.stop_plan.LEAST_COLUMNS", 1)
    architecture = Architecture(64, (Linear("a", 64), Linear("fc", 4)))
    kept = {"a.weight": block_mask(architecture.matrices()[0], (16, 1), 0.9, 0)}
    levels = [LevelToWrite(name="large", kept={}), LevelToWrite(name="small", kept=kept)]
    storage = Storage({"a.weight": (16, 1)}, dtypes_of(architecture.matrices(), "I8"), n_stops=4)
    write_model(tmp_path / "m", describe(architecture), parameters(architecture, 0), levels, storage)
    return tmp_path / "m"


def test_stops_and_types(stops_path, capsys, monkeypatch):
    assert run(["inspect", str(stops_path), "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    stops = described["stops"]
    assert [stop["level"] for stop in stops] == ["small", None, None, "large"]
    assert stops[-1]["bytes"] == stops_path.stat().st_size
    assert [s["bytes"] for s in stops] == sorted(s["bytes"] for s in stops)
    assert stops[0]["bytes"] == described["levels"][1]["bytes"]
    assert {matrix["dtype"] for matrix in described["matrices"]} == {"I8"}
    shown = page(stops_path, capsys, monkeypatch)
    assert f"more stops  {stops[1]['overall_sparsity']:.1%}, {stops[2]['overall_sparsity']:.1%}\n" in shown
    assert "I8" in shown


def test_a_model_without_more_stops_says_nothing_of_them(path, capsys, monkeypatch):
    assert "more stops" not in page(path, capsys, monkeypatch)


def test_licence_and_provenance(described):
    assert described["licence"] == "CC0-1.0"
    assert described["provenance"] == {"corpus": "pure tones", "command": "by hand"}
    assert described["configuration"] == {"seed": 0}


def test_the_page_for_people(path, capsys, monkeypatch):
    shown = page(path, capsys, monkeypatch)
    for expected in (
        "tones  ",
        "licence     CC0-1.0",
        "features    log_mel, 11 values of 25 ms every 10 ms at 16 kHz, 6 tokens with the blank",
        "latency     115 ms = window 25 + right context 10 + chunk 80; the resampler adds up to 119 from 8 ",
        "corpus      pure tones",
        "fc sparsity",
        "tones WER",
        "1 × 6",
        "in small",
    ):
        assert expected in shown


def test_a_narrow_page_keeps_every_letter(path, capsys, monkeypatch):
    assert "…" not in page(path, capsys, monkeypatch, columns=60)


def test_brackets_are_no_markup(tmp_path, capsys, monkeypatch):
    path = write_tone_model(tmp_path / "[red]tones.sparrot")
    assert "[red]tones.sparrot" in page(path, capsys, monkeypatch)


def test_a_model_that_needs_whole_recordings(tmp_path, capsys, monkeypatch):
    path = write_tone_model(tmp_path / "both.sparrot", bidirectional=True)
    assert "latency     none: the model needs whole recordings" in page(path, capsys, monkeypatch)
    run(["inspect", str(path), "--json"])
    assert json.loads(capsys.readouterr().out)["latency_s"] is None


def test_a_model_of_given_features(tmp_path, capsys, monkeypatch):
    path = write_tone_model(tmp_path / "given.sparrot", given=True)
    assert "features    given, 11 values every 10 ms, 6 tokens" in page(path, capsys, monkeypatch)
    run(["inspect", str(path), "--json"])
    assert json.loads(capsys.readouterr().out)["resampler_latency_s"] == {}


def test_levels_that_were_cut_off_are_named(path, tmp_path, capsys, monkeypatch):
    (tmp_path / "cut.sparrot").write_bytes(path.read_bytes()[:-64])
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert "cut off     large" in page(tmp_path / "cut.sparrot", capsys, monkeypatch)


def test_a_file_that_is_no_model_is_refused(tmp_path, capsys):
    (tmp_path / "x").write_bytes(b"hello")
    assert run(["inspect", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err.startswith(f"sparrot: cannot read {tmp_path / 'x'} as a model:")


def test_a_run_folder_is_its_model(path, tmp_path, capsys):
    assert run(["inspect", str(tmp_path), "--json"]) == 2
    assert f"the run {tmp_path} has no model.sparrot" in capsys.readouterr().err
    (tmp_path / "model.sparrot").write_bytes(path.read_bytes())
    assert run(["inspect", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(tmp_path / "model.sparrot")


def test_a_name_that_is_not_utf_8_in_json(path, tmp_path, capsys):
    odd = tmp_path / os.fsdecode(b"bad\xff.sparrot")
    odd.write_bytes(path.read_bytes())
    assert run(["inspect", str(odd), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(tmp_path / "bad\ufffd.sparrot")


def test_no_path_is_the_packaged_model(path, capsys, monkeypatch):
    monkeypatch.setattr("sparrot.engine.recognizer.PACKAGED_MODEL", path)
    assert run(["inspect", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "tones"
