# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which anchors have witnesses, wherever they lie, in bounded time and memory."""

import tracemalloc

import numpy as np
import pytest

from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.consensus import agreement, shared


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


def scattered(count, seed):
    """Return pixels of 640x480 and the depth of a plane there, 5 to 20 m."""
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(0, 639, count), rng.uniform(0, 479, count)
    return u, v, 1 / (0.05 + 0.15 * v / 479), rng


@pytest.mark.parametrize('count', [60, 2000, 20_000])
def test_what_each_is_off_by_alone_is_not_shared_and_what_all_are_off_by_is(count):
    u, v, z_m, rng = scattered(count, count)
    noise = 0.01 * rng.normal(size=count)
    wave = 0.1 * np.sin(u / 150)
    ones = np.ones(count)
    z_m = z_m * np.exp(noise)
    assert shared(anchors(u, v, z_m), noise, ones).mean() < 0.15
    assert shared(anchors(u, v, z_m), wave + noise, ones).mean() > 0.9
    assert shared(anchors(u, v, z_m), 0.2 * ones, ones).min() == 1
    assert np.isfinite(shared(anchors(u, v, z_m), np.zeros(count), ones)).all()


def test_a_box_alone_is_shared_by_its_own_anchors_and_not_by_the_others():
    u, v, z_m, rng = scattered(5000, 1)
    box = (np.abs(u - 300) < 60) & (np.abs(v - 200) < 60)  # 5 % of the image
    residual = 0.01 * rng.normal(size=5000) - 0.7 * box
    in_common = shared(anchors(u, v, z_m), residual, np.ones(5000))
    assert in_common[box].mean() > 0.9
    assert in_common[~box].mean() < 0.1


def test_noise_of_the_network_is_not_the_sensors():
    # The depths are those of a smooth plane; only the network can be off by a third here and there.
    u, v, z_m, rng = scattered(2000, 2)
    assert shared(anchors(u, v, z_m), 0.3 * rng.normal(size=2000), np.ones(2000)).min() == 1


def test_who_is_not_believed_says_nothing_of_what_is_shared():
    u, v, z_m, rng = scattered(4000, 3)
    wave, doubted = 0.1 * np.sin(u / 150), np.arange(4000) % 2 == 0
    residual = np.where(doubted, 0.1 * rng.normal(size=4000), wave)
    weight = np.where(doubted, 1e-3, 1.0)
    assert shared(anchors(u, v, z_m), residual, weight)[~doubted].mean() > 0.9
