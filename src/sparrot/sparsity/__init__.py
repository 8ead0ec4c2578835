"""Block sparsity for any PyTorch training loop; knows only torch and itself."""

from sparrot.sparsity.blocks import BlockGrid as BlockGrid
from sparrot.sparsity.blocks import BlockShape as BlockShape
from sparrot.sparsity.criteria import Criterion as Criterion
from sparrot.sparsity.criteria import Evidence as Evidence
from sparrot.sparsity.criteria import Magnitude as Magnitude
from sparrot.sparsity.criteria import WeightChange as WeightChange
from sparrot.sparsity.criteria import WeightGradient as WeightGradient
from sparrot.sparsity.criteria import WeightGradientSum as WeightGradientSum
from sparrot.sparsity.dynamic import DynamicSparsity as DynamicSparsity
from sparrot.sparsity.dynamic import MaskUpdate as MaskUpdate
from sparrot.sparsity.levels import Level as Level
from sparrot.sparsity.levels import Levels as Levels
from sparrot.sparsity.masks import BlockMask as BlockMask
from sparrot.sparsity.options import DynamicOptions as DynamicOptions
from sparrot.sparsity.path import Path as Path
from sparrot.sparsity.ramps import Ramps as Ramps
from sparrot.sparsity.ranking import joint_ranks as joint_ranks
from sparrot.sparsity.ranking import n_kept as n_kept
from sparrot.sparsity.ranking import ranks as ranks
from sparrot.sparsity.schedules import CubicSchedule as CubicSchedule
from sparrot.sparsity.targets import Target as Target
from sparrot.sparsity.targets import prunable_matrices as prunable_matrices
