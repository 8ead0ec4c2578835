import gc
import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tone_model
from sparrot import Final, Partial, Recognizer
from sparrot.engine import DecodingOptions, EndpointRules
from sparrot.engine.decoders import GreedyDecoder
from streaming import events, every, finals, pieces
from tone_model import CHUNK, HOP_S, RATE_HZ, STACK, silence, sound, write_tone_model

FRAME_S = STACK * HOP_S
CHUNK_S = CHUNK * FRAME_S
TEXT = "abc ca_b__ ^ab____a c"
BEAM = DecodingOptions(decoder="beam", beam=4)
ENDLESS = DecodingOptions(endpoints=None)


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    return Recognizer.load(write_tone_model(tmp_path_factory.mktemp("model") / "tones.sparrot"))


# What is heard


def test_tones_become_letters_words_and_segments(recognizer):
    heard = finals(recognizer.stream(), sound(TEXT))
    assert [final.text for final in heard] == ["abc cab zb", "a c"]
    assert [final.segment for final in heard] == [0, 1]
    assert [final.reason for final in heard] == ["endpoint", "finish"]


def test_words_start_where_their_first_tone_does(recognizer):
    onset = {index: 0.2 * index for index in range(6)}
    (final,) = finals(recognizer.stream(), sound("ab ca "))
    first, second = final.words
    assert (first.text, second.text) == ("ab", "ca")
    assert first.start == pytest.approx(onset[0], abs=FRAME_S)
    assert second.start == pytest.approx(onset[3], abs=FRAME_S)


def test_a_word_ends_one_frame_after_its_last_token_or_where_the_next_begins(recognizer):
    (final,) = finals(recognizer.stream(), sound("ab ca "))
    first, second = final.words
    assert first.end == pytest.approx(0.2 + FRAME_S, abs=FRAME_S)
    assert second.end == pytest.approx(0.8 + FRAME_S, abs=FRAME_S)
    assert final.start == first.start
    assert final.end == second.end


def test_times_are_those_of_the_equation(recognizer):
    """The tone of b is loud enough from feature frame 19 on, so output frame 9 emits it."""
    centre = tone_model.WINDOW_S / 2 + (STACK - 1) / 2 * HOP_S
    (final,) = finals(recognizer.stream(), sound("ab"), cuts=())
    (word,) = final.words
    assert word.end == pytest.approx(9 * STACK * HOP_S + centre + FRAME_S, abs=1e-9)


def test_the_clock_runs_on_over_segments(recognizer):
    onset = 0.2 + 4 * 0.5
    (_, second) = finals(recognizer.stream(), sound("a____b"))
    assert second.start == pytest.approx(onset, abs=FRAME_S)


def test_emission_delay_of_the_level_moves_words_back_but_not_before_the_first_sample(tmp_path, recognizer):
    path = write_tone_model(tmp_path / "late.sparrot", large={"emission_delay_s": 0.1})
    wave = sound("a b")
    on_time, late = (finals(r.stream(), wave)[0].words for r in (recognizer, Recognizer.load(path)))
    assert late[1].start == pytest.approx(on_time[1].start - 0.1, abs=1e-9)
    assert late[0].start == 0.0


def test_confidence_is_the_probability_of_the_tokens(recognizer):
    (final,) = finals(recognizer.stream(), sound("b"))
    logits = np.array([0, -18, 6, -6, -6, -18 + 12])  # blank, a, b, c, space, z; cells saturate at 1 and 0
    expected = np.exp(6) / np.exp(logits).sum()
    assert final.words[0].confidence == pytest.approx(expected, abs=1e-3)
    assert final.confidence == final.words[0].confidence


def test_blank_penalty_of_the_level_is_used(tmp_path):
    path = write_tone_model(tmp_path / "deaf.sparrot", large={"blank_penalty": -20.0})
    assert finals(Recognizer.load(path).stream(), sound("ab")) == []


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_the_blank_penalty_of_a_stream_is_added_to_that_of_its_level(tmp_path, recognizer, decoder):
    deaf = Recognizer.load(write_tone_model(tmp_path / "deaf.sparrot", large={"blank_penalty": -20.0}))
    options, wave = DecodingOptions(decoder, blank_penalty=20.0), sound("ab")
    plain = finals(recognizer.stream(options=DecodingOptions(decoder)), wave)
    assert finals(deaf.stream(options=options), wave) == plain
    assert deaf.transcribe(wave, RATE_HZ, options=options).segments == tuple(plain)


