# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether one network is better than another on the same images, beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depth_anything_ros.errors import DatasetError

STRETCHES = 10
_T_975 = 2.262  # Student's t, 9 degrees of freedom


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def paired_difference(one: Sequence[float], other: Sequence[float]) -> Difference:
    """Compare two scores of each image, other - one, where images that follow are alike.

    Frames of a drive are no independent draws: ten a second tell hardly more than one. The mean of
    a stretch of them tells something new, if stretches are longer than the scene looks the same;
    the interval is Student's over the means of ten stretches of equal length.

    Args:
        one: scores of the images in their order.
        other: of the same images, none of either NaN.

    Raises:
        DatasetError: there are fewer than two images a stretch.

    Source: the method of batch means (Schmeiser 1982 advises 10 to 30 batches).
    """
    differences = np.asarray(other, np.float64) - np.asarray(one, np.float64)
    if len(differences) < 2 * STRETCHES:
        raise DatasetError(f'{len(differences)} images are too few to tell two networks apart: at '
                           f'least {2 * STRETCHES} are needed, and minutes of driving are better')
    means = [float(part.mean()) for part in np.array_split(differences, STRETCHES)]
    half = _T_975 * float(np.std(means, ddof=1)) / STRETCHES**0.5
    mean = float(np.mean(means))
    return Difference(mean, mean - half, mean + half)
