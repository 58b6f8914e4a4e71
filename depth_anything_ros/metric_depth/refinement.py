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

from dataclasses import dataclass, replace
import math

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
import torch.nn.functional as F

from depth_anything_ros.config import Config
from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.consensus import agreement, shared
from depth_anything_ros.metric_depth.extrapolation import outline, outside, upper, upward_trust
from depth_anything_ros.metric_depth.glance import sample
from depth_anything_ros.metric_depth.membrane import Grid, smoothed, solve_membrane
from depth_anything_ros.metric_depth.scale import ScaleFit, State
from depth_anything_ros.metric_depth.uncertainty import (
    beyond_one_ring,
    beyond_rings,
    CERTAIN,
    growth,
    mean_error,
    of_detail,
    OffsetDoubt,
    Q90,
)
from depth_anything_ros.transfer import upload

_MIN_ANCHORS = 20
_FOLDS = 4
_CELLS = 19200
_STIFFNESS = 0.04  # of the membrane, where one anchor pulls with 1
_TRUSTS = 5  # from 0 to 1
_SHARPNESS = 20.0  # how steeply a candidate's share falls with its left-out error
_ROBUST = 2.5  # left-out error, in typical ones around it, at which an anchor counts half
_ROUGHEST = 4.0  # typical error of the roughest places, in that of the whole image
_REACH = 5.0  # the correction fades over so many times the largest gap it was tested on
_LEAST_REACH = (0.5, 0.15)  # image heights, of anchors of several depths and of one
_DISTANCE_CELLS = 8.0  # scale on which distances to the nearest anchor are resolved
_HEAT = 1e3
_NOISE_CELLS = 3.0  # radius that errors are averaged over
_CAPACITY_STEP = 1024  # anchors are as many as a multiple of this
_OVERSTATED = 0.9  # the error between rings, in what gaps twice as large make of it
_MIN_ERROR = 0.003
_FAR_RAMP = 0.1  # from the farthest anchor on, in its inverse depth, over which it is left behind
_ONE_DEPTH, _STRAY = 0.15, 0.02  # log depth, and share of the anchors at either end
_UNKNOWN_TRUST = 0.5  # standard deviation of what is evenly 0 or 1
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
    if config.scale.refine and fit.state is State.FITTED and fit.method == 'lidar' and anchors:
        prior = None
        if fit.at_anchors is not None:
            prior = fit.scale * fit.at_anchors + fit.shift
        if fit.space == 'depth':  # no depth at all is far, not behind the camera
            inverse = 1 / line.clamp(min=config.depth.min)
            prior = None if prior is None else 1 / np.maximum(prior, config.depth.min)
        refined = refine(inverse, anchors, prior, OffsetDoubt.of(fit))
    if refined is None:
        c = fit.covariance
        variance = c[0, 0] * prediction.square() + 2 * c[0, 1] * prediction + c[1, 1]
        refined = inverse, (variance / line.square() + fit.residual**2).sqrt()
    inverse, log_sigma = refined
    # In numbers, 0 / 0 for what is invalid: on a CPU a mask takes ten times as long to apply.
    limited = inverse.clamp(1 / config.depth.max, 1 / config.depth.min)
    valid = torch.eq(inverse, limited, out=limited)
    depth_m = valid.div_(valid).div_(inverse)
    stddev_m = depth_m * (log_sigma.square() + fit.doubt**2).sqrt_()
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
) -> tuple[Tensor, Tensor] | None:
    """Correct a depth image where anchors show that it is off.

    Args:
        inverse_prior: HxW inverse of the globally fitted depth in 1/m; may be negative.
        anchors: N known depths.
        at_anchors: N values of inverse_prior at the anchors; fetched where they are not known.
        doubt: how unsure the fitted line is where the anchors say nothing of it.

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
    fold = folds(anchors, height, width)
    if len(anchors) < _MIN_ANCHORS or len(np.unique(fold)) < 2:
        return None
    count = len(anchors)
    planar, one_depth = len(_rings(anchors, height)[0]) < 2, _at_one_depth(anchors)
    # Of one row or one depth, anchors tell nothing of what is farther than the gaps between them.
    narrow = planar or one_depth
    fine = Grid.over(height, width, _CELLS)
    coarse = fine.coarser()
    unit_m = float(anchors.z_m.mean())
    farthest_m = float(anchors.z_m.max())
    low, high = 0.5 / farthest_m, 2 / float(anchors.z_m.min())
    # What is an anchor's own, its neighbours do not share, is the sensor's: it stays on the line.
    bounded_prior = np.clip(prior, low, high)
    off_line = np.log(bounded_prior * anchors.z_m)
    off_line *= shared(anchors, off_line, believed)
    z_m = np.exp(off_line) / bounded_prior
    upper_factor = 1.0 if narrow else _factor_on_top(anchors, believed, off_line)
    # Shapes are those of few capacities: some anchors are told again, and count for nothing.
    again = np.linspace(0, count - 1, -count % _CAPACITY_STEP).astype(np.int64)
    order = np.concatenate([np.arange(count), again])
    given = np.arange(len(order)) < count
    anchors, prior, fold, z_m = anchors[order], prior[order], fold[order], z_m[order]
    # All that the device is told of the anchors, in one copy.
    told = upload(
        np.stack([
            coarse.cells(anchors.u, anchors.v),
            fine.cells(anchors.u, anchors.v),
            *coarse.places(anchors.u, anchors.v).T,
            given,
            given * believed[order],
            1 / anchors.z_m,
            # The two spaces, in units of similar size. Inverse depth needs no positive prior.
            unit_m / z_m,
            -np.log(z_m),
            unit_m * prior,
            np.log(np.clip(prior, low, high)),
            given * upper(anchors),
            *(fold == np.arange(_FOLDS)[:, None]),
        ]).astype(np.float32),
        inverse_prior.device,
    )
    coarse_cells, fine_cells = told[:2].long()
    places = told[2:4].T
    given, weight, measured = told[4:7]
    value, network = told[7:9], told[9:11]  # space x N
    high_up, left_out = told[11], told[12:]  # N, fold x N

    unseen_value, unseen_network, distance_px, from_below, everywhere = _unseen(
        value, network, weight, left_out, high_up, coarse_cells, places, coarse
    )
    trusts = torch.linspace(0.0, 1.0, _TRUSTS, device=inverse_prior.device)
    candidates = unseen_value + trusts[:, None, None] * (network - unseen_network)  # T x space x N
    inverses = torch.stack([candidates[:, 0] / unit_m, candidates[:, 1].exp()]).clamp(low, high)
    # An anchor that is itself wrong must not decide, hence the weight and the second clamp.
    errors = (inverses / measured).log_().abs_().clamp_(max=0.5)
    loss = errors @ (weight / count) + _EXACT  # space x T
    # Along one ring the lidar interpolates itself best; above and below only the network can tell.
    if narrow:
        loss[:, :-1].fill_(torch.inf)
    share = (loss.min() / loss) ** _SHARPNESS
    share = share / share.sum()
    error = (torch.tensordot(share, inverses, 2) / measured - 1).abs_()
    space_share = share.sum(dim=1)
    trust = (share @ trusts) / space_share.clamp(min=1e-12)

    trust_above, error_above = upward_trust(
        value[1], network[1], from_below, weight * high_up, trusts
    )
    line_error = mean_error(network[1] - value[1], weight)
    noise, typical = _noise(error, distance_px, left_out, given, coarse_cells, places, coarse)
    # What is the rule for all anchors is so for a thousand of them.
    ordered = torch.stack([error, distance_px])[:, :: _every(told)].sort(dim=-1).values
    middle, gap_px = ordered[0, ordered.shape[1] // 2], ordered[1, int(0.9 * ordered.shape[1])]
    # Against what is usual around it: foliage is rough, and that makes no outliers of its points.
    usual = torch.minimum(typical, _ROUGHEST * middle + _EXACT)
    weight = weight / (1 + (error / (_ROBUST * usual)).square_())
    weighted = weight * torch.cat([given[None], value - trust[:, None] * network])
    splatted = fine.splat(fine_cells, weighted)
    counts = splatted[:1]
    # One solve for the two corrections, how far anchors support them, and the distance to them.
    here = _HEAT * (counts > 0)
    # What was not tested is not trusted: the correction fades beyond the gaps left out above.
    least_reach = _LEAST_REACH[one_depth]
    reach_px = gap_px if planar else (_REACH * gap_px).clamp(min=least_reach * height)
    screening = counts.new_zeros(4)
    screening[2] = (fine.cell_px / reach_px).square() * _STIFFNESS
    screening[3].fill_(_DISTANCE_CELLS**-2 * _STIFFNESS)
    fields = solve_membrane(
        torch.cat([counts, counts, counts, here]),
        torch.cat([splatted[1:], counts, here]),
        _STIFFNESS,
        screening,
    )
    to_anchor_px = _distance_px(fields[3:], fine)

    lowest_highest = upload(outline(anchors, coarse), inverse_prior.device)
    outer = outside(everywhere, trust_above, lowest_highest, coarse)
    if narrow:  # above as below only the network can tell, however badly
        outer = replace(outer, share=torch.zeros_like(outer.share))
    inner_trust = (share * trusts).sum()
    trust_sigma = (share * (trusts - inner_trust).square()).sum().sqrt() * (1 - outer.share)
    if one_depth:
        trust_sigma.fill_(_UNKNOWN_TRUST)
    detail = of_detail(
        coarse.centres(inverse_prior),
        everywhere[1:2].exp(),
        torch.lerp(inner_trust, outer.trust, outer.share),
        trust_sigma,
        doubt,
    )
    noise, detail, beyond_px, outer_trust, outer_share, outer_factor = F.interpolate(
        torch.cat([
            noise, detail, outer.beyond_px, outer.trust, outer.share, outer.log_factor.exp()
        ])[None],
        scale_factor=2,
        mode='bilinear',
    )[0][:, None]
    if narrow:
        extrapolation = beyond_one_ring(beyond_px / height, line_error)
    else:
        extrapolation = outer_share * beyond_rings(beyond_px / height, error_above)
    interpolation = noise * growth((1 - outer_share).mul_(to_anchor_px), fine)
    support, factor = fields[2:3].clamp(0, 1), fields[1:2].exp()
    inside = (1 - outer_share) * support
    planes = fine.upsample(
        torch.cat([
            1 - outer_share - inside * (1 - space_share[0] * trust[0]),
            inside * fields[:1] * (space_share[0] / unit_m),
            inside * factor * space_share[1],
            outer_share * outer_factor,
            outer_trust,
            to_anchor_px,
            torch.hypot(torch.hypot(interpolation, extrapolation), detail),
        ]),
        height,
        width,
    )
    # The network as it is, the lidar alone, both in log space, and the same beyond the anchors.
    refined = next(planes).mul_(inverse_prior)
    refined.add_(next(planes))
    bounded = inverse_prior.clamp(low, high)
    log_prior = bounded.log()
    refined.addcmul_(next(planes), torch.mul(log_prior, trust[1], out=bounded).exp_())
    outer_factor, outer_trust = next(planes), next(planes)
    refined.addcmul_(outer_factor, log_prior.mul_(outer_trust).exp_())
    # What the network calls farther than every anchor (sky, of which rough networks say any far
    # depth) is not dragged to what stands below it, unless anchors are close by. It stays the
    # network's, which is off there by as much as at the upper anchors.
    to_anchor_px = next(planes)
    close_px = (0.5 * gap_px).clamp(min=2 * fine.cell_px)
    near = torch.le(to_anchor_px, close_px, out=to_anchor_px)
    in_reach = torch.mul(inverse_prior, farthest_m / _FAR_RAMP, out=log_prior)
    in_reach.add_(1 - 1 / _FAR_RAMP).clamp_(min=0.0, max=1.0)
    far = torch.mul(inverse_prior, upper_factor, out=bounded)
    torch.lerp(far, refined, torch.maximum(near, in_reach, out=near), out=refined)
    return refined, next(planes)


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
    fold: NDArray[np.int64] = rank % _FOLDS
    return fold


def _rings(anchors: Anchors, height: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rings (or bands of rows) that there are, and which of them each anchor is of."""
    ring = anchors.ring
    if (ring < 0).any():
        ring = (anchors.v * (32 / height)).astype(np.int64)
    return np.unique(ring, return_inverse=True)


