# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stages side by side: one order of what is written, and no error that is lost."""

import threading

import pytest

from depth_anything_ros.annotation import stages as module
from depth_anything_ros.annotation.stages import IMAGES_AHEAD, Stages, WRITES_AHEAD


def test_what_is_written_keeps_the_order_of_submission():
    written, may_end = [], threading.Event()
    with Stages() as stages:
        stages.write(lambda: written.append('a'))
        stages.measure(lambda: may_end.wait(60) and 'image', written.append)
        stages.write(lambda: written.append('b'))  # which is ready before the image is
        may_end.set()
    assert written == ['a', 'image', 'b']


def test_what_is_on_its_way_is_bounded(monkeypatch):
    left, wait = [], module._wait

    def counted(running, most):
        wait(running, most)
        left.append((len(running), sum(not future.done() for future in running), most))

    monkeypatch.setattr(module, '_wait', counted)
    with Stages() as stages:
        for _ in range(10):
            stages.measure(lambda: None, lambda _: None)
            stages.write(lambda: None)
    assert {most for *_, most in left} == {IMAGES_AHEAD, WRITES_AHEAD, 0}
    assert len(left) == 21 and all(undone <= kept <= most for kept, undone, most in left)


def test_with_one_core_all_is_done_in_the_same_order_on_the_thread_that_asks():
    written, here = [], threading.get_ident()
    with Stages(side_by_side=False) as stages:
        stages.write(lambda: written.append('a'))
        stages.measure(threading.get_ident, written.append)
        stages.write(lambda: written.append('b'))
        assert written == ['a', here, 'b']


@pytest.mark.parametrize('side_by_side', [True, False])
@pytest.mark.parametrize('stage', ['measure', 'write', 'written'])
def test_a_bug_on_a_stage_is_raised_with_its_traceback(stage, side_by_side):
    def bug(*_):
        raise ZeroDivisionError(stage)

    with pytest.raises(ZeroDivisionError, match=stage) as raised, Stages(side_by_side) as stages:
        for _ in range(5):
            if stage == 'write':
                stages.write(bug)
            else:
                stages.measure(bug if stage == 'measure' else lambda: None, bug)
    assert 'bug' in [entry.name for entry in raised.traceback]


def test_an_error_of_the_caller_ends_the_threads_and_writes_no_more():
    written = []
    with pytest.raises(KeyError), Stages() as stages:
        stages.write(lambda: written.append(1))
        raise KeyError
    assert len(written) <= 1
    assert not [t for t in threading.enumerate() if t.name.startswith(('measure', 'write'))]
