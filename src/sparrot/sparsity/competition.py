"""Which blocks compete with each other, and how many of them a level keeps."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from sparrot.sparsity.blocks import BlockGrid
from sparrot.sparsity.levels import Levels
from sparrot.sparsity.masks import BlockMask
from sparrot.sparsity.ranking import Scope, joint_best, joint_ranks, n_kept
from sparrot.sparsity.targets import Target


@dataclass(frozen=True, eq=False)
class Competition:
    """The matrices of a model in groups within which blocks are ranked: of a matrix, of a type, or all.

    Raises ValueError if a level would leave nothing of a matrix.
    """

    targets: list[Target]
    grids: Mapping[str, BlockGrid]
    levels: Levels
    scope: Scope

    def __post_init__(self) -> None:
        for level in self.levels.sparse:
            for group in self.groups():
                self._require_blocks(group, level)

    def groups(self) -> list[list[Target]]:
        """Matrices whose blocks compete with each other."""
        if self.scope == "matrix":
            return [[target] for target in self.targets]
        if self.scope == "type":
            kinds = dict.fromkeys(target.type for target in self.targets)
            return [[target for target in self.targets if target.type == kind] for kind in kinds]
        return [self.targets] if self.targets else []

    def ranked(
        self, scores: Mapping[str, Tensor], tiers: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The rank of every block within its group, as `joint_ranks`."""
        return joint_ranks(scores, [[target.name for target in group] for group in self.groups()], tiers)

    def chosen(self, scores: Mapping[str, Tensor], level: str) -> dict[str, Tensor]:
        """Which blocks a level keeps at its full sparsity, as `best` of `ranked`, found without sorting."""
        groups = self.groups()
        wanted = [self._n_kept(group, level, 1.0) for group in groups]
        return joint_best(scores, [[target.name for target in group] for group in groups], wanted)

    def best(self, ranked: Mapping[str, Tensor], level: str, share: float) -> dict[str, BlockMask]:
        """The masks that keep the best blocks of every group, at a share of a level's sparsity."""
        wanted = {t.name: self._n_kept(group, level, share) for group in self.groups() for t in group}
        return {
            name: BlockMask((ranked[name] < wanted[name]).cpu(), grid) for name, grid in self.grids.items()
        }

    def is_reached(self, masks: Mapping[str, BlockMask], level: str) -> bool:
        """Whether masks drop all that a level asks for."""
        return all(
            sum(masks[target.name].n_kept for target in group) == self._n_kept(group, level, 1.0)
            for group in self.groups()
        )

    def _n_kept(self, group: list[Target], level: str, share: float) -> int:
        """Blocks that a group keeps: what its layer types would keep, each at its own sparsity."""
        blocks: dict[str, int] = {}
        for target in group:
            blocks[target.type] = blocks.get(target.type, 0) + self.grids[target.name].n_blocks
        targets = self.levels[level]
        return sum(n_kept(n, share * targets.get(kind, 0.0)) for kind, n in blocks.items())

    def _require_blocks(self, group: list[Target], level: str) -> None:
        wanted = self._n_kept(group, level, 1.0)
        if wanted < len(group):
            names = ", ".join(f"`{target.name}`" for target in group)
            n_blocks = sum(self.grids[target.name].n_blocks for target in group)
            raise ValueError(
                f"level `{level}` would keep {wanted} of the {n_blocks} blocks of {names}, and every "
                "matrix needs one: lower its sparsity, take smaller blocks, or exclude the matrix"
            )
