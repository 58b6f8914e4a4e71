# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a prediction and what anchors it to (scale, shift), and how far that can be believed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.extrinsics import ExtrinsicJudge
from depth_anything_ros.metric_depth.fitting import failed, fit_line, LineFit, Prior
from depth_anything_ros.metric_depth.glance import Glance, glance
from depth_anything_ros.metric_depth.ground import fit_ground
from depth_anything_ros.metric_depth.ground import GroundPlane as GroundPlane
from depth_anything_ros.metric_depth.neighbours import DOUBT as NEIGHBOUR_DOUBT
from depth_anything_ros.metric_depth.rangefinder import correct, RangeReading
from depth_anything_ros.metric_depth.sources import takes
from depth_anything_ros.metric_depth.temporal import AnchorWatch, LineTrack, SceneCutDetector
from depth_anything_ros.network.spec import ModelSpec

_FEW_INLIERS = 20  # below this a prior from another source joins the anchors
# So it does where the shift is as unsure as this, in what the anchors measure: they have one depth.
_UNKNOWN_SHIFT = 1.0
_SAMPLED_ANCHORS = 64
_MOST_SENSORS = 8  # whose names are kept: names that change all the time are none
_ANCHORS = 'anchors'  # of whatever sources
# A metric checkpoint on images unlike its training data is off by this much: log depth, and metres
# or 1/m.
_CHECKPOINT_SIGMA = {'depth': (0.15, 0.3), 'inverse_depth': (0.15, 0.01)}


class State(str, Enum):
    """How far `depth` may be taken for metres."""

    UNANCHORED = 'UNANCHORED'
    HELD = 'HELD'
    FITTED = 'FITTED'
    METRIC = 'METRIC'


@dataclass(frozen=True, eq=False)
class ScaleFit:
    """How a prediction becomes metres, and why.

    Attributes:
        state: FITTED from this frame's anchors, HELD from earlier ones, METRIC from the checkpoint
            alone, UNANCHORED from nothing.
        method: the sources of the anchors ('lidar', 'depth+motion'; 'carried' from sweeps of other
            times of a recording), 'camera_height', 'checkpoint', 'assumed' or 'none'; '+range'
            where a rangefinder has corrected it.
        space: 'inverse_depth': 1/z = scale * p + shift; 'depth': z = scale * p + shift.
        scale: NaN where there is none.
        shift: in 1/m or m, NaN where there is none.
        covariance: 2x2 of (scale, shift).
        inliers: anchors within 3 sigma of the line.
        residual: robust standard deviation of log depth of the anchors about the line.
        stamp_ns: time of the image that the line was fitted on.
        reason: one line saying why the state is what it is.
        assumed: whether scale and shift are parameters, not measurements.
        at_anchors: N float64 predictions at the anchors of this frame, None where it had none.
        doubt: standard deviation of log depth from what is not known of the extrinsic, or of the
            odometry where there is nothing else.
        extrinsic_score: 0 to 1, how well edges of sweeps and images agree; NaN where unknown.
    """

    state: State
    method: str
    space: str
    scale: float
    shift: float
    covariance: NDArray[np.float64]
    inliers: int
    residual: float
    stamp_ns: int
    reason: str
    assumed: bool = False
    at_anchors: NDArray[np.float64] | None = None
    doubt: float = 0.0
    extrinsic_score: float = math.nan

    @property
    def from_anchors(self) -> bool:
        """Whether the line is one through anchors."""
        return self.method not in ('camera_height', 'checkpoint', 'assumed', 'none')


@dataclass(frozen=True, eq=False)
class PassRecord:
    """What smoothing needs of one image: some kilobytes.

    Attributes:
        pooled: M float64 averages of the prediction over parts of the image, see Glance.
        change: how much the image changed since the one before, see SceneCutDetector.
        restarted: whether there is no past: at the start, at a scene cut, with another camera, or
            where time ran backwards.
        stamp_ns: time of the image in nanoseconds.
        fit: what was made of it, without what it is at its anchors.
    """

    pooled: NDArray[np.float64]
    change: float
    restarted: bool
    stamp_ns: int
    fit: ScaleFit


