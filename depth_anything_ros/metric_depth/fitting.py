# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Robust fit of one line, target = scale * value + shift, in relative residuals.

The target is inverse depth for a relative network and depth for one that predicts depth; either
way the residual is the log of a depth ratio, so near and far points count alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
import math
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Real = TypeVar('Real', bound=np.floating[Any])

_HYPOTHESES = 256  # of two points, and a quarter as many of one
_SCORED = 512  # anchors that score the hypotheses; all of them enter the final fit
_BAND = 0.2  # log depth: beyond this a point says nothing about a hypothesis
_UNCROWDING = 0.5  # power of the number of anchors at about one depth that they are divided by
_ITERATIONS = 8
_COARSE_ITERATIONS = 5  # on about as many points as scored the hypotheses
_TUKEY = 4.685
_SIGMA_LIMITS = (0.01, 0.3)  # log depth
# The errors of one prediction are correlated over objects: it is worth so many independent ones.
_INDEPENDENT = 64.0
_SHIFT_SIGMA = 2.0  # of the shift where nothing is known of it, in units of the largest targets
MIN_AFFINE = 20  # anchors, under which only the scale is fitted
MIN_ANCHORS = 5  # under which nothing is
_MIN_INLIER_RATIO = 1 / 3
_MAX_UNEXPLAINED = 0.6
_RIVAL_RATIO = 0.7
_RIVAL_SEEN = 0.5  # share of the points of the best line that a different one has to have


