# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Robust fit of one line, target = scale * value + shift, in relative residuals.

The target is inverse depth for a relative network and depth for one that predicts depth; either
way the residual is the log of a depth ratio, so near and far points count alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

_HYPOTHESES = 256  # of two points, and a quarter as many of one
_SCORED = 512  # anchors that score the hypotheses; all of them enter the final fit
_BAND = 0.2  # log depth: beyond this a point says nothing about a hypothesis
_UNCROWDING = 0.5  # power of the number of anchors at about one depth that they are divided by
_ITERATIONS = 8
_TUKEY = 4.685
_SIGMA_LIMITS = (0.01, 0.3)  # log depth
# The errors of one prediction are correlated over objects: it is worth so many independent ones.
_INDEPENDENT = 64.0
_SHIFT_SIGMA = 2.0  # of the shift where nothing is known of it, in units of the largest targets
_MIN_AFFINE = 20
_MIN_INLIERS = 5
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
    covariance: NDArray[np.float64]

    def information(self) -> NDArray[np.float64]:
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
    covariance: NDArray[np.float64]
    inliers: int
    inlier_ratio: float
    residual: float
    failure: str = ''


def failed(reason: str) -> LineFit:
    """Return the fit that is none."""
    return LineFit(0.0, 0.0, np.zeros((2, 2)), 0, 0.0, 0.0, reason)


