import pytest

from sparrot.architecture import BatchNorm, Convolution, LayerNorm, Linear, Recurrent, SharedRnn, Window
from sparrot.nn import Encoder, Front, build_architecture


@pytest.mark.parametrize(
    ("front", "layers"),
    [
        (Front(), ()),
        (Front("context", frames=3, stride=2), (Window("context", 3, 3, 2),)),
        (Front("stack", frames=3, stride=2), (Window("stack", 0, 2, 2),)),
        (
            Front("deepspeech2", channels=32),
            (
                Convolution("conv0", 32, 11, 2, kernel_bins=41, stride_bins=2),
                Convolution("conv1", 32, 11, 1, kernel_bins=21, stride_bins=2),
            ),
        ),
        (
            Front("convolution", frames=11, stride=2, channels=7),
            (Convolution("conv0", 7, kernel=11, stride=2, activation="relu"),),
        ),
    ],
)
def test_the_front_comes_first(front, layers):
    built = build_architecture(5, front, Encoder(layers=1, cells=4), 3)
    assert built.layers == (*layers, Recurrent("lstm0", "lstm", 4), Linear("output", 3))
    assert (built.input_width, built.n_tokens) == (5, 3)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"frames": 5, "stride": 3}, "kind none makes no use of `frames`, `stride`; leave that out"),
        ({"channels": 7}, "kind none makes no use of `channels`"),
        ({"kind": "context", "frames": 3, "channels": 7}, "kind context makes no use of `channels`"),
        ({"kind": "stack", "stride": 3, "channels": 7}, "kind stack makes no use of `channels`"),
    ],
)
def test_a_front_refuses_what_it_would_ignore(wrong, named):
    with pytest.raises(ValueError, match=named):
        Front(**wrong)


@pytest.mark.parametrize("kind", ["none", "context", "stack", "convolution", "deepspeech2"])
def test_a_front_takes_defaults_that_it_does_not_use(kind):
    assert Front(kind, frames=1, stride=1, channels=256) == Front(kind)


def test_every_part_of_an_encoder_is_in_its_place():
    encoder = Encoder(
        "gru",
        layers=2,
        cells=6,
        bidirectional=True,
        layer_norm=True,
        reduce_after=1,
        fc=(9, 8),
        activation="tanh",
    )
    assert build_architecture(5, Front(), encoder, 3).layers == (
        Recurrent("gru0", "gru", 6, bidirectional=True),
        LayerNorm("norm0"),
        Window("reduction", 0, 1, 2),
        Recurrent("gru1", "gru", 6, bidirectional=True),
        LayerNorm("norm1"),
        Linear("fc0", 9, "tanh"),
        Linear("fc1", 8, "tanh"),
        Linear("output", 3),
    )
    projected = build_architecture(5, Front(), Encoder(layers=1, cells=6, projection=2), 3)
    assert projected.layers[0] == Recurrent("lstm0", "lstm", 6, projection=2)


def test_batch_norm_follows_whatever_has_weights_but_the_output():
    encoder = Encoder("rnn", layers=2, cells=6, batch_norm=True, reduce_after=1, fc=(9,))
    front = Front("convolution", frames=3, channels=7)
    assert build_architecture(5, front, encoder, 3).layers == (
        Convolution("conv0", 7, kernel=3, activation="relu"),
        BatchNorm("conv0_norm"),
        Recurrent("rnn0", "rnn", 6),
        BatchNorm("norm0"),
        Window("reduction", 0, 1, 2),
        Recurrent("rnn1", "rnn", 6),
        BatchNorm("norm1"),
        Linear("fc0", 9, "clipped_relu"),
        BatchNorm("fc0_norm"),
        Linear("output", 3),
    )
    stacked = build_architecture(5, Front("stack", frames=2), Encoder(layers=1, batch_norm=True), 3)
    assert [layer.name for layer in stacked.layers] == ["stack", "lstm0", "norm0", "output"]


def test_summed_directions_share_a_layer_that_has_its_norm_inside():
    encoder = Encoder("rnn", layers=2, cells=6, bidirectional=True, summed=True, batch_norm=True)
    assert build_architecture(5, Front(), encoder, 3).layers == (
        SharedRnn("rnn0", 6),
        SharedRnn("rnn1", 6),
        Linear("output", 3),
    )
    plain = Encoder("rnn", 1, 6, bidirectional=True, summed=True, layer_norm=True, activation="tanh")
    assert build_architecture(5, Front(), plain, 3).layers == (
        SharedRnn("rnn0", 6, False, "tanh"),
        LayerNorm("norm0"),
        Linear("output", 3),
    )


@pytest.mark.parametrize(
    "wrong",
    [{"cell": "lstm", "bidirectional": True}, {"cell": "rnn"}, {"cell": "gru", "bidirectional": True}],
)
def test_only_a_bidirectional_rnn_is_summed(wrong):
    with pytest.raises(ValueError, match="with `summed`, set cell to rnn and bidirectional to true"):
        Encoder(summed=True, **wrong)


def test_an_encoder_has_one_norm():
    with pytest.raises(ValueError, match="has one norm: choose layer_norm or batch_norm"):
        Encoder(layer_norm=True, batch_norm=True)


@pytest.mark.parametrize("wrong", [{"layers": 0}, {"layers": 2, "reduce_after": 3}, {"reduce_after": 0}])
def test_an_encoder_reduces_time_after_a_layer_it_has(wrong):
    with pytest.raises(ValueError, match="at least one layer, and reduces time after one it has; got"):
        Encoder(**wrong)
