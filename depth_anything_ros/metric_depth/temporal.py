# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scale and shift over time: the line between measurements, and what tells a wrong anchor.

The network re-normalises every image, so each frame's own line is the best there is; the past
stands in where a frame has none, and notices the frame whose anchors do not belong to the image.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.metric_depth.anchors import Anchors, neighbours
from depth_anything_ros.metric_depth.fitting import inverse_2x2, LineFit, median

_POOLED_NEEDED = 40
_FIRST_ERRORS = (0.02, 0.04)  # log depth a frame: of a line that stays, and of one that is carried
_LEAST_ERROR = 0.003
_LEARNING = 0.2  # weight of the newest frame
_SMALLEST_JUMP = 0.05  # log depth: less is not told from motion
_SECOND_SIGMA = 0.05  # log depth per square root of a second, of any line
_CHANGE_SIGMA = 0.3  # log depth per unit of image change: what comes into view in a turn is new
_GATE_SIGMAS = 3.5
_GATE_FLOOR = 0.08  # log depth: a smaller jump is never rejected
_ANCHOR_JUMP = 0.08  # log depth: anchors as a whole do not move more while the image stands still
_ANCHOR_JUMP_PER_CHANGE = 2.0  # more is allowed per unit of image change
_ANCHOR_JUMP_PER_SECOND = 0.5  # and per second of a gap: a wall close by recedes as fast
_USUAL_PERIOD_S = 0.1
_ANCHOR_MEMORY_S = 1.0
_CONVINCED_S = 7.0  # sweeps that agree with each other for so long are believed
_YOUNG_S = 1.0  # those believed for less have no more to say than others that agree as long
_ANCHORS_COMPARED = (256, 1024)
_ANCHORS_NEEDED = 20
_NEIGHBOUR_PX = 12.0
_RIDGE = 1e-12  # of the normal matrix: 1e-6 of its columns
_PROBED_SHARE = 0.2  # of the largest value of the line: below, two lines are not compared
_COMPARED = (12, 16)  # rows, columns: less is seen of motion
_CUT_CORRELATION = 0.4


class SceneCutDetector:
    """Tells an abrupt change of the image from motion; the anchors have no say in it.

    Attributes:
        change: 1 - correlation of the last two images, 0 where unknown.
    """

    def __init__(self) -> None:
        """Start without an image."""
        self.change = 0.0
        self._last: NDArray[np.float32] | None = None

    def is_cut(self, image: NDArray[np.float32] | None) -> bool:
        """Compare with the last image by normalised correlation, blind to exposure.

        Args:
            image: rows x columns, any gray unit; None keeps the last.
        """
        if image is None:
            self.change = 0.0
            return False
        small = cv2.resize(image, _COMPARED[::-1], interpolation=cv2.INTER_AREA).ravel()
        small = small - small.mean()
        norm = float(np.linalg.norm(small))
        small = small / norm if norm > 1e-6 else small
        last, self._last = self._last, small
        # An image without any contrast correlates with nothing and proves nothing.
        if last is None or norm <= 1e-6 or not last.any():
            self.change = 0.0
            return False
        correlation = float(last @ small)
        self.change = 1.0 - correlation
        return correlation < _CUT_CORRELATION


@dataclass
class _Sweep:
    """Anchors of an earlier frame, and what has passed since."""

    anchors: Anchors
    age_s: float = 0.0
    change: float = 0.0

    def allowed(self) -> float:
        """Return how far, in log depth, the scene as a whole may have moved since."""
        return (
            _ANCHOR_JUMP
            + _ANCHOR_JUMP_PER_CHANGE * self.change
            + _ANCHOR_JUMP_PER_SECOND * max(self.age_s - _USUAL_PERIOD_S, 0.0)
        )

    def step_to(self, anchors: Anchors) -> float | None:
        """Return the median log ratio of depths on the same pixels, None where hardly any are."""
        here, there = neighbours(anchors, self.anchors, _ANCHORS_COMPARED, _NEIGHBOUR_PX)
        if len(here) < _ANCHORS_NEEDED:
            return None
        return median(np.log(here.z_m / there.z_m))


