"""What one update did."""

from dataclasses import dataclass

from sparrot.sparsity import MaskUpdate


@dataclass(frozen=True)
class Pass:
    """What the pass of one level found, in nats a token.

    loss:          what was minimised: (1 − a) · task + a · divergence, or the task's loss alone.
    task:          −log p(text | speech), by CTC, by the transducer, or shared between them.
    divergence:    from the full model; None where nobody teaches.
    gradient_norm: ℓ2 norm of the pass's own gradient, before clipping.
    """

    loss: float
    task: float
    divergence: float | None
    gradient_norm: float


@dataclass(frozen=True)
class Update:
    """What one update did: its passes by level, and what happened to the masks."""

    passes: dict[str, Pass]
    masks: list[MaskUpdate]
    rate: float

    @property
    def losses(self) -> dict[str, float]:
        """What was minimised, by level."""
        return {level: found.loss for level, found in self.passes.items()}
