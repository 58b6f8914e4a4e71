# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Programs that play sensors end on a signal, whatever they are in the middle of."""

import sys

import pytest

from depth_anything_ros.ros.running import SignalEvent


def test_event():
    event = SignalEvent()
    assert not event.is_set() and not event.wait(0.0) and not event.wait(0.01)
    event.set()
    event.set()
    for _ in range(3):  # it stays set
        assert event.is_set() and event.wait(0.0)


@pytest.mark.timeout(20)
def test_a_signal_in_the_middle_of_waiting():
    """Signal handlers run between a function's steps; so does what profiles them."""
    event, calls = SignalEvent(), []

    def handler(frame, what, _):
        if what in ('call', 'c_call'):
            calls.append(frame.f_code.co_name)
            event.set()

    sys.setprofile(handler)
    try:
        assert event.wait(60.0)
    finally:
        sys.setprofile(None)
    assert 'wait' in calls and event.is_set()
