"""The frame queue against a plain list of everything that was pushed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sparrot.engine.frames import FrameQueue

STEPS = st.lists(st.tuples(st.sampled_from(["push", "forget", "read"]), st.integers(0, 9)), max_size=30)


def numbered(begin: int, end: int) -> np.ndarray:
    """Frames that hold their index, counted from 1: zeros are not frames."""
    return np.arange(begin + 1, end + 1, dtype=np.float32)[:, None] * np.ones((1, 2), np.float32)


@given(STEPS)
def test_reads_what_was_pushed_and_zeros_elsewhere(steps):
    queue, n_pushed, forgotten = FrameQueue(2), 0, -4
    for step, size in steps:
        if step == "push":
            queue.push(numbered(n_pushed, n_pushed + size))
            n_pushed += size
        elif step == "forget":
            forgotten += size
            queue.forget(forgotten)
        expected = np.zeros((size, 2), np.float32)
        for row, index in enumerate(range(forgotten, forgotten + size)):
            expected[row] = index + 1 if 0 <= index < n_pushed else 0
        np.testing.assert_array_equal(queue.between(forgotten, forgotten + size), expected)
        assert queue.received == n_pushed


def test_a_read_is_a_copy():
    queue = FrameQueue(2)
    queue.push(numbered(0, 3))
    queue.between(0, 3)[:] = 0
    np.testing.assert_array_equal(queue.between(0, 3), numbered(0, 3))


def test_frames_given_up_before_they_arrive_are_not_held():
    queue = FrameQueue(2)
    queue.forget(5)
    queue.push(numbered(0, 4))
    queue.push(numbered(4, 7))
    np.testing.assert_array_equal(queue.between(5, 8), [[6, 6], [7, 7], [0, 0]])
    assert len(queue._rows) == 2
