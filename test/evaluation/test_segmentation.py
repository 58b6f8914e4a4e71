# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Segmentation scores against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from depth_anything_ros.evaluation.segmentation import confusion_matrix, mean_iou


def test_mean_iou_by_hand():
    truth = np.array([[0, 0, 0, 1], [1, 1, 3, 255]])  # 255 is of no class
    prediction = np.array([[0, 0, 1, 1], [1, 2, 3, 0]])
    found = confusion_matrix(prediction, truth, classes=5)
    assert found.tolist() == [
        [2, 1, 0, 0, 0], [0, 2, 1, 0, 0], [0] * 5, [0, 0, 0, 1, 0], [0] * 5
    ]
    # Class 0: 2 of 3, class 1: 2 of 4, class 2: 0 of 1, class 3: 1 of 1, class 4: nowhere.
    assert mean_iou(found) == pytest.approx((2 / 3 + 2 / 4 + 0 + 1) / 4)