class AnchorWatch:
    """Tells whether the anchors moved as a whole while the image did not.

    The network's normalisation may jump from image to image, the world does not: anchors of two
    sweeps that fall on the same pixels have about the same depth, unless the sensor or what is
    known of its place is wrong. The network has no say in it. Sweeps that stand off are refused
    until one of them jumps back, nothing has been seen for a while, or they have agreed with each
    other for so long that those before them must have been the wrong ones: 7 s, or longer than
    those had agreed where that was less than a second, as when the first sweep was disturbed.
    """

    def __init__(self) -> None:
        """Start without a sweep."""
        self._last: _Sweep | None = None
        self._offset = 0.0
        self._agreed_s = 0.0  # how long the last sweeps have agreed with each other
        self._before_s = 0.0  # and those before them, where the last stand off

    def moved(self, anchors: Anchors | None, elapsed_s: float, change: float) -> float | None:
        """Compare with the last sweep.

        Args:
            anchors: of this frame, None without a sweep.
            elapsed_s: time since the last frame in seconds.
            change: how much the image changed since, see SceneCutDetector.

        Returns:
            By how much, in log depth, the anchors stand off from where they were believed; 0 where
            they stand still; None where there is nothing to compare with.
        """
        if self._last is not None:
            self._last.age_s += elapsed_s
            self._last.change += change
        if anchors is None or len(anchors) < _ANCHORS_NEEDED:
            return None
        last = self._last
        if last is None or last.age_s > _ANCHOR_MEMORY_S:
            # Those that were believed keep their word over a gap, those that stood off do not.
            self._agreed_s = self._agreed_s if self._offset == 0.0 else 0.0
            self._last, self._offset = _Sweep(anchors), 0.0
            return None
        step = last.step_to(anchors)
        if step is None:
            return None if self._offset == 0.0 else self._offset
        if abs(step) <= last.allowed():
            self._agreed_s += last.age_s
        else:
            if self._offset == 0.0:
                self._before_s = self._agreed_s
            self._offset += step
            self._agreed_s = 0.0
        if self._offset != 0.0 and abs(self._offset) <= last.allowed():
            self._offset, self._agreed_s = 0.0, self._before_s
        elif self._agreed_s > (self._before_s if self._before_s < _YOUNG_S else _CONVINCED_S):
            self._offset = 0.0
        self._last = _Sweep(anchors)
        return self._offset


