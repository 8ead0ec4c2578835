"""One description for every way in which it can be at odds with itself or with the architecture."""

import json
import zlib

import pytest

from model_file.written import Parts


def lstm(described: dict) -> dict:
    return next(matrix for matrix in described["matrices"] if matrix["name"] == "lstm.input")


def swap(items: list, i: int, j: int) -> None:
    items[i], items[j] = items[j], items[i]


WEIGHTS = {"conv": 105, "lstm": 1000, "gru": 1173, "fc": 68}
TOTAL = sum(WEIGHTS.values()) + 191  # and biases, scales and shifts


def keep_more(described: dict, level: int, **more: int) -> None:
    """Changes how many weights of each type a level keeps, with all that follows save the blocks."""
    level = described["levels"][level]
    kept = {kind: round((1 - level["sparsity"][kind]) * n) for kind, n in WEIGHTS.items()}
    kept = {kind: n + more.get(kind, 0) for kind, n in kept.items()}
    level["sparsity"] = {kind: 1 - n / WEIGHTS[kind] for kind, n in kept.items()}
    level["parameters"] = sum(kept.values()) + 191
    described["stops"][level["stop"]]["overall_sparsity"] = 1 - level["parameters"] / TOTAL


DESCRIPTIONS = {  # name: (what becomes of the description, field, words of the message)
    "a missing field": (lambda d: d.pop("licence"), "licence", "missing field"),
    "an unknown field": (lambda d: d.update(colour="red"), "colour", "unknown field"),
    "a licence of no words": (lambda d: d.update(licence=""), "licence", "must be text"),
    "provenance as text": (lambda d: d.update(provenance="x"), "provenance", "must be an object"),
    "another resampler": (lambda d: d.update(resampler="soxr VHQ"), "resampler", "soxr MQ"),
    "chunks of no frames": (lambda d: d.update(chunk_frames=0), "chunk_frames", "from 1 on"),
    "chunks of half frames": (lambda d: d.update(chunk_frames=1.5), "chunk_frames", "a whole number"),
    "chunks over 2^63": (lambda d: d.update(chunk_frames=1 << 63), "chunk_frames", "a whole number"),
    "a layer nobody knows": (
        lambda d: d["architecture"]["layers"][0].update(kind="attention"),
        "architecture",
        "must be one of",
    ),
    "a layer of a list": (
        lambda d: d["architecture"]["layers"][0].update(kind=["lstm"]),
        "architecture",
        "must be one of",
    ),
    "more cells than weights": (
        lambda d: d["architecture"]["layers"][1].update(cells=21),
        "matrices[1].rows",
        "the architecture says 84",
    ),
    "cells of 2^40": (
        lambda d: d["architecture"]["layers"][1].update(cells=1 << 40),
        "matrices[1].rows",
        "the architecture says",
    ),
    "a layer more": (
        lambda d: d["architecture"]["layers"].append(
            {"kind": "linear", "name": "x", "size": 4, "activation": "relu"}
        ),
        "matrices",
        "7 entries; the architecture has 8",
    ),
    "an empty matrix": (
        lambda d: (
            d["architecture"].update(input_width=1) or d["architecture"]["layers"][0].update(kernel_bins=2)
        ),
        "architecture",
        "makes an empty matrix",
    ),
    "parameters of the same name": (
        lambda d: d["architecture"].update(
            layers=[
                {
                    "kind": "recurrent",
                    "name": n,
                    "cell": "rnn",
                    "cells": 2,
                    "projection": None,
                    "bidirectional": b,
                }
                for n, b in (("a", True), ("a.reverse", False))
            ]
        ),
        "architecture",
        "has two parameters named `a.reverse.",
    ),
    "no parameters": (
        lambda d: d["architecture"].update(
            layers=[{"kind": "window", "name": "w", "left": 0, "right": 0, "stride": 1}]
        ),
        "architecture",
        "has no parameters",
    ),
    "features of another width": (
        lambda d: d["features"].update(width=8),
        "architecture",
        "8 values a frame",
    ),
    "features nobody knows": (lambda d: d["features"].update(kind="wavelets"), "features", "wavelets"),
    "tokens of another number": (lambda d: d["tokens"]["symbols"].append("z"), "architecture", "5 tokens"),
    "tokens nobody knows": (lambda d: d.update(tokens={"kind": "runes"}), "tokens", "runes"),
    "sentencepiece without a model": (
        lambda d: d.update(tokens={"kind": "sentencepiece"}),
        "tokens",
        "model",
    ),
    "a model without sentencepiece": (
        lambda d: d.update(sentencepiece={"bytes": 64, "crc32": "0fe92d45"}),
        "sentencepiece",
        "disagrees",
    ),
    "a matrix less": (lambda d: d["matrices"].pop(), "matrices", "6 entries; the architecture has 7"),
    "matrices in another order": (lambda d: swap(d["matrices"], 1, 2), "matrices[1].name", "lstm.input"),
    "other gates": (lambda d: lstm(d).update(gates=1), "matrices[1].gates", "the architecture says 4"),
    "another type": (lambda d: lstm(d).update(type="fc"), "matrices[1].type", "the architecture says 'lstm'"),
    "a layout nobody knows": (
        lambda d: lstm(d).update(layout="coo"),
        "matrices[1].layout",
        "must be one of strip16",
    ),
    "a dtype of later": (lambda d: lstm(d).update(dtype="I4"), "matrices[1].dtype", "F32, BF16, I8, not I4"),
    "a dtype that lies": (
        lambda d: d["matrices"][0].update(dtype="BF16"),
        "base/conv.kernel",
        "must be BF16 [11, 16, 2]",
    ),
    "scales that are not there": (
        lambda d: d["matrices"][0].update(dtype="I8"),
        "base/conv.kernel/scales",
        "no tensor",
    ),
    "strips without blocks": (
        lambda d: lstm(d).update(block=None),
        "matrices[1].layout",
        "has a block shape",
    ),
    "blocks of no rows": (lambda d: lstm(d).update(block=[0, 1]), "matrices[1].block", "from 1 on"),
    "blocks of three sides": (lambda d: lstm(d).update(block=[1, 1, 1]), "matrices[1].block", "two numbers"),
    "blocks of true rows": (lambda d: lstm(d).update(block=[True, 1]), "matrices[1].block", "two numbers"),
    "no stop": (lambda d: d.update(stops=[]), "stops", "0 entries"),
    "33 stops": (lambda d: d.update(stops=d["stops"] * 11), "stops", "33 entries"),
    "stops in another order": (lambda d: swap(d["stops"], 0, 1), "stops", "stop 1 does not"),
    "an end that lies": (
        lambda d: d["stops"][1].update(end=d["stops"][1]["end"] + 64),
        "stops[1].end",
        "end at",
    ),
    "ends that fall": (
        lambda d: d["stops"][1].update(end=d["stops"][0]["end"] - 64),
        "stops",
        "sparsest to the densest; stop 1",
    ),
    "an end too far": (lambda d: d["stops"][2].update(end=1 << 62), "stops[2].end", "its tensors end at"),
    "stops that grow sparser": (
        lambda d: d["stops"][2].update(overall_sparsity=0.99),
        "stops",
        "sparsest to the densest; stop 2",
    ),
    "stops that lose blocks": (
        lambda d: d["stops"][2]["blocks"].update({"fc.weight": 0}),
        "stops",
        "at least the blocks",
    ),
    "a sparsity above 1": (
        lambda d: d["stops"][0].update(overall_sparsity=1.01),
        "stops[0].overall_sparsity",
        "in [0, 1]",
    ),
    "more blocks than there are": (
        lambda d: d["stops"][2]["blocks"].update({"fc.weight": 18}),
        "stops[2].blocks",
        "more blocks of `fc.weight` than its 17",
    ),
    "more groups than there are": (
        lambda d: d["stops"][2]["groups"].update({"fc.weight": 18}),
        "stops[2].groups",
        "more groups",
    ),
    "fewer groups than there are": (
        lambda d: d["stops"][2]["groups"].update({"fc.weight": 0}),
        "02/fc.weight/columns",
        "must be U16",
    ),
    "groups of no matrix": (
        lambda d: d["stops"][0]["groups"].update(x=1),
        "stops[0].groups",
        "unknown field `x`",
    ),
    "blocks below zero": (
        lambda d: d["stops"][0]["blocks"].update({"fc.weight": -1}),
        "stops[0].blocks.fc.weight",
        "from 0 on",
    ),
    "a checksum of seven digits": (
        lambda d: d["stops"][0].update(crc32="1234567"),
        "stops[0].crc32",
        "eight",
    ),
    "a checksum as a number": (lambda d: d["stops"][0].update(crc32=7), "stops[0].crc32", "a text"),
    "no level": (lambda d: d.update(levels=[]), "levels", "must run from the last stop"),
    "levels in another order": (lambda d: swap(d["levels"], 0, 1), "levels", "must run from the last stop"),
    "sparser levels in another order": (
        lambda d: swap(d["levels"], 1, 2),
        "levels",
        "must run from the last stop",
    ),
    "two levels of a stop": (lambda d: d["levels"][1].update(stop=0), "levels", "one level a stop"),
    "two levels of a name": (lambda d: d["levels"][1].update(name="large"), "levels", "same name"),
    "a level of no stop": (lambda d: d["levels"][0].update(stop=3), "levels[0].stop", "has 3 stops"),
    "a last stop without a level": (lambda d: d["levels"].pop(0), "levels", "must run from the last stop"),
    "an accuracy without words": (
        lambda d: d["levels"][0]["measured"]["dev"].pop("words"),
        "levels[0].measured.dev",
        "missing field `words`",
    ),
    "an accuracy below zero": (
        lambda d: d["levels"][0]["measured"]["dev"].update(wer=-0.1),
        "levels[0].measured.dev.wer",
        "from 0.0 on",
    ),
    "a temperature of zero": (
        lambda d: d["levels"][0].update(confidence_temperature=0),
        "levels[0].confidence_temperature",
        "above 0",
    ),
    "a penalty that is true": (
        lambda d: d["levels"][0].update(blank_penalty=True),
        "levels[0].blank_penalty",
        "number",
    ),
    "more parameters than there are": (
        lambda d: d["levels"][0].update(parameters=10**15),
        "levels[0].parameters",
        "is 1000000000000000; its sparsities leave 2537",
    ),
    "a parameter less": (
        lambda d: d["levels"][1].update(parameters=d["levels"][1]["parameters"] - 1),
        "levels[1].parameters",
        "its sparsities leave",
    ),
    "sparsity of a type nobody knows": (
        lambda d: d["levels"][0].update(sparsity={"nonsense": 0.99}),
        "levels[0].sparsity",
        "other layer types than the architecture, conv, fc, gru, lstm",
    ),
    "sparsity of a type less": (
        lambda d: d["levels"][2]["sparsity"].pop("fc"),
        "levels[2].sparsity",
        "other layer types than the architecture, conv, fc, gru, lstm",
    ),
    "sparsity that divides a weight": (
        lambda d: d["levels"][2]["sparsity"].update(fc=d["levels"][2]["sparsity"]["fc"] + 1e-9),
        "levels[2].sparsity.fc",
        "of the 68 weights, which is no whole number",
    ),
    "weights dropped that no level drops": (
        lambda d: keep_more(d, 0, conv=-1),
        "stops[2].blocks",
        "hold 105 to 105 weights of type `conv`; `large` keeps 104",
    ),
    "weights of another type": (
        lambda d: keep_more(d, 1, lstm=-40, gru=40),
        "stops[1].blocks",
        "hold 314 to 332 weights of type `lstm`; `medium` keeps 280",
    ),
    "everything dropped": (
        lambda d: [stop.update(overall_sparsity=1.0) for stop in d["stops"]],
        "stops[2].overall_sparsity",
        "is 1.0",
    ),
    "a stop of a level that is a little sparser": (
        lambda d: d["stops"][0].update(overall_sparsity=d["stops"][0]["overall_sparsity"] + 1e-12),
        "stops[0].overall_sparsity",
        "`small` keeps 571 of 2537",
    ),
    "a stop without a level that drops everything": (
        lambda d: d["levels"].pop() and d["stops"][0].update(overall_sparsity=1.0),
        "stops[0].overall_sparsity",
        "is 1.0; its blocks keep ",
    ),
    "no blocks": (
        lambda d: [stop["blocks"].update(dict.fromkeys(stop["blocks"], 0)) for stop in d["stops"]],
        "stops[2].blocks",
        "weights of type",
    ),
    "a block less": (
        lambda d: d["stops"][1]["blocks"].update({"fc.weight": d["stops"][1]["blocks"]["fc.weight"] - 1}),
        "stops[1].blocks",
        "weights of type `fc`",
    ),
    "a target above 1": (
        lambda d: d["levels"][0].update(targets={"fc": 2}),
        "levels[0].targets.fc",
        "in [0, 1]",
    ),
}


@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_descriptions_that_lie(case, small_path, refusal):
    change, field, words = DESCRIPTIONS[case]
    parts = Parts.of(small_path)
    change(parts.described)
    error = refusal(parts.with_description().to_bytes())
    assert error.field == field
    assert words in error.fact


def test_a_description_with_a_name_twice(small_path, refusal):
    parts = Parts.of(small_path)
    parts.described["provenance"]["corpus "] = 1
    raw = parts.with_description().to_bytes()
    text = raw[8 : len(raw) - len(parts.data)].decode().replace("corpus ", "corpus")
    header = json.loads(text)
    again = Parts(header, {}, parts.data)
    again.header["__metadata__"]["sparrot.crc32"] = crc32_of(header["__metadata__"]["sparrot"])
    error = refusal(again.to_bytes())
    assert (error.field, "`corpus` twice" in error.fact) == ("sparrot", True)


def crc32_of(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
