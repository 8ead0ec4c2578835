"""Batch norm: frames inside utterances alone, and statistics of each level by themselves."""

import numpy as np
import pytest
import torch
from torch import nn

from architectures import features
from sparrot.architecture import Architecture, BatchNorm, Convolution, Linear, Shape
from sparrot.nn import CtcNetwork
from sparrot.nn import batch_norm as modules
from sparrot.sparsity import BlockShape, CubicSchedule, DynamicSparsity, Levels

LENGTHS = torch.tensor([5, 0, 3])
NORMED = Architecture(3, (Linear("fc", 16), BatchNorm("norm"), Linear("output", 2)))
LEVELS = Levels(large={}, small={"fc": 0.5})


def norm(groups: Shape, levels: tuple[str, ...] = ("dense",)) -> modules.BatchNorm:
    """A module with some γ and β, in float64."""
    torch.manual_seed(1)
    made = modules.BatchNorm(groups, 1e-5, levels)
    for parameter in made.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    return made.double()


def batch(width: int, outside: float, seed: int = 0) -> torch.Tensor:
    """Three utterances of `LENGTHS`, not centred, with a value past their ends."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randn(3, 6, width, generator=generator, dtype=torch.float64) * 2 + 3
    for utterance, length in zip(frames, LENGTHS, strict=True):
        utterance[length:] = outside
    return frames


def inside(frames: torch.Tensor) -> torch.Tensor:
    return torch.cat([utterance[:length] for utterance, length in zip(frames, LENGTHS, strict=True)])


def pruned() -> tuple[CtcNetwork, DynamicSparsity]:
    """A network of which the level `small` drops half of two layers from the first update on."""
    torch.manual_seed(2)
    network = CtcNetwork(NORMED, levels=tuple(LEVELS))
    ramp = {"block": BlockShape(1, 1), "schedule": CubicSchedule(0, 1)}
    sparsity = DynamicSparsity(network, LEVELS, **ramp)
    train(network, sparsity, levels=("large",))
    sparsity.step()
    assert sparsity.drops("small")
    return network, sparsity


def train(network: CtcNetwork, sparsity: DynamicSparsity, levels: tuple[str, ...], seed: int = 0) -> None:
    frames = torch.tensor(features(NORMED, 8, seed))[None]
    for level in levels:
        with sparsity.at(level):
            network(frames, torch.tensor([8]))[0].sum().backward()


@pytest.mark.parametrize("outside", [0.0, 1e6, -1e6])
@pytest.mark.parametrize("groups", [Shape(1, 6), Shape(2, 3)])
def test_the_frames_of_utterances_are_normalised_as_torch_does_it(groups, outside):
    """What stands past the ends of utterances is left out of the statistics."""
    ours, frames = norm(groups), batch(6, outside)
    reference = nn.BatchNorm1d(groups.channels, momentum=1.0).double()  # the first batch counts in full
    reference.load_state_dict({"weight": ours.scale, "bias": ours.shift}, strict=False)
    made, lengths = ours(frames, LENGTHS)
    planes = inside(frames).unflatten(1, (groups.channels, groups.bins))
    torch.testing.assert_close(inside(made), reference(planes).flatten(1))
    torch.testing.assert_close(ours.means[0], reference.running_mean)
    torch.testing.assert_close(ours.variances[0], reference.running_var)
    assert lengths is LENGTHS
    assert torch.isfinite(made).all()


def test_gradients_are_those_of_torch_and_none_comes_from_padding():
    ours, frames = norm(Shape(1, 4)), batch(4, 7.0).requires_grad_()
    reference = nn.BatchNorm1d(4).double()
    reference.load_state_dict({"weight": ours.scale, "bias": ours.shift}, strict=False)
    alone = inside(frames.detach()).requires_grad_()
    weights = torch.randn(8, 4, dtype=torch.float64)
    (inside(ours(frames, LENGTHS)[0]) * weights).sum().backward()
    (reference(alone) * weights).sum().backward()
    torch.testing.assert_close(inside(frames.grad), alone.grad)
    torch.testing.assert_close(ours.scale.grad, reference.weight.grad)
    assert frames.grad.count_nonzero() == alone.grad.count_nonzero()


def test_running_statistics_are_a_mean_at_first_and_then_a_moving_one():
    ours, expected = norm(Shape(1, 4)), torch.zeros(4, dtype=torch.float64)
    for update in range(15):
        frames = batch(4, 0.0, seed=update)
        ours(frames, LENGTHS)
        expected = expected.lerp(inside(frames).mean(0), max(0.1, 1 / (update + 1)))
    torch.testing.assert_close(ours.means[0], expected)


def test_an_evaluation_uses_the_running_statistics_and_leaves_them():
    ours = norm(Shape(2, 2))
    ours(batch(4, 0.0), LENGTHS)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    frames = batch(4, 0.0, seed=3)
    made = ours.eval()(frames, LENGTHS)[0]
    reference = nn.BatchNorm1d(2).double().eval()
    state = {"weight": ours.scale, "bias": ours.shift}
    state |= {"running_mean": ours.means[0], "running_var": ours.variances[0]}
    reference.load_state_dict(state, strict=False)
    torch.testing.assert_close(made, reference(frames.reshape(18, 2, 2)).reshape(3, 6, 4))
    torch.testing.assert_close(ours.state_dict(), before, rtol=0, atol=0)
    exported = ours.export()
    torch.testing.assert_close(
        made, frames * exported["scale"].repeat_interleave(2) + exported["shift"].repeat_interleave(2)
    )


def test_a_batch_without_a_frame_changes_nothing():
    ours = norm(Shape(1, 4))
    made, _ = ours(torch.zeros(2, 3, 4, dtype=torch.float64), torch.tensor([0, 0]))
    assert torch.isfinite(made).all()
    assert ours.n_updates.tolist() == [0]


# levels


def test_a_sparse_level_has_statistics_of_its_own():
    network, sparsity = pruned()
    norms = network.layers["norm"]
    large = norms.means[0].clone()
    train(network, sparsity, levels=("small",), seed=5)
    torch.testing.assert_close(norms.means[0], large, rtol=0, atol=0)
    with sparsity.at("small"), torch.no_grad():
        values, _ = network.layers["fc"](torch.tensor(features(NORMED, 8, 5))[None], torch.tensor([8]))
    torch.testing.assert_close(norms.means[1], values[0].mean(0))
    assert (norms.means[1] - large).abs().max() > 0.1
    network.eval()
    exported, frames = {}, torch.tensor(features(NORMED, 4, 6))[None]
    for level in LEVELS:
        with sparsity.at(level), torch.no_grad():
            exported[level] = network.export()
            normed, _ = norms(network.layers["fc"](frames, torch.tensor([4]))[0], torch.tensor([4]))
            values, _ = network.layers["fc"](frames, torch.tensor([4]))
            scale, shift = (torch.tensor(exported[level][f"norm.{part}"]) for part in ("scale", "shift"))
            expected = values * scale + shift
            torch.testing.assert_close(normed, expected)
    assert not np.array_equal(exported["large"]["norm.scale"], exported["small"]["norm.scale"])


def test_outside_of_levels_and_before_a_level_is_trained_the_statistics_are_the_full_models():
    network, sparsity = pruned()
    large = network.export()
    with sparsity.at("small"):
        np.testing.assert_array_equal(network.export()["norm.shift"], large["norm.shift"])
    train(network, sparsity, levels=("small",))
    np.testing.assert_array_equal(network.export()["norm.shift"], large["norm.shift"])
    with pytest.raises(KeyError), sparsity.at("small"):
        raise KeyError
    np.testing.assert_array_equal(network.export()["norm.shift"], large["norm.shift"])


def test_a_level_without_statistics_is_refused():
    network = CtcNetwork(NORMED, levels=("large",))
    sparsity = DynamicSparsity(network, LEVELS, block=BlockShape(1, 1), schedule=CubicSchedule(0, 1))
    words = "no statistics for level `small`, only for large; make the network with the levels"
    with pytest.raises(ValueError, match=words), sparsity.at("small"):
        pass
    with sparsity.at("large"):
        pass


def test_the_statistics_are_part_of_the_state():
    network, sparsity = pruned()
    train(network, sparsity, levels=("large", "small"))
    other = CtcNetwork(NORMED, levels=tuple(LEVELS))
    other.load_state_dict(network.state_dict())
    for level in LEVELS:
        for module in (network, other):
            module.layers["norm"].use_level(level)
        np.testing.assert_equal(other.export(), network.export())


def test_a_level_that_the_start_did_not_have_begins_with_those_of_its_full_model():
    network, sparsity = pruned()
    train(network, sparsity, levels=("large", "small"))
    other = CtcNetwork(NORMED, levels=("large", "tiny", "small"))
    other.start_from(network.state_dict(), tuple(LEVELS))
    means, found = network.layers["norm"].means, other.layers["norm"].means
    torch.testing.assert_close(found, means[[0, 0, 1]], rtol=0, atol=0)


def test_channels_of_a_convolution_share_a_scale():
    planes = Convolution("planes", 3, kernel=3, kernel_bins=3)
    network = CtcNetwork(Architecture(5, (planes, BatchNorm("norm"), Linear("output", 2))))
    exported = network.export()
    assert exported["norm.scale"].shape == exported["norm.shift"].shape == (3,)


# points between levels


def three_levels() -> modules.BatchNorm:
    """A module whose three levels have seen batches that are not alike."""
    made = norm(Shape(1, 2), ("large", "medium", "small"))
    for seed, level in enumerate(made.levels):
        made.use_level(level)
        made(batch(2, 0.0, seed) * (1 + seed), LENGTHS)
    return made


def test_a_point_between_two_levels_is_normalised_by_the_batch_and_adds_to_no_statistics():
    made = three_levels()
    before = {name: value.clone() for name, value in made.named_buffers()}
    made.use_level(1.25)
    frames = batch(2, 0.0, seed=7)
    normed = inside(made(frames, LENGTHS)[0])
    mean, deviation = inside(frames).mean(0), inside(frames).std(0, correction=0)
    expected = (inside(frames) - mean) / (deviation**2 + 1e-5).sqrt() * made.scale + made.shift
    torch.testing.assert_close(normed, expected)
    assert all(torch.equal(value, before[name]) for name, value in made.named_buffers())


@pytest.mark.parametrize("point", [0.5, 1.25])
def test_the_scale_and_shift_of_a_point_lie_between_those_of_its_levels(point: float):
    made = three_levels().eval()
    exported = {}
    for level in (int(point), int(point) + 1, point):
        made.use_level(level)
        exported[level] = made.export()
    for part in ("scale", "shift"):
        denser, sparser = exported[int(point)][part], exported[int(point) + 1][part]
        expected = denser + (sparser - denser) * (point - int(point))
        torch.testing.assert_close(exported[point][part], expected)
        assert not torch.allclose(denser, sparser)


@pytest.mark.parametrize("point", [-0.5, 2.5, 3.0])
def test_a_point_beyond_the_levels_is_refused(point: float):
    with pytest.raises(ValueError, match=f"no statistics for level `{point}`, only for large, medium, small"):
        three_levels().use_level(point)
