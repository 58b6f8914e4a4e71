# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Metric depth and its standard deviation from a prediction, its fit and the anchors.

Beyond the global line, depth is refined by membranes through the anchors (membrane.py). With f[q]
the membrane through values q at the anchors and y the depth, in either of two spaces,

    y = f[y_anchor] + trust * (y_network - f[y_network at the anchors]) :

the lidar between its own points, plus the detail that the network sees there. Trust 0 is lidar
alone, trust 1 is the network with a smooth correction. How far to trust, and in which space
(inverse depth, where planes are straight, or log depth, where objects scale), is learned in every
frame by leaving whole rings of the anchors out, and so is the standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
import math

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
import torch.nn.functional as F

from depth_anything_ros.config import Config
from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.consensus import agreement, shared
from depth_anything_ros.metric_depth.extrapolation import HANDICAP, SHARPNESS_ABOVE, upper
from depth_anything_ros.metric_depth.glance import sample
from depth_anything_ros.metric_depth.membrane import Grid, smoothed, solve_membrane
from depth_anything_ros.metric_depth.scale import ScaleFit, State
from depth_anything_ros.metric_depth.sheet import ALL, FOLDS, membrane_sums, Sheet, write_sheet
from depth_anything_ros.metric_depth.uncertainty import (
    CERTAIN,
    LARGEST_ERROR,
    of_detail,
    OffsetDoubt,
    Q90,
    SHRUNK,
)
from depth_anything_ros.stretch import enlarged, stretched

_MIN_ANCHORS = 20
_CELLS = 19200
_STIFFNESS = 0.04  # of the membrane, where one anchor pulls with 1
_FINE_SWEEPS = (5, 5, 5)  # of the correction, which starts from the coarse grid's membranes
_TRUSTS = 5  # from 0 to 1
_SHARPNESS = 20.0  # how steeply a candidate's share falls with its left-out error
_LEAST_REACH = (0.5, 0.15)  # image heights, of anchors of several depths and of one
_UNSURE = 0.05  # log depth: an anchor with such a sigma pulls half
_ROBUST = 2.5  # left-out error, in typical ones around it, at which an anchor counts half
_ROUGHEST = 4.0  # typical error of the roughest places, in that of the whole image
_NOISE_CELLS = 3.0  # radius that errors are averaged over
# Of anchors without a ring, bands of rows are left out. Dense ones have no gaps but holes, and what
# is left out must be as wide as these.
_BANDS = 10
_ENOUGH = 1024  # anchors of which quantiles are taken
_OVERSTATED = 0.9  # the error between rings, in what gaps twice as large make of it
_MIN_ERROR = 0.003
_ONE_DEPTH, _STRAY = 0.15, 0.02  # log depth, and share of the anchors at either end
_UNKNOWN_TRUST = 0.5  # standard deviation of what is evenly 0 or 1
_FAR_RAMP = 0.1  # from the farthest anchor on, in its inverse depth, over which it is left behind
_EXACT = 1e-5  # log depth: errors below are none, and nothing is divided by them


@dataclass(frozen=True, eq=False)
class MetricDepth:
    """Depth in metres.

    Attributes:
        depth_m: HxW float32 along the optical axis in metres, NaN where invalid.
        stddev_m: HxW float32 standard deviation in metres, NaN where depth is.
    """

    depth_m: Tensor
    stddev_m: Tensor