class ScaleEstimator:
    """Follows scale and shift over time.

    Attributes:
        config: may be replaced between updates.
        spec: what the network predicts.
        record: of the last update, what smoothing needs; None before the first.
    """

    def __init__(self, config: ScaleConfig, spec: ModelSpec) -> None:
        """Start with no history."""
        self.config = config
        self.spec = spec
        self.reset()

    def reset(self) -> None:
        """Forget all history."""
        self._track = LineTrack(self.spec.space)
        self._cuts = SceneCutDetector()
        self._anchors = AnchorWatch()
        self._judges: dict[str, ExtrinsicJudge] = {}  # by the sensor's frame
        self._judge = ExtrinsicJudge()  # of the newest sweep
        self._accepted: ScaleFit | None = None
        self._stamp_ns: int | None = None
        self.record: PassRecord | None = None

    def needs_neighbour(self, stamp_ns: int, ground: GroundPlane | None) -> bool:
        """Tell whether nothing better is known of an image without anchors than by a neighbour.

        Args:
            stamp_ns: time of the image in nanoseconds.
            ground: the ground plane where it is known.
        """
        config, last = self.config, self._accepted
        if not takes(config.method, 'neighbour') or self.spec.metric:
            return False
        if takes(config.method, 'camera_height') and (ground or config.camera_height > 0):
            return False
        if last is None or last.method == 'neighbour':
            return True
        return abs(stamp_ns - last.stamp_ns) * 1e-9 > config.max_hold

    def update(
        self,
        prediction: Tensor,
        anchors: Anchors | None,
        camera: Camera,
        stamp_ns: int,
        image: NDArray[np.float32] | None = None,
        ground: GroundPlane | None = None,
        edges: NDArray[np.float32] | None = None,
        ranging: RangeReading | None = None,
    ) -> ScaleFit:
        """Fit one frame and say what it is worth.

        Args:
            prediction: HxW network output at depth-image size, in spec.space.
            anchors: points of known depth, None without a sensor.
            camera: pinhole camera of the prediction.
            stamp_ns: time of the image in nanoseconds.
            image: small gray image by which scene cuts are told; None never cuts.
            ground: the ground plane where it is known.
            edges: its outline, by which the extrinsic is judged; None judges nothing.
            ranging: what a rangefinder says, which corrects a line that no anchors give.

        Returns:
            The fit to use for this frame.
        """
        note = self._restart_reason(stamp_ns, image)
        restarted = self._stamp_ns is None or bool(note)
        seen = glance(prediction, anchors)
        at_anchors = None if anchors is None else seen.at_anchors
        turned, doubt = self._judged(edges, anchors, camera, stamp_ns)
        if turned and anchors is not None and (others := anchors.without('lidar')) is not None:
            is_lidar = anchors.source == anchors.names.index('lidar')
            # What samples a NaN is no anchor to refinement either.
            at_anchors = np.where(is_lidar, np.nan, seen.at_anchors)
            seen = replace(seen, at_anchors=seen.at_anchors[~is_lidar])
            anchors, note, turned, doubt = others, f'{note}lidar: {turned}; ', '', 0.0
        fit = self._follow(seen, anchors, camera, stamp_ns, ground, note, turned, doubt)
        if ranging is not None and takes(self.config.method, 'range'):
            fit = _ranged(fit, ranging, seen, camera)
        fit = replace(fit, extrinsic_score=self._judge.score)
        self.record = PassRecord(seen.pooled, self._cuts.change, restarted, stamp_ns, fit)
        return replace(fit, at_anchors=at_anchors)

    def _follow(
        self,
        seen: Glance,
        anchors: Anchors | None,
        camera: Camera,
        stamp_ns: int,
        ground: GroundPlane | None,
        note: str,
        turned: str,
        doubt: float,
    ) -> ScaleFit:
        elapsed_s = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) * 1e-9
        self._stamp_ns = stamp_ns
        self._track.advance(seen.pooled, elapsed_s, self._cuts.change)
        fit, method = self._measure(seen, anchors, camera, ground)
        from_anchors = method == _ANCHORS
        moved = self._anchors.moved(
            anchors if from_anchors else None, elapsed_s, self._cuts.change
        )
        vouched = None if moved is None else moved == 0.0
        if not from_anchors:
            doubt = 0.0
        elif anchors is not None and anchors.names == ('motion',):
            doubt = self.config.odometry_sigma  # of all anchors alike, so that no residual tells
        elif anchors is not None and anchors.names == ('neighbour',):
            doubt = NEIGHBOUR_DOUBT
        rejection = fit.failure or turned
        if not rejection:
            rejection = self._track.update(fit, _sampled(seen), vouched)
        if rejection and moved and not turned:
            rejection = (
                f'anchors moved by {math.expm1(abs(moved)):.0%} while the image did not: rejected '
                '(check the extrinsic)'
            )
        if rejection:
            return self._without_fit(stamp_ns, f'{note}{rejection}')
        if from_anchors and anchors is not None:
            method = '+'.join(anchors.names)
        self._accepted = ScaleFit(
            State.FITTED,
            method,
            self.spec.space,
            fit.scale,
            fit.shift,
            fit.covariance,
            fit.inliers,
            fit.residual,
            stamp_ns,
            f'{note}{fit.inliers} inliers from {method.replace("_", " ").replace("+", ", ")}',
            doubt=doubt,
        )
        return self._accepted

    def _judged(
        self,
        edges: NDArray[np.float32] | None,
        anchors: Anchors | None,
        camera: Camera,
        stamp_ns: int,
    ) -> tuple[str, float]:
        """Return why the lidar's anchors must not be used, empty where they may, and a doubt."""
        if anchors is None or 'lidar' not in anchors.names or edges is None:
            return '', 0.0
        sweep = anchors.of('lidar')
        self._judge = self._judge_of(sweep.frame_id)
        turned = self._judge.judge(edges, sweep, camera, stamp_ns, self._cuts.change)
        return turned, self._judge.doubt

    def _judge_of(self, frame_id: str) -> ExtrinsicJudge:
        """Return who judges the sweeps of a sensor, by the name of its frame."""
        if frame_id not in self._judges and len(self._judges) >= _MOST_SENSORS:
            self._judges.clear()
        return self._judges.setdefault(frame_id, ExtrinsicJudge())

    def _restart_reason(self, stamp_ns: int, image: NDArray[np.float32] | None) -> str:
        """Reset where the past says nothing about this frame; return a note of it."""
        if self._stamp_ns is not None and stamp_ns < self._stamp_ns:
            self.reset()
            self._cuts.is_cut(image)
            return 'time ran backwards, history dropped; '
        if self._cuts.is_cut(image):
            self._track, self._anchors = LineTrack(self.spec.space), AnchorWatch()
            for judge in self._judges.values():
                judge.start_scene()
            self._accepted = None
            return 'scene cut, history dropped; '
        return ''

    def _measure(
        self,
        seen: Glance,
        anchors: Anchors | None,
        camera: Camera,
        ground: GroundPlane | None,
    ) -> tuple[LineFit, str]:
        """Return the best line that this frame alone offers, and where it comes from."""
        config = self.config
        if ground is None and config.camera_height > 0:
            ground = GroundPlane.from_pitch(config.camera_height, config.camera_pitch)
        if config.method == 'none':
            return failed('scale.method is none'), 'none'
        use_ground = ground is not None and takes(config.method, 'camera_height')
        direct = failed('no anchors')
        if anchors is not None:
            value = seen.at_anchors
            inverse = self.spec.space == 'inverse_depth'
            target = (1.0 / anchors.z_m if inverse else anchors.z_m).astype(np.float64)
            direct = fit_line(value, target, own_sigma=anchors.sigma)
            if direct.inliers >= _FEW_INLIERS and _determined(direct, target):
                return direct, _ANCHORS
            prior = self._other_source(seen, camera, ground if use_ground else None)
            if prior is not None:
                joined = fit_line(value, target, prior, anchors.sigma)
                direct = joined if direct.failure or not joined.failure else direct
            if not direct.failure:
                return direct, _ANCHORS
        if use_ground:
            assert ground is not None
            fit = self._fit_ground(seen, camera, ground)
            if fit.failure and direct.failure != 'no anchors':
                fit = failed(f'{direct.failure}; {fit.failure}')
            return fit, 'camera_height'
        if config.method == 'camera_height':
            return failed('neither scale.camera_height nor scale.ground_frame is known'), 'none'
        return direct, _ANCHORS

    def _fit_ground(self, seen: Glance, camera: Camera, ground: GroundPlane) -> LineFit:
        config = self.config
        return fit_ground(
            seen.lattice,
            self.spec.space,
            camera,
            ground,
            config.camera_pitch_sigma,
            config.camera_height_sigma,
        )

    def _other_source(
        self, seen: Glance, camera: Camera, ground: GroundPlane | None
    ) -> Prior | None:
        """Return what else is known of the line: the past, the ground, or the checkpoint."""
        if self._track.started:
            return Prior(*self._track.line())
        if ground is not None:
            fit = self._fit_ground(seen, camera, ground)
            if not fit.failure:
                return Prior(fit.scale, fit.shift, fit.covariance)
        if self.spec.metric:
            return Prior(1.0, 0.0, np.diag(np.square(_CHECKPOINT_SIGMA[self.spec.space])))
        return None

    def _without_fit(self, stamp_ns: int, reason: str) -> ScaleFit:
        """Hold the last fit while it is fresh, else say what is left."""
        last = self._accepted
        if last is not None:
            age_s = (stamp_ns - last.stamp_ns) * 1e-9
            if age_s <= self.config.max_hold:
                scale, shift, covariance = self._track.line()
                return replace(
                    last,
                    state=State.HELD,
                    scale=scale,
                    shift=shift,
                    covariance=covariance,
                    reason=f'{reason}: holding a fit of {age_s:.1f} s ago',
                )
            reason = f'{reason}: last fit is {age_s:.1f} s old'
        nothing = unanchored(self.spec.space, stamp_ns, reason)
        if self.spec.metric:
            sigma = _CHECKPOINT_SIGMA[self.spec.space]
            return replace(
                nothing,
                state=State.METRIC,
                method='checkpoint',
                scale=1.0,
                shift=0.0,
                covariance=np.diag(np.square(sigma)),
                residual=sigma[0],
                reason=f'metric checkpoint; {reason}',
            )
        if self.config.unanchored == 'assume':
            return replace(
                nothing,
                method='assumed',
                scale=self.config.assumed_scale,
                shift=self.config.assumed_shift,
                assumed=True,
                reason=f'assumed scale and shift; {reason}',
            )
        return nothing


