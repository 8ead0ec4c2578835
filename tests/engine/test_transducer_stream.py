"""Transducer files in recognisers and streams: one whose answers are known."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tone_model
from sparrot import Final, Partial, Recognizer
from sparrot.engine import DecodingOptions, EndpointRules, decode_streams
from sparrot.engine.segments import advance
from streaming import events, every, finals, pieces
from tone_model import CHUNK, HOP_S, RATE_HZ, STACK, silence, sound
from tone_transducer import N_SYMBOLS, SURE, write_tone_transducer

FRAME_S = STACK * HOP_S
CHUNK_S = CHUNK * FRAME_S
TEXT = "abc ca____^ab^ c^^ aa"
READS = {"large": "abc ca abb ccc aa", "small": "ab a abb aa"}
BEAM = DecodingOptions(decoder="beam", beam=4)
ENDLESS = DecodingOptions(endpoints=None)
OPTIONS = pytest.mark.parametrize("options", [DecodingOptions(), BEAM], ids=["greedy", "beam"])


@pytest.fixture(scope="module", params=["lstm", "stateless"])
def recognizer(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / f"{request.param}.sparrot"
    return Recognizer.load(write_tone_transducer(path, request.param))


# What is heard


@OPTIONS
@pytest.mark.parametrize("dtype", ["F32", "BF16", "I8"])
@pytest.mark.parametrize("kind", ["lstm", "stateless"])
def test_every_level_in_every_type_says_what_it_hears(kind, dtype, options, tmp_path):
    path = write_tone_transducer(tmp_path / "tones.sparrot", kind, dtype)
    wave = sound(TEXT)
    for weights, (level, text) in itertools.product(("copy", "map"), READS.items()):
        recognizer = Recognizer.load(path, level, weights=weights)
        transcript = recognizer.transcribe(wave, RATE_HZ, options=options)
        assert transcript.text == text
        assert transcript.segments == tuple(
            finals(recognizer.stream(options=options), wave, every(0.17, wave))
        )
        assert {word.level for word in transcript.words} == {level}


@OPTIONS
def test_a_whole_recording_is_one_segment_where_the_encoder_runs_both_ways(tmp_path, options):
    path = write_tone_transducer(tmp_path / "tones.sparrot", bidirectional=True)
    recognizer = Recognizer.load(path)
    assert not recognizer.streaming
    transcript = recognizer.transcribe(sound("ab ^c"), RATE_HZ, options=options)
    assert [final.text for final in transcript.segments] == ["ab c"]


def test_segments_begin_with_what_the_predictor_says_before_a_token(recognizer):
    """A tone for `again` writes nothing after an endpoint, though it would in the segment before."""
    heard = finals(recognizer.stream(), sound("ab____^c"))
    assert [(final.text, final.reason) for final in heard] == [("ab", "endpoint"), ("c", "finish")]


@OPTIONS
def test_words_have_the_times_and_the_confidence_of_their_tokens(recognizer, options):
    """A letter is written where its tone begins; a word ends a frame after its last."""
    (final,) = finals(recognizer.stream(options=options), sound("ab ca"))
    assert [word.text for word in final.words] == ["ab", "ca"]
    assert [word.start for word in final.words] == pytest.approx([0, 0.6], abs=FRAME_S)
    assert [word.end for word in final.words] == pytest.approx([0.2 + FRAME_S, 0.8 + FRAME_S], abs=FRAME_S)
    sure = np.exp(SURE) / (1 + np.exp(SURE) + (N_SYMBOLS - 1) * np.exp(-SURE))
    assert [word.confidence for word in final.words] == pytest.approx([sure, sure], abs=1e-4)


def test_emission_delay_and_blank_penalty_of_the_level_are_used(tmp_path, recognizer):
    late = write_tone_transducer(tmp_path / "late.sparrot", large={"emission_delay_s": 0.1})
    wave = sound("a b")
    on_time, moved = (finals(r.stream(), wave)[0].words for r in (recognizer, Recognizer.load(late)))
    assert moved[1].start == pytest.approx(on_time[1].start - 0.1, abs=1e-9)
    deaf = write_tone_transducer(tmp_path / "deaf.sparrot", large={"blank_penalty": -20.0})
    assert finals(Recognizer.load(deaf).stream(), wave) == []


def test_a_frame_emits_as_many_tokens_as_it_may(recognizer):
    """This joint network forgets that it has written a letter, so each is written as often as it may be."""
    options = DecodingOptions(max_symbols=3)
    assert [final.text for final in finals(recognizer.stream(options=options), sound("ab"))] == ["aaabbb"]
    assert recognizer.transcribe(sound("b"), RATE_HZ, options=options).text == "bbb"


def test_the_blank_penalty_of_a_stream_is_added_to_that_of_its_level(tmp_path, recognizer):
    deaf = Recognizer.load(write_tone_transducer(tmp_path / "deaf.sparrot", large={"blank_penalty": -20.0}))
    wave = sound("ab")
    for decoder in ("greedy", "beam"):
        options = DecodingOptions(decoder, blank_penalty=20.0)
        assert finals(deaf.stream(options=options), wave) == finals(
            recognizer.stream(options=DecodingOptions(decoder)), wave
        )
        assert deaf.transcribe(wave, RATE_HZ, options=options).text == "ab"


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
    assert finals(recognizer.stream(options=BEAM), wave, range(len(wave))) == finals(
        recognizer.stream(options=BEAM), wave
    )


@OPTIONS
def test_stable_text_never_changes_and_begins_the_final(recognizer, options):
    wave, settled = sound(TEXT), {}
    heard = events(recognizer.stream(options=options), wave, every(0.05, wave))
    for event in heard:
        before = settled.get(event.segment, "")
        assert event.text.startswith(before)
        if isinstance(event, Partial):
            assert event.stable >= len(before)
            settled[event.segment] = event.text[: event.stable]
    assert sum(isinstance(event, Partial) for event in heard) > 10
    assert any(settled.values())


# Endpoints


@OPTIONS
def test_silence_is_counted_from_the_last_token(recognizer, options):
    """1.2 s after speech; a tone in which nothing is said, `again` at the start of a segment, is silence."""
    stream, n_heard = recognizer.stream(options=options), 0
    wave = sound("a____")
    for piece in pieces(wave, every(FRAME_S, wave)):
        stream.accept_waveform(piece, RATE_HZ)
        n_heard += len(piece)
        if any(isinstance(event, Final) for event in stream.poll()):
            break
    assert n_heard / RATE_HZ == pytest.approx(1.2, abs=CHUNK_S + 3 * FRAME_S)
    assert [f.text for f in finals(recognizer.stream(options=options), sound("^____^_a"))] == ["a"]
    reasons = [f.reason for f in finals(recognizer.stream(options=options), sound("a__"))]
    assert reasons == ["finish"]


@OPTIONS
def test_a_segment_that_gets_too_long_is_cut(recognizer, options):
    rules = DecodingOptions(decoder=options.decoder, beam=options.beam, endpoints=EndpointRules(length=0.95))
    heard = finals(recognizer.stream(options=rules), sound("abcab cabca"))
    assert [final.reason for final in heard] == ["limit", "limit", "finish"]
    assert "".join(final.text for final in heard) == "abcabcabca"


@OPTIONS
def test_a_segment_of_20_s_is_cut(recognizer, options):
    heard = finals(recognizer.stream(options=options), sound("ab ca " * 20))
    assert [final.reason for final in heard] == ["limit", "finish"]
    assert heard[0].end == pytest.approx(20.0, abs=0.2 + CHUNK_S)  # a letter comes every 0.2 s
    assert "".join(final.text for final in heard).replace(" ", "") == "abca" * 20


@OPTIONS
def test_silence_of_2_4_s_ends_a_segment_in_which_nothing_was_said(recognizer, options):
    """What is said from 2.6 s on is not cut at 3 s, because its segment began at 2.4 s."""
    rules = DecodingOptions(options.decoder, options.beam, endpoints=EndpointRules(length=3.0))
    for quiet, texts in [(2.1, ["ab ca", "abca"]), (2.6, ["ab caabca"])]:
        wave = np.concatenate([silence(quiet), sound("ab caabca")])
        assert [final.text for final in finals(recognizer.stream(options=rules), wave)] == texts


def test_without_endpoints_a_stream_is_one_segment(recognizer):
    (final,) = finals(recognizer.stream(options=ENDLESS), sound("a_____^"))
    assert final.text == "aa"


# Levels


@OPTIONS
def test_a_switch_keeps_what_the_predictor_knows(recognizer, options):
    """`again` writes, at one level, the letter of another."""
    stream, wave = recognizer.stream(options=options), sound("a^^b^c^")
    for number, piece in enumerate(pieces(wave, every(0.2, wave))):
        stream.set_level(["large", "small"][number % 2])
        stream.accept_waveform(piece, RATE_HZ)
        stream.poll()
    (final,) = stream.finish()
    assert final.text.startswith("aaabb")
    assert len(stream.trace) > 5


@OPTIONS
def test_a_trace_replays(recognizer, options):
    wave, stream, heard = sound("cab^____cab^^ a"), recognizer.stream(options=options), []
    for number, piece in enumerate(pieces(wave, every(0.17, wave))):
        stream.set_level(["large", "small", "small"][number % 3])
        stream.accept_waveform(piece, RATE_HZ)
        heard += stream.poll()
    heard += stream.finish()
    again = recognizer.stream(options=options, replay=stream.trace)
    assert finals(again, wave, [3, 40_000]) == [event for event in heard if isinstance(event, Final)]
    assert again.trace == stream.trace
    assert len(stream.trace) > 4


def test_a_level_without_a_name_may_be_asked_for(recognizer):
    """The stop of `small` is found by its sparsity, whatever it is called."""
    sparsity = recognizer.levels()[-1].overall_sparsity
    assert recognizer.transcribe(sound("abc"), RATE_HZ, level=sparsity + 0.01).text == "ab"


# Many streams


def text_of(stream) -> str:
    return " ".join(event.text for event in stream.poll() + stream.finish() if isinstance(event, Final))


@pytest.mark.parametrize("n_streams", [2, 20, 70])
def test_streams_decoded_together_say_what_they_say_alone(recognizer, n_streams):
    """At mixed levels, with greedy and beam search in one batch, and streams of different lengths."""
    said = ["ab^", "c____b a", "_", "a^^ ca ^", "^"]
    taken = [
        (sound(said[i % 5]), ["large", "small"][i % 3 % 2], [DecodingOptions(), BEAM][i % 2])
        for i in range(n_streams)
    ]
    together = [recognizer.stream(level, options) for _, level, options in taken]
    alone = [text_of_alone(recognizer, *each) for each in taken[:30]]
    for start in range(0, 5 * RATE_HZ, 3000):
        for stream, (wave, _, _) in zip(together, taken, strict=True):
            stream.accept_waveform(wave[start : start + 3000], RATE_HZ)
        decode_streams(together)
    texts = [text_of(stream) for stream in together]
    assert texts[:30] == alone
    assert texts[30:] == [texts[i % 30] for i in range(30, n_streams)]


def text_of_alone(recognizer, wave, level, options) -> str:
    stream = recognizer.stream(level, options)
    stream.accept_waveform(wave, RATE_HZ)
    return text_of(stream)


def test_a_stream_that_cannot_go_on_does_not_stop_the_others(recognizer, monkeypatch):
    good, bad = recognizer.stream(), recognizer.stream()
    real = tone_model.sound("ab")
    for stream in (good, bad):
        stream.accept_waveform(real, RATE_HZ)

    def broken(encoders, stops):
        chunks = advance(encoders, stops)
        return [
            np.full_like(chunk, np.nan) if encoder is bad._segments._encoder else chunk
            for encoder, chunk in zip(encoders, chunks, strict=True)
        ]

    with monkeypatch.context() as patched:
        patched.setattr("sparrot.engine.segments.advance", broken)
        with pytest.raises(ValueError, match="the network's output is not finite"):
            decode_streams([bad, good])
    assert text_of(good) == "ab"


def test_silence_has_no_events(recognizer):
    assert events(recognizer.stream(), silence(7), range(0, 7 * RATE_HZ, 8000)) == []
