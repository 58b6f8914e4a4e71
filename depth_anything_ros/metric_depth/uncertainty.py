# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How sure refined depth is: standard deviations of log depth, by where a pixel lies.

Between the anchors, errors of left-out rings say it, growing with the distance to the nearest
anchor. Beyond the highest and the lowest ring nothing like it can be left out, so what is known of
networks and scenes joins. Everywhere, what the network adds to the anchors is as unsure as the line
that it came by.

The constants were chosen on frames of their own (benchmarks/coverage.py --tuning).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from depth_anything_ros.metric_depth.fitting import Real
from depth_anything_ros.metric_depth.membrane import Grid
from depth_anything_ros.metric_depth.scale import ScaleFit

# Log depth per image height below the lowest ring: ground that the network continues from it.
_BELOW = 1.1
# A random walk with distance in image heights, in proportion to an error that was seen, which is
# shrunk towards what is usual: above all rings, and above and below a single one.
_ABOVE, _ABOVE_ONE_RING, _BELOW_ONE_RING = 3.4, 4.5, 7.0
SHRUNK = 0.75  # power of the error
_WITHIN_CELL = 0.5  # about the distance that a cell hides, in cells
_BOUNDS = 4.0  # depth by the line counts as at most so many times that of the anchors, or so little
Q90 = 1.645  # half width of the 90 % interval of a normal distribution, in sigma
LARGEST_ERROR = 0.5  # log depth: what is off by more counts as this


@dataclass(frozen=True)
class OffsetDoubt:
    """How unsure a line is apart from its size.

    Attributes:
        sigma: standard deviation of dt - (t / s) ds, in 1/m or m.
        space: of the line: 'inverse_depth' or 'depth'.
    """

    sigma: float
    space: str

    @staticmethod
    def of(fit: ScaleFit) -> OffsetDoubt:
        """Return what the covariance of a fit says."""
        apart = np.array([-fit.shift / fit.scale, 1.0])
        return OffsetDoubt(float(np.sqrt(apart @ fit.covariance @ apart)), fit.space)


CERTAIN = OffsetDoubt(0.0, 'inverse_depth')


def growth(distance_px: NDArray[Real], grid: Grid) -> NDArray[Real]:
    """Return how an interpolation's error grows with distance: as a random walk's does."""
    grown: NDArray[Real] = np.sqrt(distance_px + np.float32(_WITHIN_CELL * grid.cell_px))
    return grown


def beyond_rings(beyond: NDArray[Real]) -> tuple[NDArray[Real], NDArray[Real]]:
    """Return the standard deviation of log depth above and below all rings, any shape.

    Args:
        beyond: image heights below the lowest ring, negative above the highest.

    Returns:
        What it is below; and above, where it is to be multiplied with error ** SHRUNK of the upper
        anchors' mean error of log depth as predicted from those below.
    """
    below: NDArray[Real] = _BELOW * np.maximum(beyond, 0)
    above: NDArray[Real] = _ABOVE * np.sqrt(np.maximum(-beyond, 0))
    return below, above


def beyond_one_ring(beyond: NDArray[Real], line_error: float) -> NDArray[Real]:
    """Return the same for a single ring, by the line's mean error along it."""
    per_walk = np.where(beyond < 0, _ABOVE_ONE_RING, _BELOW_ONE_RING)
    walk: NDArray[Real] = per_walk * np.sqrt(np.abs(beyond)) * line_error**SHRUNK
    return walk


def of_detail(
    inverse_prior: Tensor,
    at_anchors: Tensor,
    trust: Tensor,
    trust_sigma: Tensor,
    doubt: OffsetDoubt,
) -> Tensor:
    """Return the standard deviation of what the network adds to the anchors, in log depth.

    A detail is log(s p + t) - log(s p' + t), p' the prediction at the anchors. It is used in part,
    and where the anchors hardly tell which part (all of one depth, say), all of it is in question.
    Another size of the whole line cancels in it; what does not is the line's offset,
    (1 / (s p + t) - 1 / (s p' + t)) (dt - (t / s) ds).

    Args:
        inverse_prior: inverse depth in 1/m by the line, any shape; NaN where nothing is seen.
        at_anchors: the same interpolated between the anchors, positive.
        trust: the part of the detail that is used.
        trust_sigma: standard deviation of that.
        doubt: of the line.
    """
    ratio = (inverse_prior / at_anchors).nan_to_num_(1.0).clamp_(1 / _BOUNDS, _BOUNDS)
    if doubt.space == 'inverse_depth':
        per_offset = ratio.reciprocal().sub_(1).div_(at_anchors)
    else:
        per_offset = (ratio - 1).mul_(at_anchors)
    return torch.hypot(per_offset.mul_(trust * doubt.sigma), ratio.log_().mul_(trust_sigma))
