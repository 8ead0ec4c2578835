"""A transducer's file through every command that takes a model."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sparrot.bench.race import products_of_a_frame
from sparrot.cli.main import run
from sparrot.corpora.manifest import Utterance, write_manifest
from sparrot.engine import set_threads
from sparrot.model_file import ModelFile
from tone_model import RATE_HZ, sound, tone
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


@pytest.fixture
def doubt(folder) -> tuple[str, ...]:
    """Two tones at once are a doubt, which is the lower letter's unless something says otherwise."""
    wave = np.concatenate([sound("a"), tone("b") + tone("c"), np.zeros(RATE_HZ // 5, np.float32)])
    soundfile.write("doubt.wav", wave, RATE_HZ, "FLOAT")
    Path("words.txt").write_text("cab :2.5\n\nac\n")
    Path("words.arpa").write_text(WORDS)
    utterance = Utterance(id="u", audio_path=Path("doubt.wav"), duration=len(wave) / RATE_HZ, text="ac")
    write_manifest(Path("doubt.jsonl"), [utterance])
    return ("doubt.wav", "--model", "tones.sparrot")


WORDS = """\\data\\
ngram 1=5

\\1-grams:
-99 <s>
-1 </s>
-4 <unk>
-3 ab
-0.1 ac
\\end\\
"""


def test_what_is_not_expected_is_taken_for_the_lower_letter(doubt, capsys):
    assert printed(capsys, "transcribe", *doubt) == "ab\n"
    assert printed(capsys, "transcribe", *doubt, "--decoder", "beam") == "ab\n"


@pytest.mark.parametrize(
    "options",
    [
        ["--hotword", "ac"],
        ["--hotword", "cab", "--hotword", "ac:3", "--decoder", "beam"],
        ["--hotwords", "words.txt"],
        ["--hotword", "a b:0.5", "--hotwords", "words.txt", "--decoder", "beam"],
        ["--lm", "words.arpa", "--decoder", "beam", "--lm-scale", "1"],
        ["--lm", "words.arpa", "--decoder", "beam", "--lm-scale", "0.9", "--word-bonus", "2"],
    ],
    ids=" ".join,
)
def test_hotwords_and_language_models_are_asked_for(doubt, capsys, options):
    assert printed(capsys, "transcribe", *doubt, *options) == "ac\n"
    measured = printed(capsys, "eval", *doubt[2:], "--on", "doubt.jsonl", *options, "--json")
    assert json.loads(measured)["levels"][0]["wer"] == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--hotword", "ac:nan"],
            "the boost of the hotword 'ac' must be a number from -1000 to 1000; got nan",
        ),
        (["--hotword", "ac:x"], "a hotword is `phrase` or `phrase:boost`, as in `new york:3.5`; got 'ac:x'"),
        (["--hotword", "axe"], "cannot prefer the hotword 'axe': no token for 'x' at position 1"),
        (["--hotword", " "], "the hotword ' ' has no letters"),
        (["--hotword", "ac", "--hotwords", "words.txt"], "the hotword 'ac' is named twice"),
        (["--hotwords", "none.txt"], "none.txt: no such file or directory"),
        (["--hotwords", "0.wav"], "cannot read 0.wav, line 1: byte 5 of the line is not UTF-8 text"),
        (["--lm", "words.arpa"], "a language model chooses between hypotheses, and greedy search has one: "),
        (
            ["--lm-scale", "0.3"],
            "`lm_scale`, `word_bonus` and `lm_pass` are those of a language model: give one as `lm`",
        ),
        (["--lm", "words.txt", "--decoder", "beam"], "cannot read words.txt as a language model: "),
        (
            ["--lm", "other.arpa", "--decoder", "beam"],
            "the language model other.arpa does not suit this recogn",
        ),
        (["--lm", "none.arpa", "--decoder", "beam"], "none.arpa: no such file or directory"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
@pytest.mark.parametrize("command", ["transcribe", "eval"])
def test_hotwords_and_models_that_cannot_be_are_refused_in_one_sentence(
    doubt, capsys, command, options, sentence
):
    Path("other.arpa").write_text(WORDS.replace("ab\n", "wx\n").replace("ac\n", "yz\n"))
    given = doubt if command == "transcribe" else (*doubt[2:], "--on", "doubt.jsonl")
    assert run([command, *given, *options]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"sparrot: {sentence}")
    assert told.count("\n") == 1


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
