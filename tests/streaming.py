"""Audio sent through a stream in pieces, and what comes out."""

import itertools
from collections.abc import Iterable

import numpy as np

from sparrot.engine import Event, Final, Stream
from tone_model import RATE_HZ


def pieces(wave: np.ndarray, cuts: Iterable[int]) -> list[np.ndarray]:
    """The wave cut at the given samples."""
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(wave)}), len(wave)]
    return [wave[a:b] for a, b in itertools.pairwise(edges)]


def every(seconds: float, wave: np.ndarray, rate_hz: int = RATE_HZ) -> range:
    """Cuts at equal distances."""
    return range(0, len(wave), round(seconds * rate_hz))


def events(stream: Stream, wave: np.ndarray, cuts: Iterable[int] = (), rate_hz: int = RATE_HZ) -> list[Event]:
    """All events of a wave that arrives in pieces, with a poll after each."""
    heard = []
    for piece in pieces(wave, cuts):
        stream.accept_waveform(piece, rate_hz)
        heard += stream.poll()
    return heard + stream.finish()


def finals(stream: Stream, wave: np.ndarray, cuts: Iterable[int] = (), rate_hz: int = RATE_HZ) -> list[Final]:
    """The finals among them."""
    return [event for event in events(stream, wave, cuts, rate_hz) if isinstance(event, Final)]
