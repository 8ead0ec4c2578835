"""The network of a recurrent transducer in torch."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrot.architecture import Transducer
from sparrot.nn.batch import Batch
from sparrot.nn.network import LayerStack, Network
from sparrot.nn.switching import Switching

_CTC = "layers.output.linear."  # parameters of the last layer of a CtcNetwork


class TransducerNetwork(Network):
    """Features and text to the logits of every node of the lattice; token 0 is the blank.

        logits(t, u) = output · tanh(encoder_t + predictor_u) + bias          (Graves 2012, arXiv 1211.3711)

    dropout: probability of a zero in the output of every recurrent layer while training.
    ctc:     whether the encoder has a CTC output of its own, which only training uses.
    """

    architecture: Transducer

    def __init__(
        self,
        architecture: Transducer,
        dropout: float = 0.0,
        levels: Sequence[str] = ("dense",),
        *,
        ctc: bool = False,
    ) -> None:
        super().__init__()
        self.architecture, self.levels = architecture, tuple(levels)
        self.encoder = LayerStack(architecture.encoder, dropout, levels)
        self.predictor = LayerStack(architecture.predictor, dropout, levels)
        self.output = nn.Linear(architecture.joint_width, architecture.n_tokens)
        self.ctc = nn.Linear(architecture.joint_width, architecture.n_tokens) if ctc else None

    def forward(self, frames: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Batch:
        """Logits of the lattice of a batch of utterances.

        frames, lengths: as `LayerStack.forward` takes them.
        targets:         int64 (batch, longest text), filled up with any; target_lengths: int64 (batch,).
        Returns:         float (batch, n_output_frames, 1 + longest text, n_tokens) and int64 (batch,) output
                         lengths.
        """
        encoded, lengths = self.encoder(frames, lengths)
        return self.join(encoded, self.predict(targets, target_lengths)), lengths

    def encode(self, frames: Tensor, lengths: Tensor, switching: Switching | None = None) -> Batch:
        """What is heard: float (batch, n_output_frames, joint) and int64 (batch,) output lengths."""
        encoded: Batch = self.encoder(frames, lengths, switching and switching.of("encoder"))
        return encoded

    def predict(self, targets: Tensor, target_lengths: Tensor, switching: Switching | None = None) -> Tensor:
        """The predictor after 0, 1, … tokens of the text: float (batch, 1 + longest text, joint).

        switching: as if the tokens were spread evenly over the utterance.
        """
        begun = functional.pad(targets, (1, 0))[:, :, None].float()  # a float holds any token exactly
        predicted: Tensor = self.predictor(
            begun, target_lengths + 1, switching and switching.of("predictor")
        )[0]
        return predicted

    def join(self, encoded: Tensor, predicted: Tensor, switching: Switching | None = None) -> Tensor:
        """Logits (batch, T, U, n_tokens) of what was heard (batch, T, joint) and said (batch, U, joint).

        switching: by what is heard.
        """
        joined = torch.tanh(encoded[:, :, None, :] + predicted[:, None, :, :])
        if switching is not None:
            return switching.of("output").run_framewise(self.output, joined)
        logits: Tensor = self.output(joined)
        return logits

    def exported(self) -> Iterator[tuple[str, Tensor]]:
        """Of the encoder, the predictor and the output."""
        yield from self.encoder.exported()
        yield from self.predictor.exported()
        name = self.architecture.output.name
        yield f"{name}.weight", self.output.weight
        yield f"{name}.bias", self.output.bias

    def start_from(self, state: Mapping[str, Tensor], levels: Sequence[str]) -> None:
        """Takes up the state of a transducer, or of a CTC network with the same encoder.

        Of the latter the last layer becomes the CTC output, if this has one that is fed as wide. A CTC
        output that the state lacks stays as it was drawn.
        """
        if any(name.startswith(_CTC) for name in state):
            state = {_from_ctc(name): value for name, value in state.items()}
        own = self.state_dict()
        known = {
            name: value
            for name, value in self._with_own_levels(state, levels).items()
            if not name.startswith("ctc.") or (name in own and own[name].shape == value.shape)
        }
        drawn = {name: value for name, value in own.items() if not name.startswith("encoder.")}
        self.load_state_dict(drawn | known)


def _from_ctc(name: str) -> str:
    """The name that a CTC network's parameter has in a transducer."""
    return "ctc." + name.removeprefix(_CTC) if name.startswith(_CTC) else f"encoder.{name}"


@torch.no_grad()
def greedy_transcripts(
    network: TransducerNetwork, frames: Tensor, lengths: Tensor, max_symbols: int = 1
) -> list[list[int]]:
    """The best token after each token, frame by frame, for each utterance of a batch.

    max_symbols: most tokens that a frame may emit; after them the next frame's turn comes.

    The predictor starts over after every token: an evaluation's texts are short.
    """
    encoded, lengths = network.encoder(frames, lengths)
    n = len(encoded)
    texts: list[list[int]] = [[] for _ in range(n)]
    predicted = _after(network, texts)
    for t in range(encoded.shape[1]):
        for _ in range(max_symbols):
            best = network.join(encoded[:, t : t + 1], predicted[:, None])[:, 0, 0].argmax(dim=1)
            grown = ((best != 0) & (t < lengths)).nonzero().flatten().tolist()
            if not grown:
                break
            for i in grown:
                texts[i].append(int(best[i]))
            predicted[grown] = _after(network, [texts[i] for i in grown])
    return texts


def _after(network: TransducerNetwork, texts: Sequence[Sequence[int]]) -> Tensor:
    """What the predictor says after whole texts, (batch, joint)."""
    lengths = torch.tensor([len(text) for text in texts], dtype=torch.int64)
    targets = torch.zeros(len(texts), int(lengths.max()), dtype=torch.int64)
    for row, text in zip(targets, texts, strict=True):
        row[: len(text)] = torch.tensor(text)
    predicted = network.predict(targets, lengths)
    return predicted[torch.arange(len(texts)), lengths]
