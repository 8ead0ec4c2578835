"""One result, whatever computes it: one thread, several, several callers, or a forked child."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from architectures import features, parameters
from engine_networks import decode, model_of, network_of
from model_file.written import three_levels
from sparrot.architecture import Architecture, Linear, Recurrent
from sparrot.engine import set_threads, threads
from sparrot.engine.network import Network, NetworkStream, advance

LARGE = Architecture(30, (Recurrent("lstm", "lstm", 300, projection=200), Linear("output", 7)))


@pytest.fixture(autouse=True)
def one_thread_again():
    yield
    set_threads(1)


@pytest.fixture(scope="module")
def network() -> Network:
    """Three stops, the densest with 3 MB of weights."""
    return network_of(model_of(LARGE, parameters(LARGE, 0, 0.05), three_levels(LARGE, (16, 1))))


def stream_alone(network: Network, stop: int) -> list[bytes]:
    frames = features(LARGE, 20)
    return [chunk.tobytes() for chunk in decode(frames, 4, network, stops=[stop])]


def streams_together(network: Network, n: int) -> list[bytes]:
    """One chunk of streams at the densest stop.

    So many that every thread has 16 at least, from where on sums are made in another order.
    """
    streams = [NetworkStream(network, 4) for _ in range(n)]
    for seed, stream in enumerate(streams):
        stream.push(features(LARGE, 4, seed))
    return [logits.tobytes() for logits in advance(streams, [2] * n)]


@pytest.mark.parametrize("n", [2, 3, 8])
def test_threads_change_no_bit(network, n):
    alone = [stream_alone(network, stop) for stop in range(3)]
    together = streams_together(network, 96)
    set_threads(n)
    assert threads() == n
    assert [stream_alone(network, stop) for stop in range(3)] == alone
    assert streams_together(network, 96) == together


def test_callers_at_the_same_time_get_what_each_gets_alone(network):
    expected, found = stream_alone(network, 2), []
    set_threads(3)
    callers = [
        threading.Thread(target=lambda: found.extend(stream_alone(network, 2) for _ in range(5)))
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == [expected] * 20


def test_a_forked_child_computes(network):
    set_threads(2)
    expected = stream_alone(network, 2)
    child = os.fork()
    if child == 0:  # in the child, whose pool is its own
        os._exit(0 if stream_alone(network, 2) == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert stream_alone(network, 2) == expected


@pytest.mark.parametrize("n", [0, -1, 257, 10_000])
def test_impossible_numbers_of_threads_are_refused(n):
    with pytest.raises(ValueError, match=f"computes on 1 to 256 threads; got {n}"):
        set_threads(n)
    assert threads() == 1


def _n_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_switching_numbers_many_times_leaks_no_thread(network):
    n_before = _n_threads()
    for _ in range(20):
        for n in (4, 2):
            set_threads(n)
            streams_together(network, 40)
    assert _n_threads() <= n_before + 3
    assert np.isfinite(network.run(features(LARGE, 3), 2)).all()
