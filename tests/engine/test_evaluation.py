import numpy as np
import pytest
import soundfile

from sparrot.corpora.manifest import Utterance
from sparrot.engine import DecodingOptions
from sparrot.engine.cost import macs_per_second
from sparrot.engine.evaluation import evaluate_level
from sparrot.metrics import ErrorCounts
from sparrot.model_file import ModelFile
from tone_model import HOP_S, RATE_HZ, STACK, features_of, sound, write_tone_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return ModelFile.open(write_tone_model(tmp_path_factory.mktemp("tones") / "tones.sparrot"))


@pytest.fixture
def utterances(tmp_path):
    """Tones with their texts, the last of which is wrong about what is heard; one at another rate."""
    made = []
    for i, (heard, text, rate_hz) in enumerate(
        [("abc", "abc", RATE_HZ), ("ba cab", "ba cab", 2 * RATE_HZ), ("a b", "a a b", RATE_HZ)]
    ):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, sound(heard, rate_hz), rate_hz, "FLOAT")
        duration = len(sound(heard, rate_hz)) / rate_hz
        made.append(Utterance(id=f"u{i}", audio_path=path, duration=duration, text=text))
    return made


def test_every_utterance_is_recognised_and_counted(model, utterances):
    result = evaluate_level(model, "large", utterances, DecodingOptions())
    assert [(h.utterance.id, h.text) for h in result.hypotheses] == [
        ("u0", "abc"),
        ("u1", "ba cab"),
        ("u2", "a b"),
    ]
    assert result.counts == ErrorCounts(words=6, deletions=1, characters=3 + 6 + 5, character_errors=2)
    assert [h.counts.word_errors for h in result.hypotheses] == [0, 0, 1]


def test_a_level_has_its_own_errors_and_costs(model, utterances):
    large, small = (
        evaluate_level(model, level, utterances, DecodingOptions()) for level in ("large", "small")
    )
    assert [h.text for h in small.hypotheses] == ["ab", "ba ab", "a b"]  # it cannot write a c
    assert (large.level.name, small.level.name) == ("large", "small")
    assert (large.bytes, small.bytes) == (model.level_bytes("large"), model.level_bytes("small"))
    expected = macs_per_second(model.description.architecture, 1 / HOP_S, model.parameters("small"))
    assert small.macs_per_audio_second == expected
    lost = np.count_nonzero(model.parameters("large")["voice.weight"][3])
    assert large.macs_per_audio_second - expected == pytest.approx(lost / (STACK * HOP_S))


def test_the_row_of_a_level(model, utterances):
    row = evaluate_level(model, "small", utterances, DecodingOptions()).to_json()
    assert row.pop("rtf") > 0
    level = model.level("small")
    assert row == {
        "level": "small",
        "wer": 3 / 6,
        "cer": 4 / 14,
        "words": 6,
        "substitutions": 2,
        "insertions": 0,
        "deletions": 1,
        "sparsity": dict(level.sparsity),
        "parameters": level.parameters,
        "bytes": model.level_bytes("small"),
        "macs_per_audio_second": round(
            macs_per_second(model.description.architecture, 1 / HOP_S, model.parameters("small"))
        ),
    }


def test_the_real_time_factor_divides_by_the_sound(model, utterances, monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr("sparrot.engine.evaluation.time.perf_counter", lambda: next(ticks))
    result = evaluate_level(model, "large", utterances, DecodingOptions())
    assert result.rtf == pytest.approx(3 / sum(u.duration for u in utterances))


def test_progress_is_told_after_each_utterance(model, utterances):
    calls = []
    evaluate_level(model, "large", utterances, DecodingOptions(), lambda: calls.append(1))
    assert len(calls) == 3


def test_options_reach_the_search(model, utterances, monkeypatch):
    seen = []
    original = evaluate_level.__globals__["Recognizer"].transcribe

    def transcribe(self, recording, *, options):
        seen.append(options)
        return original(self, recording, options=options)

    monkeypatch.setattr(evaluate_level.__globals__["Recognizer"], "transcribe", transcribe)
    options = DecodingOptions(decoder="beam", beam=3)
    evaluate_level(model, "large", utterances, options)
    assert seen == [options] * 3


def test_given_features_are_read_from_their_files(tmp_path, utterances):
    path = write_tone_model(tmp_path / "given.sparrot", given=True)
    np.save(tmp_path / "a.npy", features_of(sound("abc")))
    given = Utterance(id="g", feature_path=tmp_path / "a.npy", duration=0.6, text="abc")
    file = ModelFile.open(path)
    result = evaluate_level(file, "large", [given], DecodingOptions())
    assert result.hypotheses[0].text == "abc"
    with pytest.raises(
        ValueError, match=r"takes given features, and utterance 'u0' has audio; choose a manifest"
    ):
        evaluate_level(file, "large", utterances, DecodingOptions())


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 2 * RATE_HZ])
def test_samples_that_are_not_finite_are_told_with_their_utterance(model, utterances, tmp_path, rate_hz):
    samples = np.zeros(200, np.float32)
    samples[100] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, rate_hz, "FLOAT")
    bad = Utterance(id="bad one", audio_path=tmp_path / "nan.wav", duration=0.01, text="a")
    with pytest.raises(ValueError, match="cannot recognise utterance 'bad one': sample 100 is nan"):
        evaluate_level(model, "large", [*utterances, bad], DecodingOptions())


@pytest.mark.parametrize("n_empty", [0, 2])
def test_nothing_to_hear_is_refused(model, tmp_path, n_empty):
    empty = Utterance(id="e", audio_path=tmp_path / "e.wav", duration=0.0, text="")
    with pytest.raises(ValueError, match="cannot evaluate a model on no sound"):
        evaluate_level(model, "large", [empty] * n_empty, DecodingOptions())


def test_an_unknown_level_is_refused(model, utterances):
    with pytest.raises(ValueError, match=r"no level `larg` .*Did you mean `large`\?"):
        evaluate_level(model, "larg", utterances, DecodingOptions())
