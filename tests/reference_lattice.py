"""Transducer lattices in plain Python: every alignment by itself, the truth of sparrot.nn.transducer_loss."""

from collections.abc import Iterator
from itertools import combinations
from math import exp, fsum, log

import numpy as np

Edge = tuple[int, int, int]  # frame, labels before it, and 0 for the blank or 1 for the label


def alignments(n_frames: int, n_labels: int) -> Iterator[list[Edge]]:
    """The edges of every way to write `n_labels` labels in `n_frames` frames; the last is a blank."""
    n_edges = n_frames + n_labels
    for labels in combinations(range(n_edges - 1), n_labels):
        t = u = 0
        edges = []
        for place in range(n_edges):
            label = int(place in labels)
            edges.append((t, u, label))
            t, u = t + 1 - label, u + label
        yield edges


def loss(edges: np.ndarray, n_frames: int, n_labels: int) -> tuple[float, np.ndarray]:
    """−log p(text | speech) of log-probabilities (n_frames, n_labels + 1, 2), and its gradient."""
    ways = [(way, exp(fsum(edges[edge] for edge in way))) for way in alignments(n_frames, n_labels)]
    total = fsum(probability for _, probability in ways)
    gradient = np.zeros_like(edges)
    for way, probability in ways:
        for edge in way:
            gradient[edge] -= probability / total
    return -log(total), gradient