def fit_line(value: Tensor, target: Tensor, prior: Prior | None = None) -> LineFit:
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

    Returns:
        The line, or one with `failure` set.
    """
    usable = torch.isfinite(value) & torch.isfinite(target) & (target > 0) & (value > 0)
    # Zero is the floor of the network's last ReLU: such a pixel says "far", not how far.
    usable &= value > 1e-4 * value[usable].max() if usable.any() else usable
    p, y = value[usable].double(), target[usable].double()
    count = len(p)
    if count < _MIN_INLIERS:
        return failed(f'{count} usable anchors, {_MIN_INLIERS} needed')
    if prior is None:
        # Networks differ in where they put zero; MiDaS's is nowhere in particular.
        high = float(torch.kthvalue(y, 1 + 9 * count // 10).values)
        prior = Prior(None, 0.0, np.diag([0.0, (_SHIFT_SIGMA * high) ** 2]))

    if count >= _MIN_AFFINE:
        fit = _fit_in_family(p, y, prior, affine=True)
        if not fit.failure:
            return fit
    # One unknown less: also the way out where a wrong shape has turned the line upside down.
    scale_only = _fit_in_family(p, y, prior, affine=False)
    return scale_only if not scale_only.failure or count < _MIN_AFFINE else fit


def _fit_in_family(p: Tensor, y: Tensor, prior: Prior, affine: bool) -> LineFit:
    """Fit scale and shift, or the scale alone with the shift at its prior, and judge the result."""
    count = len(p)
    start, rival = _best_hypothesis(p, y, prior, affine)
    fit = _polish(p, y, start, prior, affine)
    if fit.scale <= 0:
        return replace(fit, failure='nearer anchors have smaller predictions (scale <= 0)')
    if fit.inliers < _MIN_INLIERS:
        return replace(fit, failure=f'{fit.inliers} inliers, {_MIN_INLIERS} needed')
    if fit.inlier_ratio < _MIN_INLIER_RATIO and not _explains(p, y, fit):
        return replace(
            fit, failure=f'only {fit.inlier_ratio:.0%} of the anchors agree with one line'
        )
    if rival > _RIVAL_RATIO * fit.inliers / count:
        return replace(fit, failure='two different lines explain the anchors about equally well')
    return fit


def _explains(p: Tensor, y: Tensor, fit: LineFit) -> bool:
    """Tell a rough network from noise: the line leaves much less spread of depth than there was."""
    left = log_ratio(fit.scale * p + fit.shift, y).abs().median()
    log_y = y.log()
    return bool(left < _MAX_UNEXPLAINED * (log_y - log_y.median()).abs().median())


def log_ratio(prediction: Tensor, target: Tensor) -> Tensor:
    """Return about log(prediction / target), defined (and below -2) for prediction <= 0 too."""
    return (prediction - target).mul_(2).div_(prediction.abs().add_(target))


def _best_hypothesis(
    p: Tensor, y: Tensor, prior: Prior, affine: bool
) -> tuple[Tensor, float]:
    """Return the best (scale, shift) and the share of points for the best different line.

    Where a different line explains about as many points, that which explains more depths is taken.
    """
    order = torch.argsort(p, stable=True)
    scored = order[torch.linspace(0, len(p) - 1, min(len(p), _SCORED), device=p.device).long()]
    p, y = p[scored].float(), y[scored].float()
    count = len(p)
    # A fixed low-discrepancy set instead of random draws: the same anchors give the same fit.
    k = torch.arange(1, _HYPOTHESES + 1, dtype=torch.float64, device=p.device)
    first = torch.frac(k * 0.7548776662466927)  # plastic number, R2 sequence (Roberts 2018)
    gap = 0.25 + 0.5 * torch.frac(k * 0.5698402909980532)
    # Sorted by value, so a gap in rank is a gap in value wherever there is one.
    i, j = (first * count).long(), (torch.frac(first + gap) * count).long()
    dp = p[j] - p[i]
    spread = dp.abs() > 1e-3 * p.abs().mean()
    scale = torch.where(spread, (y[j] - y[i]) / torch.where(spread, dp, 1.0), 0.0)
    two = torch.stack([scale, y[i] - scale * p[i]], dim=1)
    shift = torch.full_like(scale, prior.shift)
    one = torch.stack([(y[i] - shift) / p[i], shift], dim=1)[::4]
    lines = torch.cat([two, one]) if affine else one
    if prior.scale is not None:
        lines = torch.cat([lines, lines.new_tensor([[prior.scale, prior.shift]])])

    # Hypotheses x points, with few temporaries: each is fetched from the kernel page by page.
    residual = log_ratio(torch.addcmul(lines[:, 1:], lines[:, :1], p), y).abs_()
    cost = residual.clamp(max=_BAND).square_()
    rising = lines[:, 0] > 0
    best = int(torch.where(rising, cost.mean(dim=1), torch.inf).argmin())
    uncrowded = _uncrowded(y)
    rivals = _rivals(residual, rising, best)
    strongest = int(rivals.sum(dim=1).argmax())
    if rivals[strongest].sum() > _RIVAL_SEEN * (residual[best] < _BAND).sum():
        best = min(best, strongest, key=lambda line: float(cost[line] @ uncrowded))
        rivals = _rivals(residual, rising, best)
    return lines[best].double(), float((rivals.float() @ uncrowded).max())


def _rivals(residual: Tensor, rising: Tensor, best: int) -> Tensor:
    """Tell what each line explains, and tightly, that the best does not: hypotheses x points."""
    return (residual < 0.5 * _BAND) & (residual[best] > _BAND) & rising[:, None]


def _uncrowded(y: Tensor) -> Tensor:
    """Weigh points down where depths crowd, with sum 1; N float32.

    Any crowd at one depth, dust before the sensor too, is explained by a level line, which makes
    nothing of the network. A line that explains points over many depths has more to show for it.
    """
    depth = (y.log() / _BAND).round().long()
    crowd = torch.bincount(depth - depth.min())[depth - depth.min()]
    weight = crowd.float().pow(-_UNCROWDING)
    return weight / weight.sum()


def _polish(p: Tensor, y: Tensor, start: Tensor, prior: Prior, affine: bool) -> LineFit:
    """Run IRLS from a first line; Gauss-Newton on log(scale * p + shift) - log(y)."""
    prior_information = torch.from_numpy(prior.information()).to(p)
    prior_mean = torch.tensor([prior.scale or 0.0, prior.shift], dtype=p.dtype, device=p.device)
    line = start if affine else torch.stack([start[0], prior_mean[1]])
    points = torch.stack([p, torch.ones_like(p)], dim=1)
    floor = 1e-3 * y.min()
    # Scaled to the data, so that the two unknowns have comparable size.
    unit = torch.stack([y.mean() / p.mean(), y.mean()])
    for _ in range(_ITERATIONS):
        predicted = line[0] * p + line[1]
        residual = log_ratio(predicted, y)
        magnitude = residual.abs()
        middle = torch.where(magnitude < 2 * _BAND, magnitude, torch.nan).nanmedian()
        sigma = (1.4826 * middle.nan_to_num(torch.inf)).clamp(*_SIGMA_LIMITS)
        weight = (1 - (residual / (_TUKEY * sigma)).square()).clamp(min=0).square()
        jacobian = points / predicted.abs().clamp(min=floor)[:, None]
        # Correlated errors: many points weigh like few independent ones.
        weight = weight * (_INDEPENDENT / weight.sum().clamp(min=_INDEPENDENT)) / sigma.square()
        information = (jacobian * weight[:, None]).T @ jacobian + prior_information
        gradient = jacobian.T @ (weight * residual) + prior_information @ (line - prior_mean)
        scaled = information * unit[:, None] * unit[None, :]
        if affine:
            step = torch.linalg.solve(scaled, gradient * unit) * unit
        else:
            step = torch.stack([gradient[0] / information[0, 0], torch.zeros_like(line[1])])
        line = line - step
    covariance = torch.linalg.inv(scaled) * unit[:, None] * unit[None, :]
    magnitude = log_ratio(line[0] * p + line[1], y).abs()
    inliers = int((magnitude < 3 * sigma).sum())
    # In a fixed band: a network that is exact on the ground and rough elsewhere is no reason for
    # doubt, and a line that needs a wide band is one.
    agreeing = float((magnitude < _BAND).double().mean())
    scale, shift = line.tolist()
    return LineFit(scale, shift, covariance.cpu().numpy(), inliers, agreeing, float(sigma))
