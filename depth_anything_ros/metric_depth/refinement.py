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

import torch
from torch import Tensor
import torch.nn.functional as F

from depth_anything_ros.config import Config
from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.consensus import agreement
from depth_anything_ros.metric_depth.extrapolation import outside, upper, upward_trust
from depth_anything_ros.metric_depth.membrane import Grid, solve_membrane
from depth_anything_ros.metric_depth.scale import sample, ScaleFit, State
from depth_anything_ros.metric_depth.uncertainty import (
    beyond_one_ring,
    beyond_rings,
    CERTAIN,
    growth,
    mean_error,
    of_detail,
    OffsetDoubt,
)

_MIN_ANCHORS = 20
_FOLDS = 4
_CELLS = 19200
_STIFFNESS = 0.04  # of the membrane, where one anchor pulls with 1
_TRUST = (0.0, 0.25, 0.5, 0.75, 1.0)
_SHARPNESS = 20.0  # how steeply a candidate's share falls with its left-out error
_ROBUST = 2.5  # left-out error, in typical ones around it, at which an anchor counts half
_ROUGHEST = 4.0  # typical error of the roughest places, in that of the whole image
_REACH = 5.0  # the correction fades over so many times the largest gap it was tested on
_DISTANCE_CELLS = 8.0  # scale on which distances to the nearest anchor are resolved
_HEAT = 1e3
_NOISE_STIFFNESS = 3.0
_OVERSTATED = 0.9  # the error between rings, in what gaps twice as large make of it
_Q90 = 1.645  # half width of the 90 % interval of a normal distribution, in sigma
_MIN_ERROR = 0.003
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
        if fit.space == 'depth':  # no depth at all is far, not behind the camera
            inverse = 1 / line.clamp(min=config.depth.min)
        refined = refine(inverse, anchors, OffsetDoubt.of(fit))
    if refined is None:
        c = fit.covariance
        variance = c[0, 0] * prediction.square() + 2 * c[0, 1] * prediction + c[1, 1]
        refined = inverse, (variance / line.square() + fit.residual**2).sqrt()
    inverse, log_sigma = refined
    depth_m = 1 / inverse
    stddev_m = depth_m * (log_sigma.square() + fit.doubt**2).sqrt()
    invalid = ~((inverse >= 1 / config.depth.max) & (inverse <= 1 / config.depth.min))
    if config.scale.max_stddev > 0:
        invalid |= ~(stddev_m <= config.scale.max_stddev)
    return MetricDepth(
        depth_m.masked_fill_(invalid, torch.nan), stddev_m.masked_fill_(invalid, torch.nan)
    )


