"""Where output frames lie in the audio, and how long a stream waits before it decodes them."""

from dataclasses import dataclass

from sparrot.architecture import AnyArchitecture
from sparrot.audio import Seconds
from sparrot.features import FeatureConfig


@dataclass(frozen=True)
class FrameClock:
    """Turns output frames into seconds.

        t(j) = (segment + j·R)·hop + centre − emission delay of the level

    hop:       between feature frames.
    reduction: R, feature frames an output frame.
    centre:    of what output frame 0 sees, after the first sample of feature frame 0: half a window
               plus half of what the layers see more to the right than to the left. Stacking by f
               moves it by (f − 1)/2 hops, a centred convolution by nothing.
    """

    hop: Seconds
    reduction: int
    centre: Seconds

    @classmethod
    def of(cls, architecture: AnyArchitecture, features: FeatureConfig) -> "FrameClock":
        """The clock of a model."""
        shift, stride = 0.0, 1
        for layer in architecture.encoder.layers:
            reach = layer.reach()
            shift += stride * (reach.right - reach.left) / 2
            stride *= reach.stride
        hop = 1 / features.frame_rate_hz
        return cls(hop, architecture.reduction, features.frame_centre_s + shift * hop)

    @property
    def frame(self) -> Seconds:
        """Between output frames, R·hop: the resolution of every time."""
        return self.reduction * self.hop

    def time(self, segment: int, output_frame: int, delay: Seconds) -> Seconds:
        """When a token was said that a level emits `delay` late; never before the stream's first sample.

        segment: feature frame of the stream at which the token's segment starts.
        """
        return max(0.0, (segment + output_frame * self.reduction) * self.hop + self.centre - delay)


@dataclass(frozen=True)
class Latency:
    """How long after a sound its tokens can be known at the latest, computing time apart.

    resampler:     the most that the resampler ever holds back; 0 for audio at the model's own rate.
    window:        one analysis window.
    right_context: later frames that an output frame sees beyond its own R.
    chunk:         G·R·hop.
    """

    resampler: Seconds
    window: Seconds
    right_context: Seconds
    chunk: Seconds

    @property
    def total(self) -> Seconds:
        """Their sum."""
        return self.resampler + self.window + self.right_context + self.chunk

    @classmethod
    def of(cls, architecture: AnyArchitecture, features: FeatureConfig, chunk_frames: int) -> "Latency":
        """The latency of a model for audio at its own rate."""
        hop = 1 / features.frame_rate_hz
        beyond = max(0, architecture.lookahead - (architecture.reduction - 1))
        window = 0.0 if features.kind == "given" else 2 * features.frame_centre_s
        return cls(0.0, window, beyond * hop, chunk_frames * architecture.reduction * hop)