# Options


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"decoder": "viterbi"}, "no decoder `viterbi`: choose `greedy` or `beam`"),
        ({"beam": 0}, "at least 1 hypothesis; got a beam of 0"),
        ({"max_symbols": 0}, "at least 1 token; got max_symbols of 0"),
        (
            {"decoder": "beam", "max_symbols": 2},
            "at most one token a frame, and max_symbols is 2: leave it at 1",
        ),
        ({"blank_penalty": float("nan")}, "blank penalty must be a finite number; got nan"),
        ({"max_pending_s": 0}, "`max_pending_s` must be over 0 seconds; got 0"),
    ],
)
def test_options_without_sense_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        DecodingOptions(**options)


def test_options_of_a_transducer_are_refused_before_anything_is_decoded(recognizer):
    options, sentence = DecodingOptions(max_symbols=2), "`tones` is a CTC model, .* and max_symbols is 2"
    for decode in (
        lambda: recognizer.check(options),
        lambda: recognizer.stream(options=options),
        lambda: recognizer.transcribe("there is no such file", options=options),
    ):
        with pytest.raises(ValueError, match=sentence):
            decode()


# Any cut


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 40_000), max_size=12), options=st.sampled_from([DecodingOptions(), BEAM]))
def test_any_cut_gives_the_same_finals(recognizer, cuts, options):
    wave = sound("ab c^a___ac")
    assert finals(recognizer.stream(options=options), wave, cuts) == finals(
        recognizer.stream(options=options), wave
    )


