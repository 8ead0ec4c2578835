"""Architectures that are refused, and those next to them that are not."""

import json

import pytest

from sparrot.architecture import (
    Architecture,
    BatchNorm,
    Convolution,
    Embedding,
    LayerNorm,
    Linear,
    Recurrent,
    Shape,
    SharedRnn,
    Window,
)


@pytest.mark.parametrize(("input_width", "names"), [(0, "a"), (1, "")])
def test_it_has_an_input_and_a_layer(input_width, names):
    with pytest.raises(ValueError, match=rf"an input value and a layer at least; got {input_width} and \["):
        Architecture(input_width, tuple(Linear(name, 2) for name in names))


def test_no_two_layers_have_the_same_name():
    for layers in ((Linear("a", 2), Linear("a", 3)), (Window("a", 0, 1), LayerNorm("a"))):
        with pytest.raises(ValueError, match="has two layers named `a`; rename a layer"):
            Architecture(3, layers)


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        (Recurrent("a.reverse", "rnn", 2), r"a\.reverse\.input"),
        (Recurrent("a.reverse", "gru", 3, bidirectional=True), r"a\.reverse\.input"),
        (Linear("a.reverse", 2), r"a\.reverse\.bias"),
    ],
)
def test_no_two_parameters_have_the_same_name(other, shared):
    both = Recurrent("a", "rnn", 2, bidirectional=True)
    for layers in ((both, other), (other, both)):
        with pytest.raises(ValueError, match=rf"has two parameters named `{shared}`; rename a layer"):
            Architecture(3, layers)


def test_layers_may_be_named_alike_if_their_parameters_are_not():
    Architecture(3, (Recurrent("a", "rnn", 2), Recurrent("a.reverse", "rnn", 2)))
    Architecture(3, (Recurrent("a", "rnn", 2, bidirectional=True), LayerNorm("a.reverse")))


@pytest.mark.parametrize("stride_bins", [1, 2])
@pytest.mark.parametrize("kernel_bins", [2, 4])
def test_a_kernel_too_wide_for_its_bins_is_refused(kernel_bins, stride_bins):
    over = Convolution("planes", 3, kernel=1, kernel_bins=kernel_bins, stride_bins=stride_bins)
    words = "layer `planes` makes an empty matrix of 1 bin; choose an odd kernel_bins"
    for layers in ((over, Linear("output", 2)), (over,)):
        with pytest.raises(ValueError, match=words):
            Architecture(1, layers)
    with pytest.raises(ValueError, match=words):
        Architecture(7, (Linear("first", 1), over))
    assert Architecture(2, (over,)).shapes()[-1] == Shape(1, 3)


def test_an_odd_kernel_is_never_too_wide():
    assert Architecture(1, (Convolution("planes", 3, kernel=1, kernel_bins=5),)).shapes()[-1] == Shape(1, 3)


def test_tokens_are_looked_up_first_and_one_at_a_time():
    table = Embedding("table", 5, 3)
    with pytest.raises(ValueError, match="takes one index a frame; it is given 2"):
        Architecture(2, (table,))
    with pytest.raises(ValueError, match="`table` looks tokens up, which only a first layer can do"):
        Architecture(4, (Linear("a", 1), table))
    assert Architecture(1, (table, Linear("a", 2))).n_indices == 5
    assert Architecture(1, (Linear("a", 2),)).n_indices is None
    with pytest.raises(ValueError, match="layer `table`: tokens cannot be 16777217"):
        Embedding("table", 2**24 + 1, 3)


def test_a_summed_rnn_needs_an_activation_that_bends():
    with pytest.raises(ValueError, match="layer `a`: activation cannot be 'identity'"):
        SharedRnn("a", 3, activation="identity")
    described = Architecture(3, (SharedRnn("a", 3, False, "relu"), Linear("b", 2)))
    assert Architecture.from_json(json.loads(json.dumps(described.to_json()))) == described


def test_batch_norm_has_a_scale_for_each_channel_or_for_each_value_of_a_single_one():
    planes = Convolution("planes", 3, kernel=1, kernel_bins=3)
    architecture = Architecture(5, (BatchNorm("a"), planes, BatchNorm("b"), Linear("c", 4), BatchNorm("d")))
    sizes = {vector.name: vector.size for vector in architecture.vectors() if vector.by_level}
    assert sizes == {"a.scale": 5, "a.shift": 5, "b.scale": 3, "b.shift": 3, "d.scale": 4, "d.shift": 4}
    assert architecture.shapes()[2:4] == [Shape(5, 3), Shape(5, 3)]


def test_json_gives_the_same_architecture():
    layers = (
        Convolution("planes", 2, 3, kernel_bins=3),
        Recurrent("a", "lstm", 4, projection=2),
        Linear("b", 2),
    )
    given = Architecture(5, layers)
    assert Architecture.from_json(json.loads(json.dumps(given.to_json()))) == given


@pytest.mark.parametrize("given", [True, 3.0, "3", None, [3]])
def test_a_size_that_is_no_whole_number_is_refused(given):
    layer = {"kind": "linear", "name": "a", "size": 2}
    with pytest.raises(ValueError, match="`input_width` must be a whole number"):
        Architecture.from_json({"input_width": given, "layers": [layer]})
    with pytest.raises(ValueError, match="field `size` of a linear layer cannot be "):
        Architecture.from_json({"input_width": 3, "layers": [layer | {"size": given}]})


@pytest.mark.parametrize("kind", [[], {}, ["linear"], None, 1, True, "attention", ""])
def test_a_kind_that_is_no_layer_is_refused(kind):
    described = {"input_width": 3, "layers": [{"kind": kind, "name": "a", "size": 2}]}
    with pytest.raises(ValueError, match=r"`kind` must be one of window, convolution, .*; got"):
        Architecture.from_json(described)
