"""The networks of the papers, at full size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sparrot.architecture import AnyArchitecture
from sparrot.nn.builder import Encoder, Front, Predictor, build_architecture


@dataclass(frozen=True)
class Preset:
    """What `build_architecture` needs, and the features that it is meant for.

    input_width: values of a feature frame.
    n_tokens:    the blank included.
    """

    input_width: int
    front: Front
    encoder: Encoder
    n_tokens: int
    predictor: Predictor | None = None

    def architecture(self) -> AnyArchitecture:
        """The layers."""
        return build_architecture(self.input_width, self.front, self.encoder, self.n_tokens, self.predictor)


PRESETS: Final[Mapping[str, Preset]] = {
    # Wu et al. 2021, "Dynamic Sparsity Neural Networks for Automatic Speech Recognition": its parts follow
    # from the totals, 122.2, 39.6 and 14.6 million parameters at the three levels; how they are divided
    # is our choice. 80 log-mel values at 16 kHz, four frames stacked, one every 30 ms, then every 60 ms.
    "rnnt-122m": Preset(
        input_width=80,
        front=Front("stack", frames=4, stride=3),
        encoder=Encoder("lstm", layers=8, cells=2048, projection=640, layer_norm=True, reduce_after=2),
        n_tokens=4096,
        predictor=Predictor(
            "lstm", embedding=320, layers=2, cells=2048, projection=640, layer_norm=True, joint=640
        ),
    ),
    # The network that the poster "Achieving Nothing" prunes, as its authors' company published it: 26 MFCC of
    # 25 ms every 20 ms, nine frames to either side.
    "deepspeech-122m": Preset(
        input_width=26,
        front=Front("context", frames=9),
        encoder=Encoder(
            "lstm", layers=1, cells=2048, bidirectional=True, input_fc=(2048, 2048, 4096), fc=(2048,)
        ),
        n_tokens=29,
    ),
    # Narang, Undersander and Diamos 2017, "Block-Sparse Recurrent Neural Networks": the parts follow from
    # "38270 neurons" = 1312 + 21 · 1760 and 67 million weights. 161 bins of a spectrogram, characters.
    "ds2-birnn-67m": Preset(
        input_width=161,
        front=Front("deepspeech2", channels=32),
        encoder=Encoder(
            "rnn", layers=7, cells=1760, bidirectional=True, summed=True, batch_norm=True, fc=(1760,)
        ),
        n_tokens=29,
    ),
    "ds2-gru-115m": Preset(
        input_width=161,
        front=Front("deepspeech2", channels=32),
        encoder=Encoder("gru", layers=3, cells=2560, batch_norm=True, fc=(2560,)),
        n_tokens=29,
    ),
}