def _unseen(
    value: Tensor,
    network: Tensor,
    weight: Tensor,
    left_out: Tensor,
    high_up: Tensor,
    cells: Tensor,
    places: Tensor,
    grid: Grid,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Interpolate at each anchor from the other folds only.

    Returns:
        value, network (space x N) and the distance to the nearest anchor of another fold (N); log
        value and log network from the anchors below the upper ones (2xN) and from all of them
        (2 x rows x columns).
    """
    kept = weight * (1 - left_out)
    data = torch.cat([value, network])  # 4 x N
    kept = torch.cat([kept, weight[None] * (1 - high_up), weight[None]])
    splatted = grid.splat(
        cells,
        torch.cat([
            kept,
            (kept[:_FOLDS, None] * data).flatten(0, 1),
            (kept[_FOLDS:, None] * data[1::2]).flatten(0, 1),
        ]),
    )
    counts, weighted = splatted[: len(kept)], splatted[len(kept) :]
    here = _HEAT * (counts[:_FOLDS] > 0)
    screening = weighted.new_zeros(len(weighted) + _FOLDS)
    screening[-_FOLDS:] = _STIFFNESS * _DISTANCE_CELLS**-2
    by_fold = counts[:_FOLDS, None].expand(-1, len(data), -1, -1).flatten(0, 1)
    others = counts[_FOLDS:, None].expand(-1, 2, -1, -1).flatten(0, 1)
    fields = solve_membrane(
        torch.cat([by_fold, others, here]),
        torch.cat([weighted, here]),
        _STIFFNESS,
        screening,
    )
    everywhere = fields[-_FOLDS - 2 : -_FOLDS]
    sampled = grid.sample(fields, places)
    tested = _FOLDS * len(data)
    unseen = (sampled[:tested].view(_FOLDS, len(data), -1) * left_out[:, None]).sum(dim=0)
    distance = (_distance_px(sampled[-_FOLDS:], grid) * left_out).sum(dim=0)
    return unseen[:2], unseen[2:], distance, sampled[tested : tested + 2], everywhere


def _distance_px(heat: Tensor, grid: Grid) -> Tensor:
    """Return about the distance in pixels to the nearest cell that holds an anchor.

    Args:
        heat: a screened membrane held at 1 where anchors are, which decays from there as
            exp(-distance / scale) (after Crane et al., Geodesics in Heat, 2013).
        grid: that the membrane was solved on.
    """
    return -_DISTANCE_CELLS * grid.cell_px * torch.log(heat.clamp(1e-6, 1.0))


def _every(told: Tensor) -> int:
    """Return the step that leaves about a thousand of the anchors."""
    return max(1, told.shape[1] // _CAPACITY_STEP)


def _noise(
    error: Tensor,
    distance_px: Tensor,
    left_out: Tensor,
    given: Tensor,
    cells: Tensor,
    places: Tensor,
    grid: Grid,
) -> tuple[Tensor, Tensor]:
    """Return the standard deviation of log depth, before growth, and typical errors at anchors.

    The errors of left-out anchors are smoothed over the image, and scaled so that 1.645 sigma
    covers 90 % of those.

    Returns:
        1 x rows x columns and N.
    """
    grown = growth(distance_px, grid)
    rough = torch.log((error + _MIN_ERROR) / grown)
    kept = torch.cat([given * (1 - left_out), given[None]])
    splatted = grid.splat(cells, torch.cat([kept, kept * rough]))
    noise = smoothed(splatted[: len(kept)], splatted[len(kept) :], _NOISE_CELLS)
    expected = (grid.sample(noise[:-1], places) * left_out).sum(dim=0)
    excess = (rough - expected)[:: _every(left_out)].sort().values
    scale = excess[int(0.9 * (len(excess) - 1))] - math.log(Q90)
    return _OVERSTATED * torch.exp(noise[-1:] + scale), torch.exp(expected) * grown
