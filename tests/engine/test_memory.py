"""Memory and threads where there is little of them, and streams that come and go for hours."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from memory import MB, resident
from sparrot import Final, Recognizer, Stream
from sparrot.engine import DecodingOptions, decode_streams
from streaming import every, finals, pieces
from tone_model import RATE_HZ, sound, write_tone_model

N_STREAMS = 1000
SPEECH, SILENCE = "abc a___", "_"
ENDLESS = DecodingOptions(endpoints=None)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tone_model(tmp_path_factory.mktemp("model") / "tones.sparrot")


@pytest.fixture(scope="module")
def recognizer(path):
    return Recognizer.load(path)


def texts(events) -> list[str]:
    return [event.text for event in events if isinstance(event, Final)]


def hear(stream: Stream, wave: np.ndarray) -> int:
    """Finals that a second of audio after the other gives."""
    n_finals = 0
    for piece in pieces(wave, every(1, wave)):
        stream.accept_waveform(piece, RATE_HZ)
        n_finals += len(texts(stream.poll()))
    return n_finals


def growth_over(stream: Stream, text: str, n_minutes: int) -> int:
    """Bytes by which the process grows while a stream hears a text for so long, after two minutes of it."""
    minute = np.resize(sound(text), 60 * RATE_HZ)
    hear(stream, np.tile(minute, 2))
    before = resident()
    n_finals = sum(hear(stream, minute) for _ in range(n_minutes))
    assert n_finals >= (0 if text == SILENCE else 20 * n_minutes)
    return resident() - before


# A stream for hours


@pytest.mark.parametrize(("text", "options"), [(SPEECH, DecodingOptions()), (SILENCE, ENDLESS)])
def test_a_stream_of_minutes_keeps_nothing_of_them(recognizer, text, options):
    """What it could keep of 12: 46 MB of samples, 3.2 MB of features."""
    assert growth_over(recognizer.stream(options=options), text, 12) < MB


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_stream_of_ten_hours_keeps_nothing_of_them(recognizer):
    """A byte that is kept of each of 3.6 million feature frames would be too much."""
    assert growth_over(recognizer.stream(), SPEECH, 598) < 2 * MB


# Many streams


def test_a_thousand_streams_one_after_the_other_leave_nothing_behind(recognizer):
    """A stream holds 22 kB; 1 kB that is left of each would be too much."""
    wave = sound("a")

    def use(n):
        for _ in range(n):
            stream = recognizer.stream()
            stream.accept_waveform(wave, RATE_HZ)
            assert texts(stream.finish()) == ["a"]

    use(200)
    before = resident()
    use(N_STREAMS)
    assert resident() - before < MB


def test_a_thousand_streams_together_say_what_one_says_and_are_small(recognizer):
    """Each holds 10 kB when it is new, and at most 10 kB of samples, of the piece that was decoded last."""
    wave = sound("ab")
    expected = texts(finals(recognizer.stream(), wave))
    before = resident()
    levels = itertools.islice(itertools.cycle(["large", "small"]), N_STREAMS)
    streams = [recognizer.stream(level) for level in levels]
    for piece in pieces(wave, every(0.15, wave)):
        for stream in streams:
            stream.accept_waveform(piece, RATE_HZ)
        decode_streams(streams)
    used = resident() - before
    assert [texts(stream.finish()) for stream in streams] == [expected] * N_STREAMS
    assert used < N_STREAMS * 50_000


# Few threads


FEW_THREADS = """
import resource, sys
from pathlib import Path
import numpy as np
from sparrot import Recognizer
from sparrot.engine import decode_streams, set_threads
from tone_model import RATE_HZ, sound

recognizer = Recognizer.load(sys.argv[1])
streams = [recognizer.stream() for _ in range(40)]
for stream in streams:
    stream.accept_waveform(sound("ab"), RATE_HZ)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (128 << 20),) * 2)  # the stack of a thread is 8 MB
set_threads(256)
decode_streams(streams)
print(len(list(Path("/proc/self/task").iterdir())), *{stream.finish()[-1].text for stream in streams})
"""


def test_where_the_system_has_no_room_for_threads_fewer_compute(path):
    done = subprocess.run(
        [sys.executable, "-c", FEW_THREADS, path],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    n_threads, text = done.stdout.split()
    assert text == "ab"
    assert 1 < int(n_threads) < 100
