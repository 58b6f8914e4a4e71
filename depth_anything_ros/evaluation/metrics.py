# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of a predicted depth against a true one, and the affine alignment that precedes them.

All functions take two arrays of one shape (NumPy, lists or CPU tensors) and compute in float64.
Points where either array is NaN are left out; `coverage` says how many that were. With nothing
left the score is NaN. z* is the prediction, z the truth, and means run over what is left.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def abs_rel(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Return the mean relative error, mean |z* - z| / z."""
    predicted, true = _pairs(prediction, truth)
    return _mean(np.abs(predicted - true) / true)


def mae(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Return the mean absolute error, mean |z* - z|, in the unit of the arrays."""
    predicted, true = _pairs(prediction, truth)
    return _mean(np.abs(predicted - true))


def rmse(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Return the root mean square error, sqrt(mean (z* - z)^2), in the unit of the arrays."""
    predicted, true = _pairs(prediction, truth)
    return math.sqrt(_mean((predicted - true) ** 2))


def irmse(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Return the root mean square error of the inverse, sqrt(mean (1/z* - 1/z)^2).

    The unit is 1/m for depth in metres; the KITTI benchmark prints 1/km, which is 1000 times this.
    """
    predicted, true = _pairs(prediction, truth)
    return math.sqrt(_mean((1 / predicted - 1 / true) ** 2))


def silog(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Return the scale-invariant logarithmic error, 100 sqrt(mean g^2 - (mean g)^2).

    g = log z* - log z; the factor 100 is that of the KITTI benchmark (Eigen et al. 2014, Eq. 1).
    A prediction that is not positive has no logarithm and makes the score NaN.
    """
    predicted, true = _pairs(prediction, truth)
    if not (predicted > 0).all():
        return math.nan
    g = np.log(predicted) - np.log(true)
    return 100 * math.sqrt(_mean((g - _mean(g)) ** 2))


def delta(prediction: ArrayLike, truth: ArrayLike, threshold: float = 1.25) -> float:
    """Return the share of points with max(z*/z, z/z*) < threshold; z* <= 0 counts as a miss."""
    predicted, true = _pairs(prediction, truth)
    return _mean((predicted > true / threshold) & (predicted < true * threshold))


def coverage(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Return the share of the points with a true value for which there is a prediction."""
    has_truth = np.isfinite(np.asarray(truth, dtype=np.float64))
    return _mean(np.isfinite(np.asarray(prediction, dtype=np.float64))[has_truth])


def align_affine(prediction: ArrayLike, target: ArrayLike) -> tuple[float, float]:
    """Fit target = scale * prediction + shift by plain least squares.

    Args:
        prediction: predicted values of any unit.
        target: values to fit, of the same shape; NaN is left out.

    Returns:
        (scale, shift); a constant prediction gets scale 0 and the target's mean as shift.
    """
    p, d = _pairs(prediction, target)
    centred = p - _mean(p)
    variance = _mean(centred**2)
    # The variance of equal numbers is rounding error, not exactly zero.
    constant = variance <= (1e-12 * float(np.abs(p).max(initial=0.0))) ** 2
    scale = 0.0 if constant else _mean(centred * d) / variance
    return scale, _mean(d) - scale * _mean(p)


def align_inverse_depth(
    prediction: ArrayLike, depth_m: ArrayLike, mask: ArrayLike | None = None
) -> tuple[float, float]:
    """Fit 1/z = scale * p + shift by plain least squares over inverse depth (MiDaS, Eq. 2).

    Args:
        prediction: relative inverse depth p, any shape.
        depth_m: true depth z in metres, of the same shape; NaN is left out.
        mask: pixels to fit, bool, of the same shape; all where absent.

    Returns:
        (scale, shift) in 1/m per unit of p, and 1/m.
    """
    depth = np.asarray(depth_m, dtype=np.float64)
    used = np.isfinite(depth)
    if mask is not None:
        used &= np.asarray(mask, dtype=bool)
    return align_affine(np.asarray(prediction, dtype=np.float64)[used], 1 / depth[used])


def _pairs(prediction: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    predicted = np.asarray(prediction, dtype=np.float64)
    true = np.asarray(truth, dtype=np.float64)
    if predicted.shape != true.shape:
        raise ValueError(f'shapes differ: prediction {predicted.shape}, truth {true.shape}')
    both = ~(np.isnan(predicted) | np.isnan(true))
    return (predicted, true) if both.all() else (predicted[both], true[both])


def _mean(values: ArrayLike) -> float:
    array = np.asarray(values, dtype=np.float64)
    return float(array.mean()) if array.size else math.nan
