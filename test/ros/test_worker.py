# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The threads between which frames pass."""

import threading

import pytest

from depth_anything_ros.ros.worker import NewestItemsWorker, OneAhead


def test_worker_takes_the_newest_and_counts_the_rest():
    taken, dropped = [], []
    started, go_on = threading.Event(), threading.Event()

    def handle(items):
        taken.extend(items)
        started.set()
        go_on.wait(10)

    worker = NewestItemsWorker(handle, dropped.append)
    worker.submit('first')
    assert started.wait(10)
    for item in ('second', 'third', 'fourth'):
        worker.submit(item)
    started.clear()
    go_on.set()
    assert started.wait(10)
    worker.stop()
    assert taken == ['first', 'fourth'] and dropped == ['second', 'third']


@pytest.mark.parametrize(
    'most, turns',
    [
        (1, ['b', 'c', 'a', 'b', 'c', 'a']),
        (2, ['bc', 'ab', 'ca', 'bc']),
        (3, ['bca', 'bca', 'bca']),
    ],
)
def test_who_was_served_longest_ago_is_next(most, turns):
    taken, dropped, started, go_on = [], [], threading.Semaphore(0), threading.Semaphore(0)

    def handle(items):
        taken.append(''.join(items))
        started.release()
        assert go_on.acquire(timeout=10)

    worker = NewestItemsWorker(handle, dropped.append, most)
    worker.submit('a', 'a')
    assert started.acquire(timeout=10)
    for _ in turns:
        for source in 'bcabbb':  # b is faster than the others, and all have something new
            worker.submit(source, source)
        go_on.release()
        assert started.acquire(timeout=10)
    go_on.release()
    worker.stop()
    assert taken == ['a', *turns]
    assert dropped.count('b') == len(turns) * 3 + sum(
        'b' not in turn for turn in turns[:-1]
    )


def test_a_bug_in_the_worker_is_kept_for_the_main_thread():
    failed = threading.Event()

    def handle(item):
        failed.set()
        raise ZeroDivisionError

    worker = NewestItemsWorker(handle, lambda item: None)
    worker.submit('item')
    assert failed.wait(10)
    worker.stop()
    assert isinstance(worker.crash, ZeroDivisionError)


def test_publication_is_one_ahead_in_order_and_tells_its_bug():
    may_go, handled = threading.Event(), []

    def handle(item):
        assert may_go.wait(10)
        if item == 'bug':
            raise ZeroDivisionError
        handled.append((item, threading.current_thread().name))

    publication = OneAhead(handle)
    publication.submit('first')  # returns although the first is not done
    assert not handled
    may_go.set()
    publication.submit('second')
    assert [item for item, _ in handled][:1] == ['first']
    publication.submit('bug')
    with pytest.raises(ZeroDivisionError):
        publication.submit('never')
    publication.stop()
    assert [item for item, _ in handled] == ['first', 'second']
    assert threading.current_thread().name not in {name for _, name in handled}


def test_a_bug_at_the_last_item_is_kept():
    publication = OneAhead(lambda item: 1 / item)
    publication.submit(0)
    publication.stop()
    assert isinstance(publication.crash, ZeroDivisionError)


def test_what_is_in_hand_and_waits_is_done_before_the_stop():
    may_go, handled = threading.Event(), []

    def handle(item):
        assert may_go.wait(10)
        handled.append(item)

    publication = OneAhead(handle)
    publication.submit('last')
    may_go.set()
    publication.stop()
    assert handled == ['last']


def test_a_worker_says_how_long_it_is_at_an_item():
    started, may_go = threading.Event(), threading.Event()

    def handle(item):
        started.set()
        assert may_go.wait(10)

    worker = NewestItemsWorker(handle, lambda item: None)
    assert worker.busy_s == 0
    worker.submit('item')
    assert started.wait(10)
    assert worker.busy_s > 0
    may_go.set()
    worker.stop()
    assert worker.busy_s == 0