@dataclass(frozen=True, eq=False)
class Prior:
    """What is known of (scale, shift) before the points are seen.

    Attributes:
        scale: expected scale, None where nothing is known.
        shift: expected shift.
        covariance: 2x2 of (scale, shift); the scale's row is ignored where scale is None.
    """

    scale: float | None
    shift: float
    covariance: Array

    def information(self) -> Array:
        """Return the inverse covariance, zero for an unknown scale."""
        if self.scale is None:
            return np.diag([0.0, 1.0 / self.covariance[1, 1]])
        return np.asarray(np.linalg.inv(self.covariance), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class LineFit:
    """A line and how well the points support it.

    Attributes:
        scale: slope.
        shift: intercept.
        covariance: 2x2 of (scale, shift).
        inliers: number of points within 3 sigma.
        inlier_ratio: share of the usable points within 20 % in depth.
        residual: robust standard deviation of log depth about the line.
        failure: one line saying why the line must not be used, empty when it may.
    """

    scale: float
    shift: float
    covariance: Array
    inliers: int
    inlier_ratio: float
    residual: float
    failure: str = ''


def failed(reason: str) -> LineFit:
    """Return the fit that is none."""
    return LineFit(0.0, 0.0, np.zeros((2, 2)), 0, 0.0, 0.0, reason)


def fit_line(
    value: Array,
    target: Array,
    prior: Prior | None = None,
    own_sigma: NDArray[np.float32] | None = None,
) -> LineFit:
    """Fit target = scale * value + shift to points of which up to about half may be wrong.

    A fixed set of two-point hypotheses is scored in one batch by the truncated squared residual
    (MSAC, Torr and Zisserman 2000), then the best is polished by iteratively reweighted least
    squares with Tukey's biweight on the MAD. A weak prior on the shift takes over where the
    values do not vary enough to determine it.

    Args:
        value: N predictions at the points.
        target: N inverse depths in 1/m or depths in m, all positive.
        prior: expected line; without it the shift is expected within twice the largest targets of
            zero, which matters only where the values do not determine it.
        own_sigma: N standard deviations of log target by themselves; None takes them for exact.

    Returns:
        The line, or one with `failure` set.
    """
    usable = np.isfinite(value) & np.isfinite(target) & (target > 0) & (value > 0)
    # Zero is the floor of the network's last ReLU: such a pixel says "far", not how far.
    usable &= value > 1e-4 * value.max(initial=0.0, where=usable)
    p, y = value[usable].astype(np.float64), target[usable].astype(np.float64)
    own = np.zeros_like(p) if own_sigma is None else np.square(own_sigma[usable], dtype=np.float64)
    count = len(p)
    if count < MIN_ANCHORS:
        return failed(f'{count} usable anchors, {MIN_ANCHORS} needed')
    if prior is None:
        # Networks differ in where they put zero; MiDaS's is nowhere in particular.
        high = float(np.partition(y, 9 * count // 10)[9 * count // 10])
        prior = Prior(None, 0.0, np.diag([0.0, (_SHIFT_SIGMA * high) ** 2]))

    if count >= MIN_AFFINE:
        fit = _fit_in_family(p, y, own, prior, affine=True)
        if not fit.failure:
            return fit
    # One unknown less: also the way out where a wrong shape has turned the line upside down.
    scale_only = _fit_in_family(p, y, own, prior, affine=False)
    return scale_only if not scale_only.failure or count < MIN_AFFINE else fit


def _fit_in_family(p: Array, y: Array, own: Array, prior: Prior, affine: bool) -> LineFit:
    """Fit scale and shift, or the scale alone with the shift at its prior, and judge the result."""
    start, rival = _best_hypothesis(p, y, prior, affine)
    fit = _polish(p, y, own, start, prior, affine)
    if fit.scale <= 0:
        return replace(fit, failure='nearer anchors have smaller predictions (scale <= 0)')
    if fit.inliers < MIN_ANCHORS:
        return replace(fit, failure=f'{fit.inliers} inliers, {MIN_ANCHORS} needed')
    if fit.inlier_ratio < _MIN_INLIER_RATIO and not _explains(p, y, fit):
        return replace(
            fit, failure=f'only {fit.inlier_ratio:.0%} of the anchors agree with one line'
        )
    if rival > _RIVAL_RATIO * fit.inliers / len(p):
        return replace(fit, failure='two different lines explain the anchors about equally well')
    return fit


def _explains(p: Array, y: Array, fit: LineFit) -> bool:
    """Tell a rough network from noise: the line leaves much less spread of depth than there was."""
    left = median(np.abs(log_ratio(fit.scale * p + fit.shift, y)))
    log_y = np.log(y)
    return left < _MAX_UNEXPLAINED * median(np.abs(log_y - median(log_y)))


def median(values: NDArray[Real]) -> float:
    """Return what np.median does, of one axis without NaN, in a third of the time."""
    half = len(values) // 2
    parted = np.partition(values, half)
    if len(values) % 2:
        return float(parted[half])
    return 0.5 * (float(parted[:half].max()) + float(parted[half]))


def log_ratio(prediction: NDArray[Real], target: NDArray[Real]) -> NDArray[Real]:
    """Return about log(prediction / target), defined (and below -2) for prediction <= 0 too."""
    ratio: NDArray[Real] = 2 * (prediction - target) / (np.abs(prediction) + target)
    return ratio


def _best_hypothesis(p: Array, y: Array, prior: Prior, affine: bool) -> tuple[Array, float]:
    """Return the best (scale, shift) and the share of points for the best different line.

    Where a different line explains about as many points, that which explains more depths is taken.
    """
    order = np.argsort(p)
    scored = order[np.linspace(0, len(p) - 1, min(len(p), _SCORED)).astype(np.int64)]
    p, y = p[scored], y[scored]
    count = len(p)
    # A fixed low-discrepancy set instead of random draws: the same anchors give the same fit.
    k = np.arange(1, _HYPOTHESES + 1)
    first = k * 0.7548776662466927 % 1  # plastic number, R2 sequence (Roberts 2018)
    gap = 0.25 + 0.5 * (k * 0.5698402909980532 % 1)
    # Sorted by value, so a gap in rank is a gap in value wherever there is one.
    i, j = (first * count).astype(np.int64), ((first + gap) % 1 * count).astype(np.int64)
    dp = p[j] - p[i]
    spread = np.abs(dp) > 1e-3 * np.abs(p).mean()
    scale = np.where(spread, (y[j] - y[i]) / np.where(spread, dp, 1.0), 0.0)
    two = np.stack([scale, y[i] - scale * p[i]], axis=1)
    one = np.stack([(y[i] - prior.shift) / p[i], np.full_like(scale, prior.shift)], axis=1)[::4]
    lines = np.concatenate([two, one]) if affine else one
    if prior.scale is not None:
        lines = np.concatenate([lines, [[prior.scale, prior.shift]]])

    # Hypotheses x points, in single precision and in place: they only have to be told apart.
    residual = lines.astype(np.float32) @ np.stack([p, np.ones_like(p)]).astype(np.float32)
    target = y.astype(np.float32)
    cost = np.abs(residual)
    cost += target
    residual -= target
    residual /= cost
    np.abs(residual, out=residual)
    residual *= 2  # log_ratio()
    np.square(np.minimum(residual, _BAND, out=cost), out=cost)
    rising = lines[:, 0] > 0
    best = int(np.where(rising, cost.mean(axis=1), np.inf).argmin())
    uncrowded = _uncrowded(y)
    rivals = _rivals(residual, rising, best)
    counts = np.count_nonzero(rivals, axis=1)
    strongest = int(counts.argmax())
    if counts[strongest] > _RIVAL_SEEN * np.count_nonzero(residual[best] < _BAND):
        best = min(best, strongest, key=lambda line: float(cost[line] @ uncrowded))
        rivals = _rivals(residual, rising, best)
    return lines[best], float((rivals @ uncrowded).max())


def _rivals(
    residual: NDArray[np.float32], rising: NDArray[np.bool_], best: int
) -> NDArray[np.bool_]:
    """Tell what each line explains, and tightly, that the best does not: hypotheses x points."""
    rivals: NDArray[np.bool_] = residual < 0.5 * _BAND
    rivals &= residual[best] > _BAND
    rivals &= rising[:, None]
    return rivals


def _uncrowded(y: Array) -> NDArray[np.float32]:
    """Weigh points down where depths crowd, with sum 1; N float32.

    Any crowd at one depth, dust before the sensor too, is explained by a level line, which makes
    nothing of the network. A line that explains points over many depths has more to show for it.
    """
    depth = np.rint(np.log(y) / _BAND).astype(np.int64)
    crowd = np.bincount(depth - depth.min())[depth - depth.min()]
    weight: NDArray[np.float32] = crowd.astype(np.float32) ** -_UNCROWDING
    weight /= weight.sum()
    return weight


def _polish(
    p: Array, y: Array, own: Array, start: Array, prior: Prior, affine: bool
) -> LineFit:
    """Run IRLS from a first line; Gauss-Newton on log(scale * p + shift) - log(y).

    An anchor of which less is known than of the line counts by its own variance.
    """
    prior_information = prior.information()
    prior_line = np.array([prior.scale or 0.0, prior.shift])
    line = start.copy() if affine else np.array([start[0], prior.shift])
    floor = 1e-3 * y.min()
    # Scaled to the data, so that the two unknowns have comparable size.
    unit = np.array([y.mean() / p.mean(), y.mean()])
    few = slice(None, None, max(1, len(p) // _SCORED))
    for i in range(_ITERATIONS):
        some = few if i < _COARSE_ITERATIONS else slice(None)
        value, target = p[some], y[some]
        predicted = line[0] * value + line[1]
        residual = log_ratio(predicted, target)
        sigma = _spread(np.abs(residual))
        variance = np.maximum(sigma**2, own[some])
        weight = np.square(np.maximum(1 - np.square(residual) / (_TUKEY**2 * variance), 0))
        weight *= sigma**2 / variance
        # Correlated errors: many points weigh like few independent ones.
        weight *= _INDEPENDENT / (max(weight.sum(), _INDEPENDENT) * sigma**2)
        by_shift = 1 / np.maximum(np.abs(predicted), floor)
        jacobian = np.stack([value * by_shift, by_shift])
        information = (jacobian * weight) @ jacobian.T + prior_information
        gradient = jacobian @ (weight * residual) + prior_information @ (line - prior_line)
        covariance = inverse_2x2(information * np.outer(unit, unit)) * np.outer(unit, unit)
        if affine:
            line -= covariance @ gradient
        else:
            line[0] -= gradient[0] / information[0, 0]
    magnitude = np.abs(log_ratio(line[0] * p + line[1], y))
    inliers = int(np.count_nonzero(magnitude < 3 * sigma))
    # In a fixed band: a network that is exact on the ground and rough elsewhere is no reason for
    # doubt, and a line that needs a wide band is one.
    agreeing = float((magnitude < _BAND).mean())
    return LineFit(float(line[0]), float(line[1]), covariance, inliers, agreeing, sigma)


def _spread(magnitude: Array) -> float:
    """Return the standard deviation of log depth by the MAD of what is near the line at all."""
    near = magnitude[magnitude < 2 * _BAND]
    sigma = 1.4826 * median(near) if len(near) else math.inf
    return min(max(sigma, _SIGMA_LIMITS[0]), _SIGMA_LIMITS[1])


def inverse_2x2(matrix: Array) -> Array:
    """Return the inverse of a symmetric 2x2 matrix."""
    (a, b), (_, d) = matrix
    inverse: Array = np.array([[d, -b], [-b, a]]) / (a * d - b * b)
    return inverse
