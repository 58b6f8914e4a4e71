# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which anchors have witnesses, wherever they lie, in bounded time and memory."""

import tracemalloc

import numpy as np
import pytest

from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.consensus import agreement


def anchors(u, v, z_m):
    u, v, z_m = (np.asarray(a, np.float32) for a in (u, v, z_m))
    return Anchors(u, v, z_m, np.full(len(u), -1))


def corners(rng, count):
    """Return pixels of two objects in opposite corners of an image of 640x480."""
    u, v = rng.random((2, count)).astype(np.float32)
    far = np.arange(count) % 2
    return u + 638 * far, v + 478 * far


@pytest.mark.parametrize('count', [60, 5000, 40_000])
def test_two_small_objects_far_apart(count):
    rng = np.random.default_rng(count)
    u, v = corners(rng, count)
    z_m = np.where(u < 320, 2.0, 30.0)
    tracemalloc.start()
    weight = agreement(anchors(u, v, z_m), 1 / z_m)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (weight == 1).all()
    assert peak < 150e6


@pytest.mark.parametrize('scale', [(640, 480), (640, 1), (1, 480), (20, 20), (2, 4000)])
def test_dust_has_no_witnesses_however_the_anchors_lie(scale):
    # A wall at 10 m, on the line; every fourth anchor is dust between 0.5 and 5 m, in no order.
    rng = np.random.default_rng(1)
    u, v = rng.random((2, 4000)) * np.reshape(scale, (2, 1))
    dust = np.arange(4000) % 4 == 0
    z_m = np.where(dust, np.exp(rng.uniform(np.log(0.5), np.log(5), 4000)), 10.0)
    weight = agreement(anchors(u, v, z_m), np.full(4000, 0.1))
    assert weight[~dust].min() == 1
    assert weight[dust].mean() < 0.1