def refine(
    inverse_prior: Tensor, anchors: Anchors, doubt: OffsetDoubt = CERTAIN
) -> tuple[Tensor, Tensor] | None:
    """Correct a depth image where anchors show that it is off.

    Args:
        inverse_prior: HxW inverse of the globally fitted depth in 1/m; may be negative.
        anchors: N known depths.
        doubt: how unsure the fitted line is where the anchors say nothing of it.

    Returns:
        HxW inverse depth in 1/m and HxW standard deviation of its log; None where the anchors are
        too few, or too much in one place, to judge by leaving some out.
    """
    height, width = inverse_prior.shape
    if len(anchors) < _MIN_ANCHORS:
        return None
    believed = agreement(anchors, inverse_prior)
    anchors, believed = anchors[believed > 0], believed[believed > 0]
    left_out = F.one_hot(folds(anchors, height, width), _FOLDS).T.to(inverse_prior)  # fold x N
    if len(anchors) < _MIN_ANCHORS or int((left_out.sum(dim=1) > 0).sum()) < 2:
        return None
    unit_m = float(anchors.z_m.mean())
    low, high = 0.5 / float(anchors.z_m.max()), 2 / float(anchors.z_m.min())
    measured, prior = 1 / anchors.z_m, sample(inverse_prior, anchors)
    # The two spaces, in units of similar size: space x N. Inverse depth needs no positive prior.
    value = torch.stack([unit_m * measured, measured.log()])
    network = torch.stack([unit_m * prior, prior.clamp(low, high).log()])

    fine = Grid.over(height, width, _CELLS)
    coarse = fine.coarser()
    high_up = upper(anchors)
    unseen_value, unseen_network, distance_px, from_below, everywhere = _unseen(
        value, network, believed, left_out, high_up, anchors, coarse
    )
    trusts = inverse_prior.new_tensor(_TRUST)
    candidates = unseen_value + trusts[:, None, None] * (network - unseen_network)  # T x space x N
    inverses = torch.stack([candidates[:, 0] / unit_m, candidates[:, 1].exp()]).clamp(low, high)
    # An anchor that is itself wrong must not decide, hence the weight and the second clamp.
    loss = (believed * (inverses / measured).log().abs().clamp(max=0.5)).mean(dim=-1)  # space x T
    loss = loss + _EXACT
    # Along one ring the lidar interpolates itself best; above and below only the network can tell.
    planar = len(_rings(anchors, height)[0]) < 2
    if planar:
        loss = loss.masked_fill(trusts < 1, torch.inf)
    share = (loss.min() / loss) ** _SHARPNESS
    share = share / share.sum()
    error = ((share[..., None] * inverses).sum(dim=(0, 1)) / measured - 1).abs()
    space_share = share.sum(dim=1)
    trust = (share * trusts).sum(dim=1) / space_share.clamp(min=1e-12)

    noise, typical = _noise(error, distance_px, left_out, anchors, coarse)
    # Against what is usual around it: foliage is rough, and that makes no outliers of its points.
    usual = typical.clamp(max=_ROUGHEST * float(error.median()) + _EXACT)
    weight = believed / (1 + (error / (_ROBUST * usual)).square())
    weighted = weight * torch.cat([torch.ones_like(value[:1]), value - trust[:, None] * network])
    splatted = fine.splat(anchors.u, anchors.v, weighted)
    counts = splatted[:1]
    # One solve for the two corrections, how far anchors support them, and the distance to them.
    here = _HEAT * (counts > 0).to(counts)
    # What was not tested is not trusted: the correction fades beyond the gaps left out above.
    gap_px = float(torch.sort(distance_px).values[int(0.9 * len(distance_px))])
    reach_px = gap_px if planar else max(_REACH * gap_px, 0.5 * height)
    screening = [0.0, 0.0, (fine.cell_px / reach_px) ** 2, _DISTANCE_CELLS**-2]
    fields = solve_membrane(
        torch.cat([counts, counts, counts, here]),
        torch.cat([splatted[1:], counts, here]),
        _STIFFNESS,
        counts.new_tensor(screening) * _STIFFNESS,
    )
    to_anchor_px = _distance_px(fields[3:], fine)

    trust_above, error_above = upward_trust(
        value[1], network[1], from_below, believed * high_up, trusts
    )
    outer = outside(everywhere, trust_above, anchors, coarse)
    if planar:  # above one ring as below it only the network can tell, however badly
        outer = replace(outer, share=torch.zeros_like(outer.share))
    inner_trust = (share * trusts).sum()
    detail = of_detail(
        _at_cells(inverse_prior, coarse),
        everywhere[1:2].exp(),
        torch.lerp(inner_trust, outer.trust, outer.share),
        (share * (trusts - inner_trust).square()).sum().sqrt() * (1 - outer.share),
        doubt,
    )
    noise, detail, beyond_px, outer_trust, outer_share, outer_factor = F.interpolate(
        torch.cat([
            noise, detail, outer.beyond_px, outer.trust, outer.share, outer.log_factor.exp()
        ])[None],
        scale_factor=2,
        mode='bilinear',
    )[0][:, None]
    if planar:
        line_error = mean_error(network[1] - value[1], believed)
        extrapolation = beyond_one_ring(beyond_px / height, line_error)
    else:
        extrapolation = outer_share * beyond_rings(beyond_px / height, error_above)
    between_px = torch.lerp(to_anchor_px, torch.zeros_like(to_anchor_px), outer_share)
    interpolation = noise * growth(between_px, fine)
    planes = [
        space_share[0] / unit_m * fields[:1],
        space_share[1] * fields[1:2].exp(),
        fields[2:3].clamp(0, 1),
        (interpolation.square() + extrapolation.square() + detail.square()).sqrt(),
        to_anchor_px,
        outer_trust,
        outer_share,
        outer_factor,
    ]
    (
        straight, factor, support, log_sigma, to_anchor_px, outer_trust, outer_share, outer_factor
    ) = fine.upsample(torch.cat(planes), height, width)
    refined = straight + space_share[0] * trust[0] * inverse_prior
    bounded = inverse_prior.clamp(low, high)
    refined += factor * bounded ** trust[1]
    refined = torch.lerp(inverse_prior, refined, support)
    refined = torch.lerp(refined, outer_factor * bounded**outer_trust, outer_share)
    # What the network calls far beyond all anchors (sky) stays that, unless anchors are close by.
    sky = (inverse_prior < 0.5 * low) & (to_anchor_px > max(0.5 * gap_px, 2 * fine.cell_px))
    return torch.where(sky, inverse_prior, refined), log_sigma


