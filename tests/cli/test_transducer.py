"""A transducer's file through every command that takes a model."""

import json

import pytest
import soundfile

from sparrot.bench.race import products_of_a_frame
from sparrot.cli.main import run
from sparrot.corpora.manifest import Utterance, write_manifest
from sparrot.engine import set_threads
from sparrot.model_file import ModelFile
from tone_model import RATE_HZ, sound
from tone_transducer import architecture, write_tone_transducer

SAID = {"ab^ c": "abb c", "c^a": "cca"}
AT = {"large": ["abb c", "cca"], "small": ["abb", "a"]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model, recordings and their manifest."""
    monkeypatch.chdir(tmp_path)
    write_tone_transducer(tmp_path / "tones.sparrot")
    utterances = []
    for number, (tones, text) in enumerate(SAID.items()):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, sound(tones), RATE_HZ, "FLOAT")
        duration = len(sound(tones)) / RATE_HZ
        utterances.append(Utterance(id=f"u{number}", audio_path=path, duration=duration, text=text))
    write_manifest(tmp_path / "said.jsonl", utterances)
    return tmp_path


def printed(capsys, *arguments) -> str:
    capsys.readouterr()
    assert run([*map(str, arguments)]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
@pytest.mark.parametrize("level", AT)
def test_recordings_are_transcribed_at_every_level(folder, capsys, level, decoder):
    out = printed(
        capsys,
        *("transcribe", "0.wav", "1.wav", "--model", "tones.sparrot"),
        *("--level", level, "--decoder", decoder),
    )
    assert out == "".join(f"{number}.wav: {text}\n" for number, text in enumerate(AT[level]))


def test_what_a_frame_may_emit_and_the_blank_costs_is_asked_for(folder, capsys):
    named = ("1.wav", "--model", "tones.sparrot")
    assert printed(capsys, "transcribe", *named, "--max-symbols", 2) == "ccccaa\n"
    assert printed(capsys, "transcribe", *named, "--blank-penalty", -20) == ""
    measured = printed(capsys, "eval", *named[2:], "--on", "said.jsonl", "--blank-penalty", -20, "--json")
    assert [level["deletions"] for level in json.loads(measured)["levels"]] == [3, 3]
    assert run(["transcribe", *named, "--max-symbols", "2", "--decoder", "beam"]) == 2
    assert "at most one token a frame" in capsys.readouterr().err


def test_levels_are_measured_on_a_manifest(folder, capsys):
    described = json.loads(printed(capsys, "eval", "tones.sparrot", "--on", "said.jsonl", "--json"))
    large, small = described["levels"]
    assert (large["wer"], small["wer"]) == (0, 2 / 3)
    assert small["macs_per_audio_second"] < large["macs_per_audio_second"]


def test_layers_say_which_part_they_are_in(folder, capsys, monkeypatch):
    layers = json.loads(printed(capsys, "inspect", "tones.sparrot", "--json"))["layers"]
    assert {layer["part"] for layer in layers} == {"encoder", "predictor", "joint"}
    assert [layer["name"] for layer in layers if layer["part"] == "joint"] == ["output"]
    monkeypatch.setenv("COLUMNS", "160")
    assert "predictor_lstm     predictor   recurrent" in printed(capsys, "inspect", "tones.sparrot")


@pytest.mark.parametrize("streams", [1, 17])
def test_levels_are_timed_with_the_joint_network(folder, capsys, streams):
    described = json.loads(
        printed(capsys, "bench", "tones.sparrot", "--rounds", "2", "--streams", streams, "--json")
    )
    set_threads(1)
    assert [(row["type"], row["level"]) for row in described["rows"]] == [
        (kind, level) for kind in ("fp32", "bf16", "int8") for level in AT
    ]
    assert all(row["ms_per_frame"] > 0 for row in described["rows"])


def test_rivals_multiply_what_a_frame_needs():
    shapes = [matrix.shape for matrix in products_of_a_frame(architecture("lstm"))]
    assert shapes == [(5, 66), (5, 5), (5, 5), (8, 10), (5, 8)]


@pytest.mark.parametrize("weights", ["bf16", "int8"])
def test_weights_are_converted_and_denser_levels_cut_off(folder, capsys, weights):
    printed(
        capsys, "export", "tones.sparrot", "-o", "other.sparrot", "--weights", weights, "--on", "said.jsonl"
    )
    other = ModelFile.open(folder / "other.sparrot")
    assert {entry.dtype for entry in other.matrices} == {{"bf16": "BF16", "int8": "I8"}[weights]}
    assert [level.measured["said.jsonl"]["wer"] for level in other.levels] == [0, 2 / 3]
    printed(capsys, "export", "other.sparrot", "-o", "small.sparrot", "--max-level", "small")
    assert printed(capsys, "transcribe", "0.wav", "--model", "small.sparrot") == "abb\n"
