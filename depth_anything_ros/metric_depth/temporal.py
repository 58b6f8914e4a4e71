# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scale and shift over time: a gated filter, and what tells a wrong anchor from a new image.

The network re-normalises every image, so the filter follows quickly; its work is to notice the
frame whose anchors do not belong to the image.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
import torch.nn.functional as F

from depth_anything_ros.metric_depth.anchors import Anchors, thinned
from depth_anything_ros.metric_depth.fitting import LineFit

_FRAME_SIGMA = 0.02  # log depth: change of normalisation between two equal-looking images
_CHANGE_SIGMA = 0.5  # the same per unit of image change (1 - correlation)
_SECOND_SIGMA = 0.05  # the same per square root of a second
_MEASURED_SIGMA = 0.001  # the same where rejected fits still tell the change; errors telescope
_GATE_SIGMAS = 3.5
_GATE_FLOOR = 0.08  # log depth: a smaller jump is never rejected
_ANCHOR_JUMP = 0.08  # log depth: anchors as a whole do not move more while the image stands still
_ANCHOR_JUMP_PER_CHANGE = 2.0  # more is allowed per unit of image change
_ANCHOR_JUMP_PER_SECOND = 0.5  # and per second of a gap: a wall close by recedes as fast
_USUAL_PERIOD_S = 0.1
_ANCHOR_MEMORY_S = 1.0
_CONVINCED_S = 7.0  # sweeps that agree with each other for so long are believed
_ANCHORS_COMPARED = (256, 1024)
_ANCHORS_NEEDED = 20
_NEIGHBOUR_PX = 12.0
_PROBED_SHARE = 0.2  # of the largest value of the line: below, two lines are not compared
_CUT_CORRELATION = 0.4


class SceneCutDetector:
    """Tells an abrupt change of the image from motion; the anchors have no say in it.

    Attributes:
        change: 1 - correlation of the last two images, 0 where unknown.
    """

    def __init__(self) -> None:
        """Start without an image."""
        self.change = 0.0
        self._last: Tensor | None = None

    def is_cut(self, image: Tensor | None) -> bool:
        """Compare with the last image by normalised correlation, blind to exposure.

        Args:
            image: rows x columns, any gray unit; None keeps the last.
        """
        if image is None:
            self.change = 0.0
            return False
        small = F.adaptive_avg_pool2d(image.float()[None, None], (12, 16)).flatten().cpu()
        small = small - small.mean()
        norm = float(small.norm())
        small = small / norm if norm > 1e-6 else small
        last, self._last = self._last, small
        # An image without any contrast correlates with nothing and proves nothing.
        if last is None or norm <= 1e-6 or not bool(last.any()):
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
        few, many = _ANCHORS_COMPARED
        here, there = thinned(anchors, few), thinned(self.anchors, many)
        distance_px, nearest = torch.cdist(_pixels(here), _pixels(there)).min(dim=1)
        close = distance_px < _NEIGHBOUR_PX
        if int(close.sum()) < _ANCHORS_NEEDED:
            return None
        return float((here.z_m.log() - there.z_m[nearest].log())[close].median())


class AnchorWatch:
    """Tells whether the anchors moved as a whole while the image did not.

    The network's normalisation may jump from image to image, the world does not: anchors of two
    sweeps that fall on the same pixels have about the same depth, unless the sensor or what is
    known of its place is wrong. The network has no say in it. Sweeps that stand off are refused
    until one of them jumps back, nothing has been seen for a while, or they have agreed with each
    other for so long that the one before them must have been the wrong one.
    """

    def __init__(self) -> None:
        """Start without a sweep."""
        self._last: _Sweep | None = None
        self._offset = 0.0
        self._agreed_s = 0.0

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
            self._believe(anchors)
            return None
        step = last.step_to(anchors)
        if step is None:
            return None if self._offset == 0.0 else self._offset
        if abs(step) > last.allowed():
            self._offset += step
            self._agreed_s = 0.0
        elif self._offset != 0.0:
            self._agreed_s += last.age_s
        if abs(self._offset) <= last.allowed() or self._agreed_s >= _CONVINCED_S:
            self._believe(anchors)
            return 0.0
        self._last = _Sweep(anchors)
        return self._offset

    def _believe(self, anchors: Anchors) -> None:
        self._last, self._offset, self._agreed_s = _Sweep(anchors), 0.0, 0.0


def _pixels(anchors: Anchors) -> Tensor:
    return torch.stack([anchors.u, anchors.v], dim=1)


