# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of a semantic segmentation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def confusion_matrix(
    prediction: NDArray[np.integer], truth: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Count pixels by true (row) and predicted (column) class; true ones of no class are left out.

    Args:
        prediction: class of every pixel, any shape, 0 to classes - 1.
        truth: the same shape; a pixel counts where it is below classes.
        classes: number of classes.
    """
    known = truth < classes
    pairs = truth[known].astype(np.int64) * classes + prediction[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def mean_iou(confusion: NDArray[np.integer]) -> float:
    """Intersection over union of each class that occurs in truth or prediction, averaged.

    Args:
        confusion: KxK counts, true classes in rows.

    Source: Everingham et al., The Pascal Visual Object Classes Challenge (IJCV 2015), section 4.3.
    """
    hit = np.diag(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hit
    return float(np.mean(hit[union > 0] / union[union > 0]))