def _ranged(fit: ScaleFit, ranging: RangeReading, seen: Glance, camera: Camera) -> ScaleFit:
    """Correct a line that was not measured on this image by the one thing that a range tells.

    A range determines the scale where the shift is known, and so leaves the state what it is.
    """
    if fit.state is State.FITTED:
        return fit
    if fit.state is State.UNANCHORED:
        wanted = 'a range alone tells no shift: it wants a metric checkpoint, or a fit to hold'
        return replace(fit, reason=f'{fit.reason}; {wanted}')
    line = np.array([fit.scale, fit.shift])
    corrected = correct(line, fit.covariance, ranging, seen.lattice, fit.space, camera)
    if isinstance(corrected, str):
        return replace(fit, reason=f'{fit.reason}; {corrected}')
    (scale, shift), covariance = corrected
    return replace(
        fit,
        method=f'{fit.method}+range',
        scale=float(scale),
        shift=float(shift),
        covariance=covariance,
        reason=f'{fit.reason}; scale corrected by a range of {ranging.range_m:.2f} m',
    )


def _determined(fit: LineFit, target: NDArray[np.float64]) -> bool:
    """Tell whether points fix a line, not at their own depth alone: not where all have one."""
    shift_sigma = math.sqrt(fit.covariance[1, 1])
    return not fit.failure and shift_sigma < _UNKNOWN_SHIFT * float(np.median(target))


def unanchored(space: str, stamp_ns: int, reason: str) -> ScaleFit:
    """Return the fit of an image of which no metres are known, with the reason why."""
    return ScaleFit(
        State.UNANCHORED,
        'none',
        space,
        math.nan,
        math.nan,
        np.full((2, 2), math.nan),
        0,
        math.nan,
        stamp_ns,
        reason,
    )


def _sampled(seen: Glance) -> NDArray[np.float64]:
    """Return some hundreds of an image's predictions, and some at anchors: objects may be small."""
    few = seen.at_anchors[:: max(1, len(seen.at_anchors) // _SAMPLED_ANCHORS)]
    values: NDArray[np.float64] = np.concatenate([seen.lattice[::3, ::4].ravel(), few])
    return values[np.isfinite(values) & (values > 0)]
