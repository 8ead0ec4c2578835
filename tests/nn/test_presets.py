"""The networks of the papers have the sizes that were published."""

from collections import Counter
from math import floor

import pytest

from sparrot.architecture import AnyArchitecture
from sparrot.nn.language import language_architecture
from sparrot.nn.presets import PRESETS
from sparrot.sparsity import BlockGrid, BlockShape

LEVELS = {"large": {}, "medium": {"lstm": 0.7}, "small": {"lstm": 0.9, "fc": 0.5}}


def weights_by_type(architecture: AnyArchitecture) -> Counter[str]:
    weights: Counter[str] = Counter()
    for matrix in architecture.matrices():
        weights[matrix.type] += matrix.size
    return weights


def parameters(architecture: AnyArchitecture, sparsity: dict[str, float]) -> int:
    """Parameters left when exact-k masks of 16×1 blocks have dropped their share of every matrix."""
    left = sum(vector.size for vector in architecture.vectors())
    for matrix in architecture.matrices():
        n_blocks = BlockGrid(matrix.rows, matrix.columns, BlockShape(16, 1), matrix.gates).n_blocks
        kept = floor(n_blocks * (1 - sparsity.get(matrix.type, 0.0)) + 0.5)
        left += round(matrix.size * kept / n_blocks)
    return left


def test_the_transducer_of_the_slides_has_its_published_size_at_every_level():
    architecture = PRESETS["rnnt-122m"].architecture()
    assert weights_by_type(architecture) == {"lstm": 117_964_800, "fc": 2_621_440, "embedding": 1_310_720}
    for level, published in {"large": 122.2e6, "medium": 39.6e6, "small": 14.6e6}.items():
        assert parameters(architecture, LEVELS[level]) == pytest.approx(published, rel=0.01)
    assert architecture.reduction == 6
    encoder = sum(matrix.size for matrix in architecture.encoder.matrices())
    assert encoder == pytest.approx(97.0e6, rel=0.001)


def test_the_network_of_the_poster_has_its_published_size():
    architecture = PRESETS["deepspeech-122m"].architecture()
    weights = weights_by_type(architecture)
    assert weights["lstm"] == pytest.approx(100.70e6, rel=1e-3)
    assert parameters(architecture, {}) == pytest.approx(122.75e6, rel=1e-3)
    assert not architecture.streaming


@pytest.mark.parametrize(("name", "published"), [("ds2-birnn-67m", 67.36e6), ("ds2-gru-115m", 114.93e6)])
def test_the_networks_of_block_sparsity_have_their_published_weights(name, published):
    """All but those of the convolutions and of the CTC layer, which nobody prunes."""
    architecture = PRESETS[name].architecture()
    prunable = sum(m.size for m in architecture.matrices() if m.type != "conv" and m.name != "output.weight")
    exact = {"ds2-birnn-67m": 1760 * 1312 + 21 * 1760**2, "ds2-gru-115m": 7680 * (3872 + 2 * 5120) + 2560**2}
    assert prunable == exact[name]
    assert prunable == pytest.approx(published, rel=1e-4)
    widths = [shape.width for shape in architecture.shapes()]
    assert 1312 in widths
    assert architecture.reduction == 2


def test_the_language_model_of_block_sparsity_has_its_published_weights():
    """The table and the last layer have a row more, of the token that is no word."""
    weights = weights_by_type(language_architecture(1 + 10_000, 1500, 1500, 2))
    assert weights == {"embedding": 1500 * 10_001, "lstm": 2 * 6000 * 3000, "fc": 1500 * 10_001}
    assert weights.total() == pytest.approx(66.0e6, rel=1e-4)
