# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""AbsRel and delta1 by the rule of MoGe's harness, for the same prediction.

What differs from protocols.py: all pixels with a true depth count, up to 1000 times their first
percentile; depth that is predicted is fitted as its inverse; what is fitted is held to the farthest
true depth of the image alone, so neither to a data set's far limit nor to a near one. Its copy of
the data, brought to other sizes and fields of view, is not taken.

Source: github.com/microsoft/MoGe at 0744441, moge/test/metrics.py (disparity_affine_invariant) and
moge/test/dataloader.py (drop_max_depth).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.evaluation import metrics

FARTHEST = 1000.0  # times the first percentile of true depth


def moge_scores(
    prediction: NDArray[np.floating[Any]], depth_m: NDArray[np.floating[Any]], space: str
) -> dict[str, float]:
    """Score one prediction.

    Args:
        prediction: HxW.
        depth_m: HxW true depth in metres, NaN invalid.
        space: what the prediction is, 'inverse_depth' or 'depth'.

    Returns:
        abs_rel and delta1 in depth; NaN where no pixel counts or the rule has no answer: a
        prediction is not finite, or a depth that is predicted has no inverse (0 or below).
    """
    none = {'abs_rel': math.nan, 'delta1': math.nan}
    used = np.isfinite(depth_m)
    if not used.any():
        return none
    used &= depth_m <= FARTHEST * np.quantile(depth_m[used].astype(np.float64), 0.01)
    p, z = prediction[used].astype(np.float64), depth_m[used].astype(np.float64)
    if not np.isfinite(p).all() or (space == 'depth' and (p <= 0).any()):
        return none
    p = 1 / p if space == 'depth' else p
    scale, shift = metrics.align_inverse_depth(p, z)
    z_predicted = 1 / np.maximum(scale * p + shift, 1 / z.max())
    return {'abs_rel': metrics.abs_rel(z_predicted, z), 'delta1': metrics.delta(z_predicted, z)}
