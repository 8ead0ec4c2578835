"""The network over a stream of frames, started anew where a segment ends."""

from collections.abc import Sequence

from sparrot.engine.frames import Float32, FrameQueue
from sparrot.engine.network import Network, NetworkStream
from sparrot.engine.network import advance as network_advance


class SegmentEncoder:
    """Cuts frames into chunks, and chunks into segments.

    chunk:   feature frames a chunk, G·R.
    start:   feature frame, counted from the stream's first, where the segment starts.
    edge:    feature frame where the next chunk starts. Segments start at edges, so the chunks of a
             stream lie at the multiples of G·R whatever its segments are.

    Frames from the edge on are kept: those that the network has already seen as right context of
    the chunk before are given to it again, as the first frames of a new segment. A chunk may also be
    computed before its last frames arrive, if no output frame looks at them; a segment that starts at
    its end leaves them out.
    """

    def __init__(self, network: Network, chunk_frames: int) -> None:
        self.chunk = chunk_frames * network.architecture.reduction
        self.start = 0
        self.edge = 0
        self._stream = NetworkStream(network, chunk_frames)
        self._frames = FrameQueue(network.architecture.input_width)
        self._finished = False

    def push(self, frames: Float32) -> None:
        """Adds frames (n, input_width)."""
        before_start = max(self.start - self._frames.received, 0)
        self._frames.push(frames)
        self._stream.push(frames[before_start:])

    def finish(self) -> None:
        """Completes the right context of the last frames with zeros."""
        self._stream.finish()
        self._finished = True

    @property
    def ready(self) -> bool:
        """Whether the frames of the next chunk are there."""
        return self._stream.n_ready > 0

    def move_on(self) -> None:
        """Leaves the chunk that was computed behind."""
        self.edge += self.chunk
        self._frames.forget(self.edge)

    def restart(self) -> None:
        """Starts a segment at the edge: every state is zero, as at the start of a training utterance."""
        self.start = self.edge
        self._stream.reset()
        self._stream.push(self._frames.between(self.edge, max(self.edge, self._frames.received)))
        if self._finished:
            self._stream.finish()


def advance(encoders: Sequence[SegmentEncoder], stops: Sequence[int]) -> list[Float32]:
    """Logits (G, n_tokens) of the next chunk of every encoder, each at its own stop; fewer rows at the end.

    All must be `ready`, and of one network; they are stepped together. Each then needs its `move_on`.
    """
    return network_advance([encoder._stream for encoder in encoders], stops)
