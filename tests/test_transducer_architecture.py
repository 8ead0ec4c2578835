"""Transducers that are refused, and those next to them that are not."""

import json
from dataclasses import replace

import pytest

from sparrot.architecture import (
    Architecture,
    Embedding,
    LayerNorm,
    Linear,
    Recurrent,
    Transducer,
    Window,
    architecture_from_json,
)
from sparrot.nn import Encoder, Front, Predictor, build_architecture

ENCODER = Architecture(4, (Window("stack", 0, 1, 2), Recurrent("lstm0", "lstm", 6, 3)))
PREDICTOR = Architecture(1, (Embedding("predictor_embedding", 5, 2), Recurrent("predictor_lstm0", "lstm", 3)))
TRANSDUCER = Transducer(ENCODER, PREDICTOR, Linear("output", 5))


def test_it_speaks_for_its_encoder_and_lists_all_parameters():
    assert (TRANSDUCER.input_width, TRANSDUCER.n_tokens, TRANSDUCER.joint_width) == (4, 5, 3)
    assert (TRANSDUCER.reduction, TRANSDUCER.lookahead, TRANSDUCER.output_frames(5)) == (2, 1, 3)
    assert TRANSDUCER.streaming
    sizes = {matrix.name: (matrix.rows, matrix.columns, matrix.type) for matrix in TRANSDUCER.matrices()}
    assert sizes == {
        "lstm0.input": (24, 8, "lstm"),
        "lstm0.recurrent": (24, 3, "lstm"),
        "lstm0.projection": (3, 6, "lstm"),
        "predictor_embedding.table": (5, 2, "embedding"),
        "predictor_lstm0.input": (12, 2, "lstm"),
        "predictor_lstm0.recurrent": (12, 3, "lstm"),
        "output.weight": (5, 3, "fc"),
    }
    assert [vector.name for vector in TRANSDUCER.vectors()] == [
        "lstm0.bias",
        "predictor_lstm0.bias",
        "output.bias",
    ]


@pytest.mark.parametrize("architecture", [TRANSDUCER, ENCODER])
def test_json_keeps_it(architecture):
    assert architecture_from_json(json.loads(json.dumps(architecture.to_json()))) == architecture


@pytest.mark.parametrize("part", ["encoder", "predictor", "output"])
def test_json_without_a_part_is_refused(part):
    described = {key: value for key, value in TRANSDUCER.to_json().items() if key != part}
    with pytest.raises(ValueError, match="is an object with"):
        architecture_from_json(described)


def test_json_whose_output_is_no_linear_layer_is_refused():
    described = TRANSDUCER.to_json() | {"output": {"kind": "layer_norm", "name": "output"}}
    with pytest.raises(ValueError, match="is a linear layer, not a layer_norm layer"):
        architecture_from_json(described)


def test_sides_of_different_widths_are_refused():
    with pytest.raises(ValueError, match="puts out 8 values a frame and the predictor 3 a token"):
        replace(TRANSDUCER, encoder=Architecture(4, (Window("stack", 0, 1, 2),)))


def test_a_predictor_looks_up_every_token():
    with pytest.raises(ValueError, match="begins with an embedding of its 6 tokens; got 5"):
        replace(TRANSDUCER, output=Linear("output", 6))
    with pytest.raises(ValueError, match="begins with an embedding of its 5 tokens; got none"):
        replace(TRANSDUCER, predictor=Architecture(1, (Linear("a", 3),)))


def test_an_output_is_logits():
    with pytest.raises(ValueError, match="puts out its logits; got `relu` of them"):
        replace(TRANSDUCER, output=Linear("output", 5, "relu"))


@pytest.mark.parametrize(
    "layer",
    [
        Recurrent("wrong", "lstm", 3, 2, bidirectional=True),
        Window("wrong", 0, 1),
        Window("wrong", 1, 0, 2),
    ],
)
def test_a_predictor_goes_from_one_token_to_the_next(layer):
    layers = (*PREDICTOR.layers, layer, Linear("last", 3))
    with pytest.raises(ValueError, match="layer `wrong` cannot be in a predictor"):
        replace(TRANSDUCER, predictor=Architecture(1, layers))


def test_a_predictor_may_be_stateless():
    layers = (Embedding("e", 5, 2), Window("w", 1, 0), LayerNorm("n"), Linear("l", 3, "relu"))
    assert replace(TRANSDUCER, predictor=Architecture(1, layers)).joint_width == 3


def test_layers_have_names_of_their_own():
    with pytest.raises(ValueError, match="two layers named `lstm0`"):
        replace(TRANSDUCER, output=Linear("lstm0", 5))


def test_sides_get_a_linear_layer_where_their_widths_differ_from_the_joint():
    def last(predictor: Predictor) -> tuple[str, str]:
        made = build_architecture(4, Front(), Encoder(layers=1, cells=8), 5, predictor)
        assert isinstance(made, Transducer)
        return made.encoder.layers[-1].name, made.predictor.layers[-1].name

    assert last(Predictor(cells=8, joint=8)) == ("lstm0", "predictor_lstm0")
    assert last(Predictor(cells=8, joint=6)) == ("encoder_output", "predictor_output")
    assert last(Predictor(cells=9, projection=8, joint=8, layer_norm=True)) == ("lstm0", "predictor_norm0")
    assert last(Predictor("stateless", embedding=8, joint=8)) == ("lstm0", "predictor_output")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kind": "stateless", "cells": 3}, "kind stateless makes no use of `cells`"),
        ({"context": 3}, "kind lstm makes no use of `context`"),
        ({"joint": 0}, "`joint` of a predictor is at least 1; got 0"),
    ],
)
def test_a_predictor_without_sense_is_refused(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        Predictor(**fields)
