"""The compiled decoders against the plain ones: the same hypotheses, to the last bit."""

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference_ctc
from sparrot.audio import Waveform
from sparrot.corpora.loading import load_waveform
from sparrot.corpora.packaged import packaged_strings
from sparrot.engine.decoders import GreedyDecoder, PrefixBeamDecoder
from sparrot.engine.prepared import PreparedModel
from sparrot.engine.recognizer import packaged_model
from sparrot.engine.recordings import SoundFeatures, opened
from sparrot.model_file import ModelFile

LEVELS = ("large", "small", "medium")

# Frames: how many, of how many tokens, with what contrast, rounded to what (coarse values make ties).
PROBLEMS = st.tuples(
    st.integers(0, 60),
    st.integers(2, 40),
    st.sampled_from([0.0, 0.5, 2.0, 6.0]),
    st.sampled_from([None, 1.0, 3.0]),
    st.integers(0, 10_000),
)
OPTIONS = st.fixed_dictionaries(
    {
        "beam": st.integers(1, 10) | st.just(40),
        "token_floor": st.sampled_from([-7.0, -2.0, 0.0, -inf]),
        "margin": st.sampled_from([10.0, 1.0, 0.0, inf]),
        "settle_frames": st.sampled_from([50, 0, 1, 5]),
    }
)


def logits_of(problem) -> np.ndarray:
    """Logits (n_frames, n_tokens) with runs and blanks in them."""
    n_frames, n_tokens, contrast, step, seed = problem
    rng = np.random.default_rng(seed)
    logits = contrast * rng.standard_normal((n_frames, n_tokens))
    logits[:, 0] += contrast * rng.choice([0, 2])
    for frame in range(1, n_frames):
        if rng.random() < 0.3:
            logits[frame] = 0.7 * logits[frame - 1] + 0.3 * logits[frame]
    if step is not None:
        logits = np.round(logits / step) * step
    return logits.astype(np.float32)


def state(decoder) -> dict:
    """All that a decoder says."""
    said = {
        "best": decoder.hypothesis(),
        "n_stable": decoder.n_stable,
        "trailing_blanks": decoder.trailing_blanks,
        "n_frames": decoder.n_frames,
        "finals": decoder.final_hypotheses(),
    }
    if not isinstance(decoder, reference_ctc.GreedyDecoder):
        said["all"] = decoder.hypotheses()
    else:
        said["all"] = (decoder.hypothesis(),)
    return said


def follow(plain, compiled, logits: np.ndarray, cuts, penalty: float) -> None:
    """Gives both the same pieces, by turns of another level, and compares what they say after each."""
    pieces = np.split(logits, sorted(cut for cut in cuts if cut <= len(logits)))
    for index, piece in enumerate(pieces):
        level = LEVELS[index % len(LEVELS)]
        plain.accept(reference_ctc.log_softmax(piece), level, penalty)
        compiled.accept_logits(piece, level, penalty)
        assert state(compiled) == state(plain)


@settings(max_examples=400)
@given(PROBLEMS, OPTIONS, st.lists(st.integers(0, 60), max_size=5), st.sampled_from([0.0, 0.7, -1.5, 30.0]))
def test_beam_search_is_that_of_the_plain_one(problem, options, cuts, penalty):
    plain, compiled = reference_ctc.PrefixBeamDecoder(**options), PrefixBeamDecoder(**options)
    follow(plain, compiled, logits_of(problem), cuts, penalty)
    for decoder in (plain, compiled):
        decoder.reset()
    follow(plain, compiled, logits_of(problem)[::-1], cuts, penalty)


@given(PROBLEMS, st.lists(st.integers(0, 60), max_size=5), st.sampled_from([0.0, 0.7, -1.5, 30.0]))
def test_greedy_search_is_that_of_the_plain_one(problem, cuts, penalty):
    follow(reference_ctc.GreedyDecoder(), GreedyDecoder(), logits_of(problem), cuts, penalty)


@given(PROBLEMS, OPTIONS)
def test_log_probabilities_with_impossible_tokens_are_searched_alike(problem, options):
    log_probs = reference_ctc.log_softmax(logits_of(problem))
    hidden = np.random.default_rng(problem[-1]).random(log_probs.shape) < 0.4
    hidden[np.arange(len(log_probs)), log_probs.argmax(axis=1)] = False
    log_probs[hidden] = -inf
    plain, compiled = reference_ctc.PrefixBeamDecoder(**options), PrefixBeamDecoder(**options)
    for decoder in (plain, compiled):
        decoder.accept(log_probs, "large")
    assert state(compiled) == state(plain)


@pytest.fixture(scope="module")
def spoken() -> dict[str, list[np.ndarray]]:
    """Logits of the packaged model on recordings it was not trained on, by level."""
    model = PreparedModel(ModelFile.open(packaged_model()))
    features, found = model.description.features, {}
    for level in model.levels:
        found[level] = []
        for string in packaged_strings("dev")[:6]:
            wave = Waveform(load_waveform(string, features.sample_rate_hz), features.sample_rate_hz)
            with opened(wave, None, "mix") as sound:
                frames = np.concatenate(list(SoundFeatures(sound, features)))
            found[level].append(model[level].network.run(frames, model[level].stop))
    return found


@pytest.mark.parametrize("beam", [1, 2, 3, 4, 5, 6, 7, 8, 16])
def test_speech_is_decoded_as_by_the_plain_search(spoken, beam):
    for level, recordings in spoken.items():
        plain, compiled = reference_ctc.PrefixBeamDecoder(beam), PrefixBeamDecoder(beam)
        for logits in recordings:
            for piece in np.split(logits, range(8, len(logits), 8)):
                plain.accept(reference_ctc.log_softmax(piece), level)
                compiled.accept_logits(piece, level)
            assert state(compiled) == state(plain)
        assert plain.hypothesis().tokens


def test_speech_is_decoded_as_by_the_plain_greedy_search(spoken):
    for level, recordings in spoken.items():
        plain, compiled = reference_ctc.GreedyDecoder(), GreedyDecoder()
        for logits in recordings:
            plain.accept(reference_ctc.log_softmax(logits), level)
            compiled.accept_logits(logits, level)
            assert state(compiled) == state(plain)
        assert plain.hypothesis().tokens


def test_a_long_segment_is_searched_alike():
    problem = (3000, 12, 2.0, None, 5)
    plain, compiled = reference_ctc.PrefixBeamDecoder(4), PrefixBeamDecoder(4)
    follow(plain, compiled, logits_of(problem), range(0, 3000, 100), 0.3)
    assert compiled.n_tokens > 500
