# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Images without a sweep, from the sweeps before and after them: for recordings.

The world stands still for the most part. Where the camera went from the last image with a sweep is
seen in the images (CameraMotion), and so the sweep is brought to where it lies now: as anchors,
some seconds old. The same is done backwards from the next image with a sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ScaleConfig
from depth_anything_ros.metric_depth.anchors import Anchors, neighbours
from depth_anything_ros.metric_depth.carried import Carried, fit_carried
from depth_anything_ros.metric_depth.scale import ScaleFit, State
from depth_anything_ros.metric_depth.seen_odometry import compare, shares
from depth_anything_ros.metric_depth.ways import (
    Predict,
    seen_way,
    told_way,
    UNCHECKED_SHARE,
    View,
    Way,
)
from depth_anything_ros.network.spec import ModelSpec

# Share of a way that odometry is off by in images, from which on it is not used.
_LYING_SHARE = 0.08
_UNSEEN_SHARE = 0.03  # standard deviation of that, from which on images do not tell
_STRANGE = 2.0  # ratio of depths, of a swept point and of the line, from which on it has moved
_WAY_SHARE = 0.015  # standard deviation of the camera's way, as seen in images, at best
_SHORT_M = 1.0  # ways are not taken for shorter
# Two ways agree where the sweeps that they bring do, in the median of |log ratio| of depth. On 17
# drives it was under .07 where both were right, over .13 where one was not.
_AGREEING = 0.07
_PAIRS_NEEDED = 20
_COMPARED = (1024, 4096)
_NEIGHBOUR_PX = 4.0


@dataclass(frozen=True, eq=False)
class Bridged:
    """What a recording knows of an image that has no fit of its own.

    Attributes:
        line: from the fits before and after, see smooth().
        carried: the sweeps before and after, None where the camera's way was not seen.
    """

    line: ScaleFit
    carried: Carried | None = None

    def fit(
        self, prediction: Tensor, camera: Camera, config: ScaleConfig, spec: ModelSpec
    ) -> tuple[ScaleFit, Anchors | None]:
        """Fit the image to the sweeps that were carried to it, or else take the line.

        Args:
            prediction: HxW network output at depth-image size, in spec.space.
            camera: pinhole camera of the prediction.
            config: limits of anchors.
            spec: what the network predicts.

        Returns:
            A fit, FITTED from the carried sweeps where they agree with the image; its anchors.
        """
        if self.carried is None:
            return self.line, None
        fit, anchors = fit_carried(self.carried, prediction, camera, config, spec)
        if fit.state is not State.FITTED:
            refused = f'sweeps of {self.carried.when} not used: {fit.reason}'
            return replace(self.line, reason=f'{self.line.reason}; {refused}'), None
        reason = f'{fit.reason}: sweeps of {self.carried.when}, placed by {self.carried.placed_by}'
        doubt = 0.0 if np.isnan(self.line.scale) else self.line.doubt
        if not np.isnan(self.line.scale):
            fit = _with(fit, self.line)
        fit, anchors = _without_strange(fit, anchors)
        stamp_ns, score = self.line.stamp_ns, self.line.extrinsic_score
        return (
            replace(fit, doubt=doubt, reason=reason, stamp_ns=stamp_ns, extrinsic_score=score),
            anchors,
        )


def carry(
    views: Sequence[View], predict: Predict, config: Config, spec: ModelSpec
) -> list[Carried | None]:
    """Bring the sweep of the first image, and that of the last, to those between.

    Args:
        views: images of one camera in the order of time, of which only the first and the last may
            have a sweep.
        predict: number of a view -> HxW prediction of its image; called for some of them.
        config: limits of anchors and depth.
        spec: what the network predicts.

    Returns:
        For each view the sweeps that were followed to it; None where there are none, and for those
        that have one themselves.
    """
    order = range(len(views))
    ends = [
        along
        for along in (order, order[::-1])
        if len(views) > 1 and views[along[0]].sweep is not None
    ]
    waiting = [n for n in order if views[n].sweep is None]
    found: list[Carried | None] = [None for _ in views]
    for follow, placed_by in (
        (_by_odometry, 'odometry'),
        (_by_images, "the camera's motion"),
    ):
        if all(found[n] is not None for n in waiting):
            break
        ways = follow(views, ends, predict, config, spec)
        for n in waiting:
            sweeps = tuple(way.carried(views, n) for way in ways if n in way.poses)
            if sweeps and found[n] is None:
                found[n] = Carried(sweeps, placed_by)
    return found


