"""The configuration of a language model."""

from pydantic import Field, model_validator

from sparrot.train.pruning_config import PruningConfig
from sparrot.train.section import Section
from sparrot.train.sparsity_config import SparsityConfig

_TYPES = ("embedding", "fc", "lstm")


class LmDataConfig(Section):
    """Texts: UTF-8, a sentence a line, words with spaces between them."""

    train: str
    valid: str
    test: dict[str, str] = Field(default={}, description="Name → text, for one last look.")
    vocabulary: int | None = Field(
        default=None,
        ge=2,
        description="Most tokens that there may be; null, every word of the training text.",
    )


class LmConfig(Section):
    """One language model; the defaults are the small one of Zaremba et al. 2014."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    seed: int = Field(default=1, ge=0, le=(1 << 63) - 1)
    licence: str = Field(default="unspecified", min_length=1, description="Of the weights.")
    data: LmDataConfig
    cells: int = Field(default=200, ge=1)
    layers: int = Field(default=2, ge=1)
    embedding: int | None = Field(default=None, ge=1, description="Width of the embedding; null, as `cells`.")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="In what enters and leaves every layer, not between steps."
    )
    initial: float = Field(default=0.1, gt=0, description="Parameters begin evenly between ± this.")
    steps: int = Field(default=20, ge=1, description="Words that gradients flow back through.")
    batch: int = Field(default=20, ge=1, description="Stretches of the text that are trained side by side.")
    learning_rate: float = Field(default=1.0, gt=0, description="Of SGD.")
    constant_epochs: int = Field(default=4, ge=0, description="Epochs before the rate begins to fall.")
    decay: float = Field(default=0.5, gt=0, le=1, description="Factor of the rate, every later epoch.")
    clip_norm: float = Field(default=5.0, gt=0, description="Largest norm of the gradient.")
    epochs: int = Field(default=13, ge=1)
    sparsity: SparsityConfig | None = None
    pruning: PruningConfig | None = None
    init_from: str | None = Field(default=None, description="Run folder or checkpoint to start from.")
    checkpoint_minutes: float = Field(default=5.0, gt=0)
    threads: int | None = Field(default=None, ge=1, description="Threads of torch; null = torch's choice.")

    @model_validator(mode="after")
    def _fits_together(self) -> "LmConfig":
        if self.sparsity is not None and self.pruning is not None:
            raise ValueError(
                "`sparsity` trains one model at many levels, and `pruning` makes it sparse for good: leave "
                "one out"
            )
        if self.sparsity is not None and self.sparsity.switching is not None:
            raise ValueError(
                "`switching` changes levels inside utterances, of which a text has none; leave it out"
            )
        pruned: set[str] = set()
        if self.sparsity is not None:
            pruned = {kind for targets in self.sparsity.levels.values() for kind in targets}
        if self.pruning is not None:
            pruned = set(self.pruning.sparsity)
        unknown = sorted(pruned - set(_TYPES))
        if unknown:
            raise ValueError(
                f"there are no {', '.join(unknown)} layers to prune; the network has {', '.join(_TYPES)}"
            )
        pruning = self.pruning
        needs_dense = pruning is not None and pruning.method == "threshold" and pruning.dense is None
        if needs_dense and self.init_from is None:
            raise ValueError(
                "a threshold takes its slopes from a dense model: name its run in `pruning.dense`, or start "
                "from it with `init_from`"
            )
        return self

    def rate(self, epoch: int) -> float:
        """The learning rate in an epoch, the first being 0."""
        return self.learning_rate * self.decay ** max(epoch + 1 - self.constant_epochs, 0)
