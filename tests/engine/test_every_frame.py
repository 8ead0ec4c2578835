"""Levels that change with every frame."""

import gc
import itertools

import numpy as np
import pytest

import rounding
from architectures import features, parameters
from engine_networks import decode, model_of, network_of
from memory import MB, resident
from model_file.written import three_levels
from sparrot import Final, Recognizer
from sparrot.architecture import Architecture, Linear, Recurrent
from sparrot.engine import DecodingOptions, decode_streams
from sparrot.engine.network import NetworkStream, advance
from streaming import every, pieces
from tone_model import HOP_S, RATE_HZ, STACK, sound, write_tone_model
from tone_transducer import write_tone_transducer

FRAME_S = STACK * HOP_S
GREEDY, BEAM = DecodingOptions(), DecodingOptions(decoder="beam", beam=4)


# Networks


NINE = Architecture(24, (Recurrent("deep0", "lstm", 64, 32), Recurrent("deep1", "lstm", 48), Linear("o", 7)))
N_SWITCHING = 20  # streams, each of which draws another of nine stops for every frame


@pytest.fixture(params=["F32", "BF16", "I8"])
def nine(request, monkeypatch):
    """A file of nine stops, six of them without a name, and the type of its weights."""
    monkeypatch.setattr("sparrot.model_file.stop_plan.LEAST_COLUMNS", 1)
    weights, levels = parameters(NINE, 6, 0.06), three_levels(NINE, (4, 1))
    return model_of(NINE, weights, levels, (4, 1), request.param, n_stops=9), request.param


def test_every_stream_of_a_batch_may_change_its_stop_with_every_frame(nine):
    model, dtype = nine
    network, n_stops = network_of(model), len(model.stops)
    assert n_stops == 9
    utterances = [features(NINE, 16, seed) for seed in range(N_SWITCHING)]
    drawn = np.random.default_rng(0).integers(n_stops, size=(16, N_SWITCHING))
    streams = [NetworkStream(network, 1) for _ in utterances]
    for stream, frames in zip(streams, utterances, strict=True):
        stream.push(frames)
    together = np.stack([advance(streams, stops.tolist()) for stops in drawn])[:, :, 0]
    levels = [dict(model.parameters(stop.overall_sparsity)) for stop in model.stops]
    for number, frames in enumerate(utterances):
        stops, logits = drawn[:, number], together[:, number]
        if dtype == "I8":
            np.testing.assert_array_equal(logits, np.concatenate(decode(frames, 1, network, stops=stops)))
            continue
        with rounding.products_of(dtype):
            bounded = rounding.run_switching(NINE, [levels[stop] for stop in stops], frames)
        assert np.all(abs(logits - bounded.value) <= bounded.error)
        assert np.any(abs(network.run(frames, n_stops - 1) - bounded.value) > bounded.error)


# Recognisers


@pytest.fixture(scope="module", params=["ctc", "lstm", "stateless"])
def recognizer(request, tmp_path_factory):
    """One that decodes chunks of a frame, so that every frame may be of another level."""
    path = tmp_path_factory.mktemp("model") / "tones.sparrot"
    if request.param == "ctc":
        return Recognizer.load(write_tone_model(path, chunk_frames=1))
    return Recognizer.load(write_tone_transducer(path, request.param, chunk_frames=1))


def hear(stream, wave: np.ndarray, levels) -> list[Final]:
    """The finals of a wave that comes a frame at a time, each at the next of the levels."""
    finals = []
    for piece in pieces(wave, every(FRAME_S, wave)):
        stream.set_level(next(levels))
        stream.accept_waveform(piece, RATE_HZ)
        finals += [event for event in stream.poll() if isinstance(event, Final)]
    return finals


@pytest.mark.parametrize("options", [GREEDY, BEAM], ids=["greedy", "beam"])
@pytest.mark.parametrize("levels", [("large", "small"), (0.0, 1.0)])
def test_what_both_levels_hear_is_heard(recognizer, options, levels):
    wave, stream = sound("ab ba____a b"), recognizer.stream(options=options)
    heard = hear(stream, wave, itertools.cycle(levels))
    heard += [event for event in stream.finish() if isinstance(event, Final)]
    assert [final.text for final in heard] == ["ab ba", "a b"]
    frames = [frame for frame, _ in stream.trace]
    assert len(frames) > 0.45 * len(wave) / RATE_HZ / FRAME_S
    again = recognizer.stream(options=options, replay=stream.trace)
    again.accept_waveform(wave, RATE_HZ)
    assert [event for event in again.poll() + again.finish() if isinstance(event, Final)] == heard


def test_streams_that_are_decoded_together_change_level_each_for_itself(recognizer):
    wave, n_streams = sound("ab ba ab"), 12
    streams = [recognizer.stream(options=BEAM if i % 2 else GREEDY) for i in range(n_streams)]
    random = np.random.default_rng(0)
    for piece in pieces(wave, every(FRAME_S, wave)):
        for stream in streams:
            stream.set_level(random.choice(["large", "small"]))
            stream.accept_waveform(piece, RATE_HZ)
        decode_streams(streams)
    assert {event.text for stream in streams for event in stream.finish()[-1:]} == {"ab ba ab"}
    assert len({stream.trace for stream in streams}) == n_streams


@pytest.mark.parametrize(
    "options", [GREEDY, pytest.param(BEAM, marks=pytest.mark.slow)], ids=["greedy", "beam"]
)
def test_minutes_of_it_leave_nothing_behind_but_the_trace(recognizer, options):
    """That takes 12 bytes a switch, of 3000 a minute; 100 bytes more of each would be too much."""
    minute, levels = np.resize(sound("ab a___"), 60 * RATE_HZ), itertools.cycle(["large", "small"])
    stream, n_minutes = recognizer.stream(options=options), 10
    for _ in range(4):
        hear(stream, minute, levels)
    gc.collect()
    before, n_before = resident(), len(stream.trace)
    n_finals = sum(len(hear(stream, minute, levels)) for _ in range(n_minutes))
    gc.collect()
    grown, n_switches = resident() - before, len(stream.trace) - n_before
    assert n_finals > 20 * n_minutes
    assert n_switches > 2900 * n_minutes
    assert grown < MB + 24 * n_switches
