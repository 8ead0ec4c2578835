import numpy as np
import pytest

from engine_networks import dense_network
from sparrot.architecture import Architecture, Convolution, Linear, Recurrent
from sparrot.engine.encoder import SegmentEncoder, advance
from sparrot.engine.network import Network

CHUNK, N_FRAMES = 4, 61


def network_of(kernel: int, stride: int) -> Network:
    layers = (
        Convolution("conv0", 5, kernel, stride),
        Recurrent("lstm0", "lstm", 6),
        Linear("output", 3),
    )
    architecture = Architecture(2, layers)
    random = np.random.default_rng(1)
    shapes = {m.name: (m.rows, m.columns) for m in architecture.matrices()}
    shapes |= {v.name: (v.size,) for v in architecture.vectors()}
    weights = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return dense_network(architecture, weights)


def decoded(encoder: SegmentEncoder, restart_after: int | None) -> list[np.ndarray]:
    """The chunks that are ready; a segment ends after so many, if any."""
    chunks = []
    while encoder.ready:
        chunks += advance([encoder], [0])
        encoder.move_on()
        if encoder.edge == (restart_after or 0) * encoder.chunk:
            encoder.restart()
    return chunks


def second_segment(network: Network, frames: np.ndarray, cut: int, restart_after: int) -> np.ndarray:
    """The logits of the segment that starts after so many chunks, of frames that come `cut` at a time."""
    encoder = SegmentEncoder(network, CHUNK)
    chunks = []
    for begin in range(0, len(frames), cut):
        encoder.push(frames[begin : begin + cut])
        chunks += decoded(encoder, restart_after)
    encoder.finish()
    chunks += decoded(encoder, restart_after)
    return np.concatenate(chunks[restart_after:])


# A kernel of 3 with a stride of 3 computes a chunk before the last frame under its strides has arrived.
@pytest.mark.parametrize(("kernel", "stride"), [(3, 3), (2, 4), (1, 3), (5, 2), (9, 1)])
@pytest.mark.parametrize("cut", [1, 2, 7, N_FRAMES])
def test_a_new_segment_starts_at_its_frame_whatever_the_cut(kernel, stride, cut):
    network = network_of(kernel, stride)
    frames = np.random.default_rng(2).normal(size=(N_FRAMES, 2)).astype(np.float32)
    start = 2 * CHUNK * stride
    second = second_segment(network, frames, cut, restart_after=2)
    alone = SegmentEncoder(network, CHUNK)
    alone.push(frames[start:])
    alone.finish()
    np.testing.assert_array_equal(second, np.concatenate(decoded(alone, None)))