def metric_depth(
    prediction: Tensor, fit: ScaleFit, anchors: Anchors | None, config: Config
) -> MetricDepth:
    """Turn a prediction into metres.

    Args:
        prediction: HxW network output.
        fit: a fit with finite scale and shift.
        anchors: the points of this frame; used for refinement when the fit is FITTED from them.
        config: limits of depth, and whether to refine.

    Returns:
        Depth and its standard deviation.
    """
    line = fit.scale * prediction + fit.shift
    inverse = line if fit.space == 'inverse_depth' else 1 / line
    refined = None
    if config.scale.refine and fit.state is State.FITTED and fit.from_anchors and anchors:
        prior = None
        if fit.at_anchors is not None:
            prior = fit.scale * fit.at_anchors + fit.shift
        if fit.space == 'depth':  # no depth at all is far, not behind the camera
            inverse = 1 / line.clamp(min=config.depth.min)
            prior = None if prior is None else 1 / np.maximum(prior, config.depth.min)
        refined = refine(inverse, anchors, prior, OffsetDoubt.of(fit), fit.doubt)
    if refined is None:
        c = fit.covariance
        variance = c[0, 0] * prediction.square() + 2 * c[0, 1] * prediction + c[1, 1]
        known = fit.residual**2 + fit.doubt**2
        refined = inverse, (variance / line.square() + known).sqrt()
    inverse, log_sigma = refined
    # In numbers, 0 / 0 for what is invalid: on a CPU a mask takes ten times as long to apply.
    limited = inverse.clamp(1 / config.depth.max, 1 / config.depth.min)
    valid = torch.eq(inverse, limited, out=limited)
    depth_m = valid.div_(valid).div_(inverse)
    stddev_m = depth_m * log_sigma
    if config.scale.max_stddev > 0:
        sure = torch.le(stddev_m, config.scale.max_stddev, out=torch.empty_like(stddev_m))
        sure.div_(sure)
        depth_m, stddev_m = depth_m * sure, stddev_m * sure
    return MetricDepth(depth_m, stddev_m)


def refine(
    inverse_prior: Tensor,
    anchors: Anchors,
    at_anchors: NDArray[np.float64] | None = None,
    doubt: OffsetDoubt = CERTAIN,
    common_sigma: float = 0.0,
) -> tuple[Tensor, Tensor] | None:
    """Correct a depth image where anchors show that it is off.

    Args:
        inverse_prior: HxW inverse of the globally fitted depth in 1/m; may be negative.
        anchors: N known depths.
        at_anchors: N values of inverse_prior at the anchors; fetched where they are not known.
        doubt: how unsure the fitted line is where the anchors say nothing of it.
        common_sigma: standard deviation of log depth that joins everywhere.

    Returns:
        HxW inverse depth in 1/m and HxW standard deviation of its log; None where the anchors are
        too few, or too much in one place, to judge by leaving some out.
    """
    height, width = inverse_prior.shape
    if len(anchors) < _MIN_ANCHORS:
        return None
    if at_anchors is None:
        at_anchors = sample(inverse_prior, anchors).cpu().numpy().astype(np.float64)
    believed = agreement(anchors, at_anchors)
    kept = believed > 0
    anchors, believed, prior = anchors[kept], believed[kept], at_anchors[kept]
    believed = believed / (1 + np.square(anchors.sigma / _UNSURE))
    fold = folds(anchors, height, width)
    if len(anchors) < _MIN_ANCHORS or fold.min() == fold.max():
        return None
    planar, one_depth = len(_rings(anchors, height)[0]) < 2, _at_one_depth(anchors)
    # Of one row or one depth, anchors tell nothing of what is farther than the gaps between them.
    narrow = planar or one_depth
    farthest_m = float(anchors.z_m.max())
    low, high = 0.5 / farthest_m, 2 / float(anchors.z_m.min())
    # What is an anchor's own, its neighbours do not share, is the sensor's: it stays on the line.
    bounded_prior = np.clip(prior, low, high)
    off_line = np.log(bounded_prior * anchors.z_m)
    off_line *= shared(anchors, off_line, believed)
    shared_m = np.exp(off_line) / bounded_prior
    upper_factor = 1.0 if narrow else _factor_on_top(anchors, believed, off_line)
    reach = 0.0 if planar else _LEAST_REACH[one_depth]
    fine = Grid.over(height, width, _CELLS)
    sheet = write_sheet(
        anchors,
        shared_m,
        believed,
        prior,
        fold,
        narrow,
        reach,
        (low, high),
        fine,
        height,
        inverse_prior.device,
    )
    coarse = fine.coarser()
    unseen, everywhere = _unseen(sheet, coarse)
    learned = _learn(sheet, unseen, narrow, low, high)
    noise, weight = _noise(sheet, learned.error, coarse)
    correction = _correction(sheet, learned, weight, everywhere, fine)
    level = everywhere[1::2]  # the logarithms
    detail = of_detail(
        coarse.centres(inverse_prior),
        level[1].exp(),
        torch.addcmul(
            torch.addcmul(sheet.regions[1], sheet.regions[0], learned.inner_trust),
            sheet.regions[2],
            learned.trust_above,
        ),
        sheet.regions[0] * (_UNKNOWN_TRUST if one_depth else learned.trust_sigma),
        doubt,
    )
    planes = _planes(sheet, learned, correction, level, noise, detail)
    if common_sigma > 0:
        planes[-1].square_().add_(common_sigma**2).sqrt_()
    pixels = enlarged(planes, fine.cell_px, height, width)

    # The network as it is, the lidar alone, both in log space.
    slope, constant = next(pixels), next(pixels)
    refined = torch.addcmul(constant, slope, inverse_prior, out=constant)
    power = torch.clamp(inverse_prior, low, high, out=slope).log_()
    factor, exponent = next(pixels), next(pixels)
    refined.addcmul_(factor, power.mul_(exponent).exp_())
    # What the network calls farther than every anchor (sky, of which rough networks say any far
    # depth) is not dragged to what stands below it, unless anchors are close by. It stays the
    # network's, which is off there by as much as at the upper anchors.
    in_reach = torch.mul(inverse_prior, farthest_m / _FAR_RAMP, out=factor)
    in_reach.add_(1 - 1 / _FAR_RAMP).clamp_(min=0.0, max=1.0)
    in_reach = torch.maximum(next(pixels), in_reach, out=in_reach)
    far = torch.mul(inverse_prior, upper_factor, out=exponent)
    torch.lerp(far, refined, in_reach, out=refined)
    return refined, next(pixels)


