"""The tables of the papers, as published: what a run's figures are put beside.

"bsr" is Narang, Undersander & Diamos 2017, Block-Sparse Recurrent Neural Networks: 2,100 hours of English
speech, errors on a test set of 2.9 hours; Penn Treebank in table 5. The poster is Davis 2018, Achieving
Nothing: 960 hours, errors on a test set of 5.4 hours, 2 hours an epoch on four GPUs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Family = Literal["rnn", "gru", "lm"]


@dataclass(frozen=True)
class Published:
    """One row of a table.

    model:   as it is printed there.
    cells:   what is printed under the table's own headings.
    methods: the methods of ours that it is put beside, as `Treatment.method` has them; none for a row of
             another kind.
    block:   the block size that ours needs; empty is any.
    sparsity: of the row, 0 … 1; among rows that ours would fit, the nearest has it.
    """

    model: str
    cells: tuple[str, ...]
    methods: tuple[str, ...] = ()
    block: str = ""
    sparsity: float | None = None
    epochs: str = ""
    wall_time: str = ""


@dataclass(frozen=True)
class PublishedTable:
    """One table: its title, the headings of its cells, its rows, and which of our errors it shows.

    family: networks of ours that belong beside it: recurrent recognisers of speech, those of GRUs, or models
            of words.
    """

    name: str
    title: str
    source: str
    headings: tuple[str, ...]
    metric: Literal["wer", "cer", "perplexity"]
    family: Family
    rows: Sequence[Published]


_BP = ("BP",)
_RNN = "bsr, 2,100 h, bidirectional RNN"
_E25 = "25"

TABLES: tuple[PublishedTable, ...] = (
    PublishedTable(
        "table-2",
        "Recurrent recogniser, methods (bsr table 2)",
        _RNN,
        ("layer size", "parameters", "CER (% loss)"),
        "cer",
        "rnn",
        (
            Published("RNN, dense", ("1760", "67 M", "15.36 (0.0 %)"), ("dense",), epochs=_E25),
            Published("RNN, group lasso", ("1760", "10.9 M", "30.14 (−96 %)"), ("GL",), epochs=_E25),
            Published(
                "RNN, Yu et al. 2012", ("1760", "8.3 M", "18.91 (−23 %)"), ("hard threshold",), epochs=_E25
            ),
            Published("RNN, Narang et al. 2017", ("1760", "7.3 M", "17.32 (−13 %)"), ("WP",), epochs=_E25),
            Published(
                "RNN, Han et al. 2015", ("1760", "7.1 M", "15.41 (−0.3 %)"), ("iterative",), epochs="60"
            ),
            Published("RNN, BP 4×4", ("1760", "7.3 M", "17.93 (−17 %)"), _BP, "4×4", epochs=_E25),
            Published("RNN, GLP 4×4", ("2560", "12.9 M", "15.89 (−3.4 %)"), ("GLP",), epochs=_E25),
            Published("RNN, BP 4×4, wider", ("3072", "25.8 M", "15.66 (−1.9 %)"), epochs=_E25),
        ),
    ),
    PublishedTable(
        "table-3",
        "GRU recogniser, 4×4 blocks (bsr table 3)",
        "bsr, 2,100 h, GRU",
        ("layer size", "parameters", "CER (% loss)"),
        "cer",
        "gru",
        (
            Published("GRU, dense", ("2560", "115 M", "15.42 (0.0 %)"), ("dense",), epochs=_E25),
            Published("GRU, GLP", ("2560", "10.8 M", "16.78 (−8.8 %)"), ("GLP",), epochs=_E25),
            Published("GRU, BP", ("3584", "25.6 M", "16.23 (−5.3 %)"), _BP, "4×4", epochs=_E25),
        ),
    ),
    PublishedTable(
        "table-4",
        "Block sizes, by block pruning (bsr table 4)",
        _RNN,
        ("block", "parameters", "sparsity", "CER (% loss)"),
        "cer",
        "rnn",
        (
            Published("RNN", ("4×4", "7.3 M", "89.2 %", "17.93 (−17 %)"), _BP, "4×4", epochs=_E25),
            Published("RNN", ("12×2", "10.8 M", "84.1 %", "16.96 (−10 %)"), _BP, "12×2", epochs=_E25),
            Published("RNN", ("8×8", "10.7 M", "84.1 %", "17.66 (−15 %)"), _BP, "8×8", epochs=_E25),
            Published("RNN", ("16×16", "11.1 M", "83.6 %", "17.10 (−11 %)"), _BP, "16×16", epochs=_E25),
            Published("RNN", ("32×32", "14.1 M", "79.1 %", "16.67 (−8.5 %)"), _BP, "32×32", epochs=_E25),
            Published("GRU", ("4×4", "16.2 M", "86.0 %", "16.97 (−10 %)"), epochs=_E25),
            Published("GRU", ("16×16", "20.8 M", "81.9 %", "16.84 (−9.2 %)"), epochs=_E25),
        ),
    ),
    PublishedTable(
        "table-5",
        "Language model, Penn Treebank (bsr table 5)",
        "bsr, Penn Treebank, test",
        ("layer size", "parameters", "perplexity (% loss)"),
        "perplexity",
        "lm",
        (
            Published("LSTM, dense", ("1500", "66.0 M", "78.29 (0.0 %)"), ("dense",), epochs="55"),
            Published("LSTM, BP 4×4", ("1500", "23.1 M", "77.04 (1.6 %)"), _BP, "4×4", 0.65, epochs="55"),
            Published("LSTM, BP 4×4", ("1500", "11.6 M", "80.25 (−2.5 %)"), _BP, "4×4", 0.824, epochs="55"),
            Published("LSTM, BP 4×4", ("1500", "7.95 M", "82.72 (−5.7 %)"), _BP, "4×4", 0.88, epochs="55"),
        ),
    ),
    PublishedTable(
        "table-7",
        "Regularisers (bsr table 7)",
        _RNN,
        ("parameters", "sparsity", "CER", "relative"),
        "cer",
        "rnn",
        (
            Published("RNN, dense", ("67 M", "0.0 %", "15.36", "0.0 %"), ("dense",), epochs=_E25),
            Published("RNN, WP", ("7.3 M", "89.2 %", "17.32", "−12.8 %"), ("WP",), epochs=_E25),
            Published("RNN, ℓ1", ("11.2 M", "83.6 %", "24.8", "−61.5 %"), ("ℓ1",), epochs=_E25),
            Published("RNN, ℓ1 + WP", ("7.4 M", "89.1 %", "17.28", "−12.5 %"), ("ℓ1 + WP",), epochs=_E25),
            Published("RNN, ℓ½ + WP", ("6.6 M", "90.3 %", "18.50", "−20.4 %"), ("ℓ½ + WP",), epochs=_E25),
            Published("ℓ½ alone: not published", ("", "", "", ""), ("ℓ½",)),
        ),
    ),
    PublishedTable(
        "poster",
        "Iterative pruning (poster)",
        "poster, 960 h, Deep Speech",
        ("sparsity", "WER"),
        "wer",
        "rnn",
        (
            Published("Human (Amodei et al. 2016)", ("", "5.83")),
            Published("Deep Speech", ("0.00 %", "5.12"), ("dense",), wall_time="2 h an epoch"),
            Published("Deep Speech, pruned", ("90.54 %", "5.39"), ("iterative",), wall_time="2 h an epoch"),
        ),
    ),
)


@dataclass(frozen=True)
class Layer:
    """A row of bsr table 6: one layer on a TitanX Maxwell at batch 16, against cuBLAS.

    stored: how sparse it is in table 4, which says so of 3 of them, or by its memory: 89.4 % and 90.9 %.
    """

    model: str
    width: int
    block: str
    speedup: str
    memory: str
    cer: str
    stored: str


LAYERS: tuple[Layer, ...] = (
    Layer("RNN, Han et al. 2015", 1760, "1×1", "1.0×", "5.0×", "15.41 (−0.3 %)", "89.4 %"),
    Layer("RNN, BP", 2560, "4×4", "1.1×", "6.2×", "15.89 (−3.4 %)", "90.9 %"),
    Layer("RNN, BP", 1760, "32×32", "1.5×", "7.1×", "16.67 (−8.5 %)", "79.1 %"),
    Layer("RNN, BP", 1760, "16×16", "3.0×", "11×", "17.10 (−11 %)", "83.6 %"),
    Layer("RNN, BP", 1760, "4×4", "1.9×", "17×", "17.93 (−17 %)", "89.2 %"),
)