def folds(anchors: Anchors, height: int, width: int) -> Tensor:
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
        rank = (anchors.u * (16 / width)).long()
    fold: Tensor = rank % _FOLDS
    return fold


def _rings(anchors: Anchors, height: int) -> tuple[Tensor, Tensor]:
    """Return the rings (or bands of rows) that there are, and which of them each anchor is of."""
    ring = anchors.ring
    if bool((ring < 0).any()):
        ring = (anchors.v * (32 / height)).long()
    rings, rank = torch.unique(ring, return_inverse=True)
    return rings, rank


def _unseen(
    value: Tensor,
    network: Tensor,
    weight: Tensor,
    left_out: Tensor,
    high_up: Tensor,
    anchors: Anchors,
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
        anchors.u,
        anchors.v,
        torch.cat(
            [
                kept,
                (kept[:_FOLDS, None] * data).flatten(0, 1),
                (kept[_FOLDS:, None] * data[1::2]).flatten(0, 1),
            ]
        ),
    )
    counts, weighted = splatted[: len(kept)], splatted[len(kept) :]
    here = _HEAT * (counts[:_FOLDS] > 0).to(counts)
    screening = weighted.new_zeros(len(weighted) + _FOLDS)
    screening[-_FOLDS:] = _STIFFNESS * _DISTANCE_CELLS**-2
    times = torch.tensor([len(data)] * _FOLDS + [2, 2], device=counts.device)
    fields = solve_membrane(
        torch.cat([counts.repeat_interleave(times, dim=0), here]),
        torch.cat([weighted, here]),
        _STIFFNESS,
        screening,
    )
    everywhere = fields[-_FOLDS - 2 : -_FOLDS]
    sampled = grid.sample(fields, anchors.u, anchors.v)
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


def _at_cells(plane: Tensor, grid: Grid) -> Tensor:
    """Return an HxW plane's values at the centres of cells, 1 x rows x columns."""
    row, column = (
        ((torch.arange(count, device=plane.device) + 0.5) * grid.cell_px).long().clamp(max=size - 1)
        for count, size in zip((grid.rows, grid.columns), plane.shape)
    )
    return plane[row[:, None], column][None]


def _noise(
    error: Tensor, distance_px: Tensor, left_out: Tensor, anchors: Anchors, grid: Grid
) -> tuple[Tensor, Tensor]:
    """Return the standard deviation of log depth, before growth, and typical errors at anchors.

    The errors of left-out anchors are smoothed over the image, and scaled so that 1.645 sigma
    covers 90 % of those.

    Returns:
        1 x rows x columns and N.
    """
    rough = torch.log((error + _MIN_ERROR) / growth(distance_px, grid))
    kept = torch.cat([1 - left_out, torch.ones_like(left_out[:1])])
    splatted = grid.splat(anchors.u, anchors.v, torch.cat([kept, kept * rough]))
    noise = solve_membrane(splatted[: len(kept)], splatted[len(kept) :], _NOISE_STIFFNESS)
    expected = (grid.sample(noise[:-1], anchors.u, anchors.v) * left_out).sum(dim=0)
    excess = torch.sort(rough - expected).values
    scale = excess[int(0.9 * (len(excess) - 1))] - math.log(_Q90)
    typical = torch.exp(expected) * growth(distance_px, grid)
    return _OVERSTATED * torch.exp(noise[-1:] + scale), typical