def _at_one_depth(anchors: Anchors) -> bool:
    """Tell whether anchors have about one depth, but for some at either end."""
    near, far = np.quantile(np.log(anchors.z_m), (_STRAY, 1 - _STRAY))
    return bool(far - near < _ONE_DEPTH)


def _factor_on_top(
    anchors: Anchors, believed: NDArray[np.float64], off_line: NDArray[np.float64]
) -> float:
    """Return what the line's inverse depth must be multiplied with where the anchors end."""
    on_top = believed * upper(anchors)
    return math.exp(-np.average(off_line, weights=on_top if on_top.any() else believed))


def folds(anchors: Anchors, height: int, width: int) -> NDArray[np.int64]:
    """Deal anchors into folds so that a whole ring is left out together.

    Points of unknown ring are dealt by bands of rows, those of a single ring by columns.

    Args:
        anchors: N anchors.
        height: of the image in pixels.
        width: of the image in pixels.

    Returns:
        N int64 in [0, 4).
    """
    rings, rank = _rings(anchors, height)
    if len(rings) < 2:
        rank = (anchors.u * (16 / width)).astype(np.int64)
    fold: NDArray[np.int64] = rank % FOLDS
    return fold


def _rings(anchors: Anchors, height: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rings (or bands of rows) that there are, and which of them each anchor is of."""
    ring = anchors.ring
    if (ring < 0).any():
        ring = (anchors.v * (_BANDS / height)).astype(np.int64)
    return np.unique(ring, return_inverse=True)


def _unseen(sheet: Sheet, grid: Grid) -> tuple[Tensor, Tensor]:
    """Interpolate at each anchor from others only.

    Returns:
        Measured and predicted (2) in both spaces (2) from the other folds and from the lower
        anchors (2) at N anchors; and all membranes through all anchors, 4 x rows x columns.
    """
    splatted = grid.splat(sheet.cells[0], sheet.data, 2 * FOLDS)
    fields = solve_membrane(membrane_sums(splatted), _STIFFNESS)
    unseen = grid.sample(fields, sheet.places)
    return unseen.view(2, 2, 2, -1), fields[:, ALL]


@dataclass(frozen=True, eq=False)
class _Learned:
    """How far to trust the network, by what left-out anchors say of it; 2 are the two spaces.

    Attributes:
        error: N, of depth at left-out anchors.
        share: 2, of each space.
        trust: 2, in the network in each.
        shared_trust: 2, the product of the two.
        inner_trust: over both spaces.
        trust_sigma: how unsure that is.
        trust_above: in the network above the anchors, in log depth.
        error_above: of log depth at the upper anchors by those below.
    """

    error: Tensor
    share: Tensor
    trust: Tensor
    shared_trust: Tensor
    inner_trust: Tensor
    trust_sigma: Tensor
    trust_above: Tensor
    error_above: Tensor


def _learn(sheet: Sheet, unseen: Tensor, narrow: bool, low: float, high: float) -> _Learned:
    """Weigh candidates, each a trust in a space, by their errors at left-out anchors.

    What holds within the outline of the anchors and above it is learned side by side.
    """
    trusts, powers, handicap, sharpness = _candidates(narrow, unseen.device)
    # T x space x (within, above) x N
    detail = sheet.network[:, None] - unseen[1]
    candidates = torch.addcmul(unseen[0], trusts[:, None, None, None], detail)
    candidates[:, 1].exp_()
    ratio = candidates.clamp_(low, high).mul_(sheet.depth_m)
    # An anchor that is itself wrong must not decide, hence the weight and the second clamp.
    loss = ratio.log().abs_().clamp_(max=LARGEST_ERROR).mul_(sheet.weight).sum(dim=-1)
    odds = torch.addcmul(handicap, (loss + _EXACT).log_(), sharpness, value=-1)
    share = odds.flatten(0, 1).softmax(dim=0).view_as(odds)
    error = (share[..., 0].flatten() @ ratio[:, :, 0].flatten(0, 1)).sub_(1).abs_()
    moments = (powers @ share.flatten(1)).view(len(powers), *share.shape[1:])
    _, mean, square = moments.sum(dim=1)
    return _Learned(
        error=error,
        share=moments[0, :, 0],
        trust=moments[1, :, 0] / (moments[0, :, 0] + 1e-12),
        shared_trust=moments[1, :, 0],
        inner_trust=mean[0],
        trust_sigma=torch.addcmul(square, mean, mean, value=-1).clamp_(min=0).sqrt_()[0],
        trust_above=mean[1],
        error_above=(share * loss).sum(dim=(0, 1))[1],
    )


@lru_cache(maxsize=4)
def _candidates(narrow: bool, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return T trusts; their powers 0 to 2, 3xT; and how odds follow from the errors left.

    Odds are the exponential of a handicap, T x space x (within, above), less a sharpness times the
    logarithm of the error.
    """
    trusts = torch.linspace(0.0, 1.0, _TRUSTS)
    handicap = torch.zeros(_TRUSTS, 2, 2)
    if narrow:
        # Along one ring the lidar interpolates itself best; beyond it only the network can tell.
        handicap[:-1, :, 0] = -torch.inf
    handicap[:, 0, 1] = -torch.inf  # above, the network is followed in log depth
    handicap[:, 1, 1] = -SHARPNESS_ABOVE * torch.log(1 + HANDICAP * trusts)
    powers = torch.stack([trusts**power for power in range(3)])
    sharpness = torch.tensor([_SHARPNESS, SHARPNESS_ABOVE])
    return trusts.to(device), powers.to(device), handicap.to(device), sharpness.to(device)


def _noise(sheet: Sheet, error: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Return the standard deviation of log depth, before growth, and weights without outliers.

    The errors of left-out anchors are smoothed over the image, and scaled so that 1.645 sigma
    covers 90 % of those.

    Returns:
        Rows x columns and N.
    """
    rough = (error + _MIN_ERROR).log_().sub_(sheet.log_growth)
    sheet.given[1].mul_(rough)
    splatted = grid.splat(sheet.cells[0], sheet.given, 2 * FOLDS)
    noise = smoothed(membrane_sums(splatted), _NOISE_CELLS)
    expected = grid.sample(noise, sheet.places[: len(error)])[0]
    # What is the rule for all anchors is so for a thousand of them.
    few = slice(None, None, max(1, len(error) // _ENOUGH))
    excess = (rough - expected)[few]
    scale = excess.kthvalue(int(0.9 * (len(excess) - 1)) + 1).values
    middle = error[few].kthvalue(len(excess) // 2 + 1).values
    # Against what is usual around it: foliage is rough, and that makes no outliers of its points.
    typical = expected.add_(sheet.log_growth).exp_()
    usual = torch.minimum(typical, (_ROUGHEST * middle).add_(_EXACT))
    doubt = (error / usual).square_().mul_(_ROBUST**-2).add_(1)
    sigma = (noise[0, ALL] + scale.add_(math.log(_OVERSTATED / Q90))).exp_()
    return sigma, sheet.data[0] / doubt


def _correction(
    sheet: Sheet, learned: _Learned, weight: Tensor, everywhere: Tensor, grid: Grid
) -> Tensor:
    """Interpolate what the anchors are beyond what is trusted of the network there.

    Args:
        sheet: the anchors.
        learned: how far to trust.
        weight: N, of the anchors.
        everywhere: 4 x rows x columns, membranes on the next coarser grid to start from.
        grid: of the correction.

    Returns:
        2 spaces x rows x columns.
    """
    measured = sheet.correction[1:]
    measured.addcmul_(learned.trust[:, None], sheet.network, value=-1)
    sums = grid.splat(sheet.cells[1], sheet.correction.mul_(weight))
    trust = learned.trust[:, None, None]
    start = torch.addcmul(everywhere[:2], trust, everywhere[2:], value=-1)
    start = F.avg_pool2d(start, 2)[:, None]  # outliers went into it, so not from its own level
    return solve_membrane(sums, _STIFFNESS, start, _FINE_SWEEPS)[:, 0]


def _planes(
    sheet: Sheet,
    learned: _Learned,
    correction: Tensor,
    level: Tensor,
    noise: Tensor,
    detail: Tensor,
) -> Tensor:
    """Return what pixels are made of, on the fine grid.

    Inverse depth y is slope * x + constant + factor * x ** power, x by the line alone.

    Args:
        sheet: the anchors.
        learned: how far to trust the network.
        correction: 2 x fine grid.
        level: 2 x coarse grid, log inverse depth measured and predicted at all anchors.
        noise: coarse grid, before growth.
        detail: coarse grid, standard deviation of what the network adds.

    Returns:
        Slope, constant, factor, power, 1 close by anchors, and the standard deviation of log depth.
    """
    # Below the anchors the network goes on from them; above, things stand upright.
    goes_on = (level[0] - level[1]).exp_().mul_(sheet.regions[1])
    upright = torch.addcmul(level[0], level[1], learned.trust_above, value=-1)
    beyond = torch.addcmul(sheet.beyond[0], sheet.beyond[1], learned.error_above**SHRUNK)
    noise, detail, beyond, goes_on, upright = stretched(
        torch.stack([noise, detail, beyond, goes_on, upright]), *sheet.above.shape
    )
    rest, reached = sheet.inside
    share = torch.addcmul(sheet.above, reached, learned.share[1])
    return torch.stack([
        torch.addcmul(rest, reached, learned.shared_trust[0]).add_(goes_on),
        (reached * correction[0]).mul_(learned.share[0]),
        torch.lerp(correction[1], upright, sheet.above).exp_().mul_(share),
        torch.lerp(learned.trust[1], learned.trust_above, sheet.above),
        sheet.near,
        torch.hypot(torch.hypot(noise.mul_(sheet.growth), beyond), detail),
    ])