def _by_odometry(
    views: Sequence[View], ends: list[range], predict: Predict, config: Config, spec: ModelSpec
) -> list[Way]:
    """Return where odometry brings the sweeps, as far as it is believed."""
    told = [(told_way(views, along, config.scale), along) for along in ends]
    seen = [
        compare(way, views, along, predict, config, spec)
        for way, along in told
        if len(way.poses) > 1
    ]
    if not seen:
        return []
    share, sigma = shares(seen)
    ways = [one.way for one in seen]
    if share > _LYING_SHARE + 2 * sigma:
        return []
    met = [log_ratio for log_ratio, _ in _differences(ways, views, config.scale).values()]
    if sigma > _UNSEEN_SHARE:  # only the sweeps can tell, if there are two
        if met and min(met) >= _AGREEING:
            return []
        share = max(share, UNCHECKED_SHARE)
        if not met or max(met) >= _AGREEING:
            ways = [_within(way, views, config.scale.max_hold) for way in ways]
    return [replace(way, share=max(way.share, share)) for way in ways]


def _by_images(
    views: Sequence[View], ends: list[range], predict: Predict, config: Config, spec: ModelSpec
) -> list[Way]:
    """Return where the camera's motion as it is seen brings the sweeps."""
    ways = [seen_way(views, along, predict, config, spec) for along in ends]
    if len(ways) == 2:
        return _agreed(ways[0], ways[1], views, config.scale)
    return [_within(way, views, config.scale.max_hold) for way in ways]


def _agreed(there: Way, back: Way, views: Sequence[View], config: ScaleConfig) -> list[Way]:
    """Return as much of two ways as is confirmed, with what share of them a camera is off.

    A camera that follows a vehicle beside it, or is lost, brings its sweep elsewhere than the other
    way does, or than the sweep lies that was measured at its end. Up to where the two last agree,
    each is right.
    """
    agreeing, share = [], _WAY_SHARE
    for n, (log_ratio, off_m) in _differences([there, back], views, config).items():
        if log_ratio < _AGREEING:
            agreeing.append(n)
            way_m = there.length_m[n] + back.length_m[n]
            share = max(share, off_m / max(way_m, _SHORT_M))
    first, last = (agreeing[0], agreeing[-1]) if agreeing else (len(views), -1)
    confirmed = (
        there.within({n for n in there.poses if n <= last}),
        back.within({n for n in back.poses if n >= first}),
    )
    return [replace(way, share=share) for way in confirmed]


def _differences(
    ways: Sequence[Way], views: Sequence[View], config: ScaleConfig
) -> dict[int, tuple[float, float]]:
    """Compare two sweeps where both are brought to, and show the same.

    Returns:
        Number of a view -> median |log ratio| of depth, and |median| of metres between them.
    """
    found: dict[int, tuple[float, float]] = {}
    if len(ways) < 2:
        return found
    there, back = ways
    for n in sorted(there.poses.keys() & back.poses.keys()):
        ours, others = (
            Carried((replace(way, share=0.0, turn_rad_s=0.0).carried(views, n),)).anchors(
                views[n].camera.rectified(), config
            )
            for way in (there, back)
        )
        if min(len(ours), len(others)) < _PAIRS_NEEDED:
            continue
        here, beside = neighbours(ours, others, _COMPARED, _NEIGHBOUR_PX)
        if len(here) >= _PAIRS_NEEDED:
            log_ratio = np.abs(np.log(here.z_m / beside.z_m))
            off_m = abs(float(np.median(here.z_m - beside.z_m)))
            found[n] = float(np.median(log_ratio)), off_m
    return found


def _within(way: Way, views: Sequence[View], longest_s: float) -> Way:
    """Return a way as far as it is believed with nothing to confirm it."""
    start_ns = views[way.start].stamp_ns
    return way.within(
        {n for n in way.poses if abs(views[n].stamp_ns - start_ns) <= longest_s * 1e9}
    )


def _with(fit: ScaleFit, line: ScaleFit) -> ScaleFit:
    """Return a fit with what is known of its line from elsewhere, each by its covariance."""
    gain = np.linalg.solve(fit.covariance + line.covariance, fit.covariance).T
    off = np.array([line.scale - fit.scale, line.shift - fit.shift])
    scale, shift = np.array([fit.scale, fit.shift]) + gain @ off
    covariance = fit.covariance - gain @ fit.covariance
    return replace(fit, scale=float(scale), shift=float(shift), covariance=covariance)


def _without_strange(fit: ScaleFit, anchors: Anchors) -> tuple[ScaleFit, Anchors]:
    """Leave out what lies where the image shows something far nearer or farther: it has moved."""
    assert fit.at_anchors is not None
    said = fit.scale * fit.at_anchors + fit.shift
    measured = 1 / anchors.z_m if fit.space == 'inverse_depth' else anchors.z_m
    with np.errstate(invalid='ignore'):  # NaN is no anchor anyway
        strange = (said * _STRANGE < measured) | (said > measured * _STRANGE)
    return replace(fit, at_anchors=fit.at_anchors[~strange]), anchors[~strange]
