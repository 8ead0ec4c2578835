"""What a network is trained to do: its loss, what a level learns from the full model, what it would write."""

from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias

import torch
from torch import Tensor

from sparrot.architecture import AnyArchitecture, Transducer
from sparrot.nn import CtcNetwork, TransducerNetwork
from sparrot.nn.switching import Switching
from sparrot.nn.transducer import greedy_transcripts
from sparrot.nn.transducer_loss import edge_log_probs, lattice_divergence, transducer_loss
from sparrot.train.config import Config
from sparrot.train.data import Batch
from sparrot.train.loss import ctc_loss, framewise_divergence, greedy_tokens

AnyNetwork: TypeAlias = CtcNetwork | TransducerNetwork


class Heard(Protocol):
    """What a network makes of a batch, as far as losses need it."""

    def loss(self, batch: Batch) -> Tensor:
        """−log p(text | speech) of each utterance, in nats: float (batch,)."""
        ...

    def divergence(self, teacher: Self) -> Tensor:
        """KL(teacher ‖ this) of each utterance, in nats: float (batch,); no gradient flows to the teacher."""
        ...

    def detached(self) -> Self:
        """The same without its graph."""
        ...


@dataclass(frozen=True, eq=False)
class CtcHeard:
    """Logits (batch, n_frames, n_tokens) and their lengths (batch,)."""

    logits: Tensor
    lengths: Tensor

    def loss(self, batch: Batch) -> Tensor:
        """Infinite where an utterance is too short for its text."""
        return ctc_loss(self.logits, self.lengths, batch.targets, batch.target_lengths)

    def divergence(self, teacher: "CtcHeard") -> Tensor:
        """Summed over frames."""
        return framewise_divergence(self.logits, teacher.logits, self.lengths)

    def detached(self) -> "CtcHeard":
        """The same without its graph."""
        return CtcHeard(self.logits.detach(), self.lengths)


@dataclass(frozen=True, eq=False)
class TransducerHeard:
    """The log-probabilities of a lattice's edges, and what the CTC output says if it has a share.

    edges: float (batch, n_frames, 1 + longest text, 2), blank and next token.
    """

    edges: Tensor
    lengths: Tensor
    target_lengths: Tensor
    ctc: CtcHeard | None
    ctc_share: float

    def loss(self, batch: Batch) -> Tensor:
        """(1 − share) · transducer + share · CTC (after Hori et al. 2017)."""
        loss = transducer_loss(self.edges, self.lengths, self.target_lengths)
        return loss if self.ctc is None else torch.lerp(loss, self.ctc.loss(batch), self.ctc_share)

    def divergence(self, teacher: "TransducerHeard") -> Tensor:
        """Over {blank, next token, rest}, summed over the lattice's nodes; CTC's has its share."""
        divergence = lattice_divergence(self.edges, teacher.edges, self.lengths, self.target_lengths)
        if self.ctc is None or teacher.ctc is None:
            return divergence
        return torch.lerp(divergence, self.ctc.divergence(teacher.ctc), self.ctc_share)

    def detached(self) -> "TransducerHeard":
        """The same without its graph."""
        ctc = None if self.ctc is None else self.ctc.detached()
        return TransducerHeard(self.edges.detach(), self.lengths, self.target_lengths, ctc, self.ctc_share)


def hear(
    network: AnyNetwork, batch: Batch, ctc_share: float = 0.0, switching: Switching | None = None
) -> CtcHeard | TransducerHeard:
    """What a network makes of a batch. A CTC network makes no use of `ctc_share`."""
    if isinstance(network, CtcNetwork):
        return CtcHeard(*network(batch.frames, batch.lengths, switching))
    encoded, lengths = network.encode(batch.frames, batch.lengths, switching)
    predicted = network.predict(batch.targets, batch.target_lengths, switching)
    logits = network.join(encoded, predicted, switching)
    edges = edge_log_probs(logits, batch.targets, lengths, batch.target_lengths)
    ctc = None if network.ctc is None or ctc_share == 0.0 else CtcHeard(network.ctc(encoded), lengths)
    return TransducerHeard(edges, lengths, batch.target_lengths, ctc, ctc_share)


def transcripts(network: AnyNetwork, batch: Batch, heard: CtcHeard | TransducerHeard) -> list[list[int]]:
    """What greedy decoding writes, for each utterance; heard: what the network made of the batch."""
    if isinstance(heard, CtcHeard):
        return greedy_tokens(heard.logits, heard.lengths)
    assert isinstance(network, TransducerNetwork)
    return greedy_transcripts(network, batch.frames, batch.lengths)


def build_network(architecture: AnyArchitecture, config: Config, levels: tuple[str, ...]) -> AnyNetwork:
    """The network of a run, with weights as torch draws them."""
    if isinstance(architecture, Transducer):
        has_ctc = config.training.ctc_share > 0.0
        return TransducerNetwork(architecture, config.dropout, levels, ctc=has_ctc)
    return CtcNetwork(architecture, config.dropout, levels)