class ScaleFilter:
    """Kalman filter of (log scale, shift) with a gate on the jump of depth itself."""

    def __init__(self) -> None:
        """Start without a state."""
        self._mean: NDArray[np.float64] | None = None
        self._covariance = np.zeros((2, 2))
        self._rejected: NDArray[np.float64] | None = None
        self._unit = np.ones(2)

    @property
    def started(self) -> bool:
        """Whether a line has been accepted since the start."""
        return self._mean is not None

    def line(self) -> tuple[float, float, NDArray[np.float64]]:
        """Return scale, shift and their 2x2 covariance."""
        assert self._mean is not None
        scale = math.exp(self._mean[0])
        jacobian = np.diag([scale, 1.0])
        return scale, float(self._mean[1]), jacobian @ self._covariance @ jacobian

    def wait(self, elapsed_s: float, change: float) -> None:
        """Let the state age by a frame that measured nothing."""
        self._rejected = None
        self._age(_process_sigma(elapsed_s, change))

    def update(
        self,
        fit: LineFit,
        values: Tensor,
        elapsed_s: float,
        change: float,
        vouched: bool | None = None,
    ) -> str:
        """Take one frame's line, or reject it.

        Args:
            fit: a line without failure.
            values: sample of the frame's prediction, where depths of two lines are compared.
            elapsed_s: time since the last frame in seconds.
            change: how much the image changed since, see SceneCutDetector.
            vouched: whether the anchors are known to be where they were, so that a jump of the
                line is the network's new normalisation; False where they are known not to be;
                None where nothing is known and the jump itself must decide.

        Returns:
            Empty, or one line saying why the fit was rejected.
        """
        measured = np.array([math.log(fit.scale), fit.shift])
        noise = np.diag([1 / fit.scale, 1.0])
        noise = noise @ fit.covariance @ noise
        probes = _probes(values.double().cpu().numpy(), fit)
        self._unit = np.array([1.0, abs(fit.scale * probes[1] + fit.shift)])
        if self._mean is None:
            self._mean, self._covariance = measured, noise
            return ''
        sigma = _process_sigma(elapsed_s, change)
        if self._rejected is not None:
            # A wrong extrinsic shifts all fits alike, so even rejected ones tell how the
            # network's normalisation moves; the state moves along and the gate stays narrow.
            step = _log_depth(measured, probes) - _log_depth(self._rejected, probes)
            if np.abs(step).max() < max(_GATE_FLOOR, _GATE_SIGMAS * sigma):
                self._mean = self._mean + (measured - self._rejected)
                sigma = _MEASURED_SIGMA
        self._age(sigma)
        jump = _log_depth(measured, probes) - _log_depth(self._mean, probes)
        jacobian = _log_depth_jacobian(self._mean, probes)
        variance = np.einsum('ki,ij,kj->k', jacobian, self._covariance + noise, jacobian)
        gate = np.maximum(_GATE_FLOOR, _GATE_SIGMAS * np.sqrt(variance))
        jumped = bool((np.abs(jump) > gate).any())
        if jumped and vouched:
            self._mean, self._covariance, self._rejected = measured, noise, None
            return ''
        if jumped or vouched is False:
            self._rejected = measured
            worst = jump[np.argmax(np.abs(jump) / gate)]
            return (
                f'depth jumped by {math.expm1(abs(worst)):.0%} while the image did not: anchors '
                'rejected (check the extrinsic)'
            )
        self._rejected = None
        gain = self._covariance @ np.linalg.inv(self._covariance + noise)
        self._mean = self._mean + gain @ (measured - self._mean)
        self._covariance = (np.eye(2) - gain) @ self._covariance
        return ''

    def _age(self, sigma: float) -> None:
        self._covariance = self._covariance + np.diag(np.square(sigma * self._unit))


def _process_sigma(elapsed_s: float, change: float) -> float:
    """Return how far log depth may move between frames without anything being wrong."""
    return math.sqrt(
        _FRAME_SIGMA**2 + (_CHANGE_SIGMA * change) ** 2 + _SECOND_SIGMA**2 * max(elapsed_s, 0.0)
    )


def _probes(values: NDArray[np.float64], fit: LineFit) -> NDArray[np.float64]:
    """Return three predictions that stand for the image where the line says something.

    Towards the sky the line crosses zero, where any two lines differ by any factor.
    """
    line = fit.scale * values + fit.shift
    quantiles: NDArray[np.float64] = np.quantile(
        values[line >= _PROBED_SHARE * line.max()], [0.1, 0.5, 0.9]
    )
    return quantiles


def _log_depth(state: NDArray[np.float64], probes: NDArray[np.float64]) -> NDArray[np.float64]:
    line = math.exp(state[0]) * probes + state[1]
    floor = 0.02 * math.exp(state[0]) * probes
    result: NDArray[np.float64] = np.log(np.maximum(line, floor))
    return result


def _log_depth_jacobian(
    state: NDArray[np.float64], probes: NDArray[np.float64]
) -> NDArray[np.float64]:
    product = math.exp(state[0]) * probes
    line = np.maximum(product + state[1], 0.02 * product)
    return np.stack([product / line, 1 / line], axis=1)
