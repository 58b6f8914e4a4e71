# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Caps of rates, against counts of what a second may hold."""

import random

import pytest

from depth_anything_ros.ros.rates import RateCap

S = 1_000_000_000


def taken(stamps_ns, rate_hz):
    cap = RateCap()
    return [stamp for stamp in stamps_ns if cap.due(stamp, rate_hz)]


def stream(rate_hz, seconds, jitter=0.0, start_ns=1_700_000_000 * S):
    rng = random.Random(0)
    return [
        start_ns + int((i + jitter * rng.uniform(-0.5, 0.5)) / rate_hz * S)
        for i in range(int(rate_hz * seconds))
    ]


@pytest.mark.parametrize('jitter', [0.0, 0.4])
@pytest.mark.parametrize(
    ('camera_hz', 'rate_hz'), [(30, 10), (30, 12), (30, 29), (30, 30), (10, 30), (25, 0.5), (60, 7)]
)
def test_the_mean_rate_is_the_cap_or_the_cameras(camera_hz, rate_hz, jitter):
    count = len(taken(stream(camera_hz, 60, jitter), rate_hz))
    assert count == pytest.approx(60 * min(camera_hz, rate_hz), rel=0.01, abs=2)


def test_every_third_of_thirty():
    stamps = stream(30, 2)
    assert taken(stamps, 10) == stamps[::3]


def test_zero_takes_all_and_a_huge_rate_too():
    stamps = stream(30, 1, 0.4)
    assert taken(stamps, 0.0) == stamps == taken(stamps, 1000.0)


def test_time_that_goes_back_begins_anew():
    cap = RateCap()
    assert cap.due(100 * S, 1.0) and not cap.due(100 * S + S // 2, 1.0)
    assert cap.due(5 * S, 1.0) and not cap.due(5 * S + S // 2, 1.0) and cap.due(6 * S, 1.0)


def test_after_a_pause_nothing_is_made_up_for():
    cap = RateCap()
    assert cap.due(100 * S, 2.0)
    stamps = [110 * S + i * S // 20 for i in range(20)]
    assert sum(cap.due(stamp, 2.0) for stamp in stamps) == 2


def test_the_rate_may_change():
    cap = RateCap()
    assert cap.due(100 * S, 0.001) and not cap.due(101 * S, 0.001)
    assert cap.due(102 * S, 0.0)
    assert not cap.due(103 * S, 0.001)