class LineTrack:
    """The last line, brought to each new prediction: a prior for few anchors, and what is held.

    Two things may have happened between two predictions: the network normalised anew, so that the
    line must be carried along for the same depth to come out, or the scene moved, so that the line
    stays and depth changes. A jump is the first. Smaller steps are what they have been in this
    drive: while lines are measured, both guesses are compared with them.
    """

    def __init__(self, space: str) -> None:
        """Start without a line.

        Args:
            space: of the predictions, 'inverse_depth' or 'depth'.
        """
        self._sign = 1.0 if space == 'inverse_depth' else -1.0
        self._line: NDArray[np.float64] | None = None
        self._covariance = np.zeros((2, 2))
        self._doubt = 0.0  # log depth, of what happened since the line was measured
        self._last: NDArray[np.float64] | None = None
        self._guesses: list[NDArray[np.float64]] = []
        self._errors = np.array(_FIRST_ERRORS)  # of the two guesses, log depth a frame

    @property
    def started(self) -> bool:
        """Whether a line has been accepted since the start."""
        return self._line is not None

    def line(self) -> tuple[float, float, NDArray[np.float64]]:
        """Return scale, shift and their 2x2 covariance for the last prediction."""
        assert self._line is not None and self._last is not None
        doubt = doubted(self._line, self._last, self._doubt)
        return float(self._line[0]), float(self._line[1]), self._covariance + doubt

    def advance(
        self, pooled: NDArray[np.float64], elapsed_s: float, change: float = 0.0
    ) -> None:
        """Bring the line to a new prediction.

        Args:
            pooled: N averages of the prediction over parts of the image, always the same ones.
            elapsed_s: time since the last one in seconds.
            change: how much the image changed since, see SceneCutDetector.
        """
        last, self._last = self._last, pooled
        measured, self._guesses = self._doubt == 0.0, []
        if self._line is None or last is None:
            return
        stays, moves = self._errors
        carried = self._carried(self._line, last, self._last)
        if carried is not None:
            line, jump = carried
            if measured:
                self._guesses = [self._line, line]
            if jump > max(_SMALLEST_JUMP, 3 * moves) or moves < stays:
                # s p + t = s' p' + t' makes s' and t' linear in s and t.
                (s, t), (s_new, t_new) = self._line, line
                jacobian = np.array([[s_new / s, 0.0], [(t_new - t) / s, 1.0]])
                self._covariance = jacobian @ self._covariance @ jacobian.T
                self._line, stays = line, moves
        # Errors of one kind add up, as a robot keeps driving the way it does.
        waited = _SECOND_SIGMA * math.sqrt(max(elapsed_s, 0.0))
        turned = _CHANGE_SIGMA * change
        self._doubt = math.hypot(self._doubt + stays, waited, turned)

    def _carried(
        self,
        line: NDArray[np.float64],
        before: NDArray[np.float64],
        now: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], float] | None:
        """Return the line that keeps depth, and how far depth jumps under the one that stays."""
        target = line[0] * before + line[1]
        known = self.near(target) & np.isfinite(now)
        carried = line_through(now[known], target[known])
        if carried is None:
            return None
        return carried, line_distance(line, now[known], target[known])

    def update(
        self, fit: LineFit, values: NDArray[np.float64], vouched: bool | None = None
    ) -> str:
        """Take one frame's line, or reject it.

        Args:
            fit: a line without failure, of the prediction that advance() has seen.
            values: sample of that prediction, where depths of two lines are compared.
            vouched: whether the anchors are known to be where they were, so that a jump of the
                line is the network's new normalisation; False where they are known not to be;
                None where nothing is known and the jump itself must decide.

        Returns:
            Empty, or one line saying why the fit was rejected.
        """
        measured = np.array([fit.scale, fit.shift])
        if self._line is not None and not vouched:
            probes = _probes(values, fit)
            jump = _log_depth(measured, probes) - _log_depth(self._line, probes)
            jacobian = _log_depth_jacobian(self._line, probes)
            covariance = self.line()[2] + fit.covariance
            variance = np.einsum('ki,ij,kj->k', jacobian, covariance, jacobian)
            gate = np.maximum(_GATE_FLOOR, _GATE_SIGMAS * np.sqrt(variance))
            if vouched is False or (np.abs(jump) > gate).any():
                worst = jump[np.argmax(np.abs(jump) / gate)]
                return (
                    f'depth jumped by {math.expm1(abs(worst)):.0%} while the image did not: '
                    'anchors rejected (check the extrinsic)'
                )
        self._learn(measured)
        self._line, self._covariance, self._doubt = measured, fit.covariance, 0.0
        return ''

    def _learn(self, measured: NDArray[np.float64]) -> None:
        """Compare both guesses with what was measured, where they started from a measured line."""
        if not self._guesses or self._last is None:
            return
        target = measured[0] * self._last + measured[1]
        known = self.near(target)
        if known.any():
            value = self._last[known]
            errors = [line_distance(guess, value, target[known]) for guess in self._guesses]
            self._errors += _LEARNING * (np.maximum(errors, _LEAST_ERROR) - self._errors)

    def near(self, target: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell where a line says something: towards the sky any two differ by any factor.

        Args:
            target: N values of the line.
        """
        with np.errstate(invalid='ignore', divide='ignore'):
            inverse = np.where(target > 0, target**self._sign, np.nan)
        if np.isnan(inverse).all():
            return np.zeros(len(target), dtype=bool)
        near: NDArray[np.bool_] = inverse >= _PROBED_SHARE * np.nanquantile(inverse, 0.98)
        return near


def doubted(
    line: NDArray[np.float64], pooled: NDArray[np.float64], sigma: float
) -> NDArray[np.float64]:
    """Return the 2x2 covariance of a line that is off by so much in log depth, where unknown.

    Args:
        line: scale and shift.
        pooled: N predictions all over the image.
        sigma: standard deviation of log depth, of scale and shift each.
    """
    said = np.abs(line[0] * pooled + line[1])
    level = float(np.median(said[np.isfinite(said)])) if np.isfinite(said).any() else 0.0
    return np.diag(np.square(sigma * np.array([line[0], level])))


def line_through(
    value: NDArray[np.float64], target: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Fit target = scale * value + shift in relative residuals, robustly; None where none is.

    Args:
        value: N finite predictions.
        target: N values other than 0.
    """
    if len(value) < _POOLED_NEEDED:
        return None
    # Relative residuals, and columns of unit size: p and q of p scale' + q shift' = 1.
    unit = np.array([np.abs(value / target).mean(), np.abs(1 / target).mean()])
    if not unit.all():
        return None
    p, q = value / target / unit[0], 1 / target / unit[1]
    weight = np.ones(len(value))
    for _ in range(4):
        pp, pq, qq = weight @ (p * p), weight @ (p * q), weight @ (q * q)
        # What does not vary tells only one number of two: the smallest pair is taken.
        ridge = _RIDGE * (pp + qq)
        normal = np.array([[pp + ridge, pq], [pq, qq + ridge]])
        line = inverse_2x2(normal) @ [weight @ p, weight @ q]
        residual = np.abs(p * line[0] + q * line[1] - 1)
        band = 4.685 * max(1.4826 * median(residual), 0.01)
        weight = np.square(np.clip(1 - np.square(residual / band), 0, None))
    line = line / unit
    return line if line[0] > 0 else None


def line_distance(
    line: NDArray[np.float64], value: NDArray[np.float64], target: NDArray[np.float64]
) -> float:
    """Return the median of about |log((scale * value + shift) / target)|.

    Args:
        line: scale and shift.
        value: N predictions.
        target: N values.
    """
    said = line[0] * value + line[1]
    return median(2 * np.abs(said - target) / (np.abs(said) + target))


def _probes(values: NDArray[np.float64], fit: LineFit) -> NDArray[np.float64]:
    """Return three predictions that stand for the image where the line says something."""
    line = fit.scale * values + fit.shift
    quantiles: NDArray[np.float64] = np.quantile(
        values[line >= _PROBED_SHARE * line.max()], [0.1, 0.5, 0.9]
    )
    return quantiles


def _log_depth(line: NDArray[np.float64], probes: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.log(_floored(line, probes))
    return result


def _log_depth_jacobian(
    line: NDArray[np.float64], probes: NDArray[np.float64]
) -> NDArray[np.float64]:
    said = _floored(line, probes)
    return np.stack([probes / said, 1 / said], axis=1)


def _floored(line: NDArray[np.float64], probes: NDArray[np.float64]) -> NDArray[np.float64]:
    floored: NDArray[np.float64] = np.maximum(
        line[0] * probes + line[1], 0.02 * line[0] * probes
    )
    return floored
