"""The network over a stream of frames, started anew where a segment ends."""

from sparrot.architecture import Architecture
from sparrot.engine.frames import Float32, FrameQueue
from sparrot.engine.network import Network, NetworkStream


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

    def __init__(self, architecture: Architecture, chunk_frames: int) -> None:
        self.chunk = chunk_frames * architecture.reduction
        self.start = 0
        self.edge = 0
        self._stream = NetworkStream(architecture, chunk_frames)
        self._frames = FrameQueue(architecture.input_width)
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

    def advance(self, network: Network) -> Float32 | None:
        """Logits (G, n_tokens) of the next chunk, fewer at the end; None if its frames are not there."""
        logits = self._stream.advance(network)
        if logits is not None:
            self.edge += self.chunk
            self._frames.forget(self.edge)
        return logits

    def restart(self) -> None:
        """Starts a segment at the edge: every state is zero, as at the start of a training utterance."""
        self.start = self.edge
        self._stream.reset()
        self._stream.push(self._frames.between(self.edge, max(self.edge, self._frames.received)))
        if self._finished:
            self._stream.finish()
