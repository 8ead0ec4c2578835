"""Transducer lattices, every alignment by itself, in float64: the truth of sparrot.nn.transducer_loss."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import exp, fsum, inf, log

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


def loss(edges: np.ndarray) -> tuple[float, np.ndarray]:
    """−log p(text | speech) of log-probabilities (n_frames, n_labels + 1, 2), and its gradient in them."""
    n_frames, n_nodes, _ = edges.shape
    ways = [(way, fsum(edges[edge] for edge in way)) for way in alignments(n_frames, n_nodes - 1)]
    best = max(log_prob for _, log_prob in ways)
    total = best + log(fsum(exp(log_prob - best) for _, log_prob in ways))
    gradient = np.zeros_like(edges)
    for way, log_prob in ways:
        for edge in way:
            gradient[edge] -= exp(log_prob - total)
    return -total, gradient


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """log p of the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def edges(logits: np.ndarray, text: Sequence[int]) -> np.ndarray:
    """(n_frames, n_labels + 1, 2) of logits (n_frames, n_labels + 1, n_tokens)."""
    log_probs = log_softmax(np.asarray(logits, np.float64))
    labels = [log_probs[:, u, token] for u, token in enumerate(text)]
    labels.append(np.full(len(logits), -inf))
    return np.stack([log_probs[:, :, 0], np.stack(labels, 1)], 2)


def logit_gradient(logits: np.ndarray, text: Sequence[int], slopes: np.ndarray) -> np.ndarray:
    """Of Σ slopes · edges, where there are edges."""
    gradient = -np.exp(log_softmax(np.asarray(logits, np.float64)))
    gradient *= (slopes[:, :, 0] + np.pad(slopes[:, :-1, 1], ((0, 0), (0, 1))))[:, :, None]
    gradient[:, :, 0] += slopes[:, :, 0]
    for u, token in enumerate(text):
        gradient[:, u, token] += slopes[:, u, 1]
    return gradient