def test_pieces_of_one_sample_give_the_same_finals(recognizer):
    wave = sound("ab")[: RATE_HZ // 4]
    assert finals(recognizer.stream(), wave, range(len(wave))) == finals(recognizer.stream(), wave)


@pytest.mark.parametrize("rate_hz", [8_000, 44_100])
def test_any_cut_of_resampled_audio_gives_the_same_finals(recognizer, rate_hz):
    wave = sound("ab ba__", rate_hz)
    whole = finals(recognizer.stream(), wave, rate_hz=rate_hz)
    cut = finals(recognizer.stream(), wave, [1, 2, 500, 501, 7_000], rate_hz=rate_hz)
    assert cut == whole
    assert whole[0].text == "ab ba"


def test_polling_late_gives_the_same_finals(recognizer):
    wave = sound(TEXT)
    late = recognizer.stream()
    for piece in pieces(wave, every(0.1, wave)):
        late.accept_waveform(piece, RATE_HZ)
    assert [e for e in late.finish() if isinstance(e, Final)] == finals(recognizer.stream(), wave)


@pytest.mark.parametrize("polled", [True, False])
def test_what_is_said_in_the_last_partial_chunk_is_heard(recognizer, polled):
    """After a segment that ended before it, also if that end was found only while finishing."""
    quiet = 1.6 + 0.82  # the tone is heard in output frames 120 to 122, of a chunk that would end with 123
    wave = np.concatenate([sound("a"), silence(quiet - 0.2), tone_model.tone("b")[: RATE_HZ * 6 // 100]])
    stream = recognizer.stream()
    stream.accept_waveform(wave, RATE_HZ)
    heard = (stream.poll() if polled else []) + stream.finish()
    assert [event.text for event in heard if isinstance(event, Final)] == ["a", "b"]


def test_the_caller_may_reuse_the_buffer(recognizer):
    wave, buffer, stream = sound("ab"), np.empty(800, np.float32), recognizer.stream()
    for piece in pieces(wave, every(0.05, wave)):
        buffer[: len(piece)] = piece
        stream.accept_waveform(buffer[: len(piece)], RATE_HZ)
        buffer[:] = 0
    assert [e.text for e in stream.finish() if isinstance(e, Final)] == ["ab"]


# Events


@pytest.mark.parametrize("options", [DecodingOptions(), BEAM])
def test_a_poll_gives_finals_then_at_most_one_changed_partial(recognizer, options):
    stream, wave, shown = recognizer.stream(options=options), sound(TEXT), None
    for piece in pieces(wave, every(0.13, wave)):
        stream.accept_waveform(piece, RATE_HZ)
        heard = stream.poll()
        kinds = [type(event) for event in heard]
        assert kinds == sorted(kinds, key=lambda kind: kind is Partial)
        assert kinds.count(Partial) <= 1
        if Partial in kinds:
            changed = (heard[-1].segment, heard[-1].text, heard[-1].stable, heard[-1].words)
            assert changed != shown
            shown = changed


@pytest.mark.parametrize("options", [DecodingOptions(), BEAM])
def test_stable_text_never_changes_and_begins_the_final(recognizer, options):
    wave = sound(TEXT)
    settled = {}
    heard = events(recognizer.stream(options=options), wave, every(0.05, wave))
    for event in heard:
        before = settled.get(event.segment, "")
        assert event.text.startswith(before)
        if isinstance(event, Partial):
            assert event.stable >= len(before)
            settled[event.segment] = event.text[: event.stable]
    assert sum(isinstance(event, Partial) for event in heard) > 10
    assert any(settled.values())


def test_what_is_stable_is_what_the_decoder_calls_so(recognizer, monkeypatch):
    class Doubtful(GreedyDecoder):
        @property
        def n_stable(self):
            return len(self.hypothesis().tokens) // 2

    monkeypatch.setattr("sparrot.engine.decoding.GreedyDecoder", Doubtful)
    stream = recognizer.stream()
    stream.accept_waveform(sound("abc a_"), RATE_HZ)
    (partial,) = stream.poll()
    assert (partial.text, partial.stable) == ("abc a", 2)


def test_partials_say_what_was_heard_so_far(recognizer):
    wave = sound("ab a")
    heard = [event.text for event in events(recognizer.stream(), wave, every(0.2, wave))]
    assert [text for text, _ in itertools.groupby(heard)] == ["a", "ab", "ab a"]


def test_silence_has_no_events(recognizer):
    assert events(recognizer.stream(), silence(7), range(0, 7 * RATE_HZ, 8000)) == []


def test_segments_without_words_do_not_count(recognizer):
    (final,) = finals(recognizer.stream(), np.concatenate([silence(6), sound(" ____a")]))
    assert (final.segment, final.text) == (0, "a")


@pytest.mark.parametrize("seconds", [0, 0.01])
def test_next_to_no_audio_gives_nothing(recognizer, seconds):
    stream = recognizer.stream()
    stream.accept_waveform(silence(seconds), RATE_HZ)
    assert stream.poll() == stream.finish() == []


def test_finish_without_audio_gives_nothing(recognizer):
    assert recognizer.stream().finish() == []


# Endpoints


def test_silence_after_speech_ends_a_segment(recognizer):
    assert [f.reason for f in finals(recognizer.stream(), sound("a____"))] == ["endpoint"]
    assert [f.reason for f in finals(recognizer.stream(), sound("a_"))] == ["finish"]


def test_an_endpoint_comes_when_the_rule_says_so(recognizer):
    stream, wave = recognizer.stream(), sound("a____")
    n_heard = 0
    for piece in pieces(wave, every(FRAME_S, wave)):
        stream.accept_waveform(piece, RATE_HZ)
        n_heard += len(piece)
        if any(isinstance(event, Final) for event in stream.poll()):
            break
    tone_end = tone_model.TONE_S
    assert n_heard / RATE_HZ == pytest.approx(tone_end + 1.2, abs=CHUNK_S + 2 * FRAME_S)


def test_a_segment_that_gets_too_long_is_cut(recognizer):
    options = DecodingOptions(endpoints=EndpointRules(length=0.95))
    heard = finals(recognizer.stream(options=options), sound("abcab cabca"))
    assert [final.reason for final in heard] == ["limit", "limit", "finish"]
    assert "".join(final.text for final in heard) == "abcabcabca"
    assert [final.start for final in heard] == pytest.approx([0, 1.2, 2], abs=FRAME_S)


def test_more_silence_ends_a_segment_in_which_nothing_was_said(recognizer):
    """Shift alone is no token; what it did to the state lasts until the segment ends."""
    assert [final.text for final in finals(recognizer.stream(), sound("^____a"))] == ["z"]
    assert [final.text for final in finals(recognizer.stream(), sound("^______a"))] == ["a"]


def test_the_state_is_zero_after_an_endpoint(recognizer):
    heard = finals(recognizer.stream(), sound("^a____a"))
    assert [final.text for final in heard] == ["z", "a"]


def test_the_right_context_of_an_endpoint_begins_the_next_segment(recognizer):
    """A tone right after a cut is heard as in a stream of its own."""
    options = DecodingOptions(endpoints=EndpointRules(trailing_silence=CHUNK_S))
    wave = np.concatenate([silence(FRAME_S), sound("b")])
    (after_a_cut,) = finals(recognizer.stream(options=options), np.concatenate([silence(CHUNK_S), wave]))
    (alone,) = finals(recognizer.stream(), wave)
    assert after_a_cut.words[0].confidence == alone.words[0].confidence
    assert after_a_cut.start == pytest.approx(alone.start + CHUNK_S, abs=1e-9)


def test_without_endpoints_a_stream_is_one_segment(recognizer):
    (final,) = finals(recognizer.stream(options=ENDLESS), sound("a_____a"))
    assert final.text == "aa"


# Memory


def test_memory_is_flat(recognizer):
    """What a stream could keep of 12 waves: 1.5 MB of samples, 100 kB of features."""
    stream, wave = recognizer.stream(), sound("ab___")

    def used_after(n_waves):
        for _ in range(n_waves):
            stream.accept_waveform(wave, RATE_HZ)
            stream.poll()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    used_after(2)
    tracemalloc.start(1)
    try:
        growth = -used_after(4) + used_after(12)
    finally:
        tracemalloc.stop()
    assert growth < 30_000  # the interpreter's own free lists fill up to here
