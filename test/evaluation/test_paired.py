# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Paired differences and their interval, by hand and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.evaluation.paired import paired_difference


def test_interval_by_hand() -> None:
    # Ten stretches of two images with means 0 to 9: deviation sqrt(82.5 / 9), t = 2.262.
    one = np.linspace(0.1, 0.4, 20)
    found = paired_difference(one, one + np.repeat(np.arange(10), 2))
    assert found.mean == pytest.approx(4.5)
    half = 2.262 * np.sqrt(82.5 / 9) / np.sqrt(10)
    assert (found.low, found.high) == pytest.approx((4.5 - half, 4.5 + half))


def test_frames_that_are_alike_do_not_count_as_many() -> None:
    """Of networks that do not differ, one in twenty is called different, not one in two."""
    rng = np.random.default_rng(0)
    runs, wrong = 400, 0
    for _ in range(runs):  # each scene lasts for 20 of 1000 frames
        noise = np.repeat(rng.normal(0, 1, 50), 20)
        found = paired_difference(np.zeros(1000), noise)
        wrong += not found.low <= 0 <= found.high
    assert wrong / runs < 0.08


def test_few_images_are_refused() -> None:
    with pytest.raises(DatasetError, match='19 images are too few .* at least 20 are needed'):
        paired_difference([0.0] * 19, [1.0] * 19)
