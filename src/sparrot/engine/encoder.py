"""The network over a stream of frames, started anew where a segment ends."""

import numpy as np
from numpy.typing import NDArray

from sparrot.architecture import Architecture
from sparrot.engine.network import Network, NetworkStream

Frames = NDArray[np.float32]


class SegmentEncoder:
    """Cuts frames into chunks, and chunks into segments.

    chunk:   feature frames a chunk, G·R.
    start:   feature frame, counted from the stream's first, where the segment starts.
    edge:    feature frame where the next chunk starts. Segments start at edges, so the chunks of a
             stream lie at the multiples of G·R whatever its segments are.

    Frames from the edge on are kept: those that the network has already seen as right context of
    the chunk before are given to it again, as the first frames of a new segment.
    """

    def __init__(self, architecture: Architecture, chunk_frames: int) -> None:
        self.chunk = chunk_frames * architecture.reduction
        self.start = 0
        self.edge = 0
        self._stream = NetworkStream(architecture, chunk_frames)
        self._ahead = np.zeros((0, architecture.input_width), np.float32)
        self._finished = False

    def push(self, frames: Frames) -> None:
        """Adds frames (n, input_width)."""
        self._stream.push(frames)
        self._ahead = np.concatenate([self._ahead, frames])

    def finish(self) -> None:
        """Completes the right context of the last frames with zeros."""
        self._stream.finish()
        self._finished = True

    def advance(self, network: Network) -> Frames | None:
        """Logits (G, n_tokens) of the next chunk, fewer at the end; None if its frames are not there."""
        logits = self._stream.advance(network)
        if logits is not None:
            self._ahead = self._ahead[self.chunk :]
            self.edge += self.chunk
        return logits

    def restart(self) -> None:
        """Starts a segment at the edge: every state is zero, as at the start of a training utterance."""
        self.start = self.edge
        self._stream.reset()
        self._stream.push(self._ahead)
        if self._finished:
            self._stream.finish()
