import threading
import time

import pytest

from sparrot.train.prefetch import prefetched


def alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "prefetch"]


def test_items_come_in_order_and_the_thread_ends():
    assert list(prefetched(iter(range(50)))) == list(range(50))
    assert alive() == []


def test_items_are_made_ahead_but_not_all_at_once():
    made = []

    def items():
        for item in range(100):
            made.append(item)
            yield item

    batches = prefetched(items(), ahead=3)
    assert next(batches) == 0
    deadline = time.monotonic() + 5
    while len(made) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert made == [0, 1, 2, 3, 4]  # one taken, three ready, one that waits for room
    batches.close()
    assert alive() == []


def test_an_exception_comes_out_where_its_item_would_have():
    def items():
        yield 1
        raise ValueError("the second is damaged")

    batches = prefetched(items())
    assert next(batches) == 1
    with pytest.raises(ValueError, match="the second is damaged"):
        next(batches)
    assert alive() == []


def test_leaving_early_ends_the_thread():
    for item in prefetched(iter(range(1000))):
        if item == 3:
            break
    assert alive() == []
