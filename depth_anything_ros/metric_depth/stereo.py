# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A second camera beside the first: matched blocks of a stereo pair as anchors.

Both images are turned and shrunk to one pair of parallel pinholes whose x axis is the baseline,
whichever way the second camera stands, and matched along rows. Against semi-global matching, blocks
(Konolige 1997, OpenCV's StereoBM) took a third of the time and left half of the noise in what
they do match, and anchors need not be everywhere (docs/sources.md).
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Array, Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.gray_view import GrayView
from depth_anything_ros.metric_depth.anchors import Anchors

_MATCHED_WIDTH_PX = 320
_BLOCK_PX = 13
_DISPARITIES = (16, 64)  # at least and at most; time is proportional to them
_UNIQUENESS_PERCENT = 10  # by which any other disparity has to match worse
_LEAST_TEXTURE = 300  # sum over a block of |x gradient|, in gray levels
_SUBPIXELS = 16.0
_UNMATCHED = np.iinfo(np.int16).max
_CEILED = 0.5 / _SUBPIXELS  # StereoBM rounds a disparity up to the next sixteenth
_LEAST_CORRELATION = 0.4  # of the x gradients of two matched blocks
_SUPPORT_PX = 3  # a window around an anchor in which every pixel has to match
# Standard deviation of a disparity, in pixels of the shrunk image: at least, and as a share of the
# range of disparities in its block. Slope, an edge near by and noise all show in that.
_SIGMA_PX, _SIGMA_OF_RANGE = 0.1, 0.16
_LARGEST_SIGMA = 0.3  # log depth; what is less sure is left out
_MOST_CANDIDATES, _MOST_ANCHORS = 8000, 2000
_LEAST_SHARE = 0.005  # of the pixels; chance matches are half as many
_SHORTEST_BASELINE_M, _LONGEST_BASELINE_M = 1e-3, 10.0
_LARGEST_TURN_RAD = math.radians(30.0)  # of an optical axis against what both are turned to


@dataclass(frozen=True, eq=False)
class StereoPoints:
    """What a stereo pair sees; a source of anchors.

    Attributes:
        xyz_m: Nx3 float32 positions in the optical frame of the first camera, in metres.
        sigma: N float32 standard deviations of log depth: sigma_disparity * z / (f * baseline).
    """

    xyz_m: NDArray[np.float32]
    sigma: NDArray[np.float32]
    name: str = 'stereo'

    def anchors(self, camera: Camera, config: ScaleConfig) -> Anchors:
        """Return the points within range that lie in the image; no two are in one place."""
        xyz_m = self.xyz_m @ camera.R.T.astype(np.float32)
        z_m = xyz_m[:, 2]
        range_m = np.linalg.norm(xyz_m, axis=1)
        with np.errstate(divide='ignore', invalid='ignore'):
            u, v = (xyz_m @ camera.K[:2].T.astype(np.float32) / z_m[:, None]).T
        keep = (z_m > 0) & (range_m >= config.min_range) & (range_m <= config.max_range)
        keep &= (u >= -0.5) & (u < camera.width - 0.5) & (v >= -0.5) & (v < camera.height - 0.5)
        no_ring = np.full(int(keep.sum()), -1)
        return Anchors(u[keep], v[keep], z_m[keep], no_ring, self.sigma[keep])


class StereoMatcher:
    """Matches the images of two cameras that stand still to each other.

    Attributes:
        baseline_m: distance of the two optical centres.
        focal_px: of the shrunk images that are matched.
    """

    def __init__(self, first: Camera, second: Camera, T_first_second: Array) -> None:
        """Compute where the pixels of the two parallel pinholes lie in the images.

        Args:
            first: calibrated camera whose image the network sees, distorted or not.
            second: the other one, of any size.
            T_first_second: 4x4, optical frame of the second camera as seen from that of the first;
                it may stand on either side, above or below.

        Raises:
            BadFrameError: a camera is not calibrated, or the two make no pair: they stand in one
                place, behind each other, too far apart, or look apart.
        """
        for camera in (first, second):
            if not camera.is_calibrated:
                raise BadFrameError(
                    'stereo_uncalibrated', 'both cameras of a stereo pair must be calibrated'
                )
        self.baseline_m, self._R = _parallel(T_first_second)
        target = _target(first, self._R)
        self.focal_px = float(target.K[0, 0])
        self._target = target
        self._columns, self._rows = np.meshgrid(
            np.arange(target.width, dtype=np.float32), np.arange(target.height, dtype=np.float32)
        )
        self._first = GrayView(first, self._R, target)
        self._second = GrayView(second, self._R @ T_first_second[:3, :3], target)
        block = np.ones((_BLOCK_PX, _BLOCK_PX), np.uint8)
        self._seen = cv2.erode(self._first.seen.astype(np.uint8), block, borderValue=0) > 0
        self._matcher = cv2.StereoBM.create(_DISPARITIES[1], _BLOCK_PX)
        self._matcher.setUniquenessRatio(_UNIQUENESS_PERCENT)
        self._matcher.setTextureThreshold(_LEAST_TEXTURE)
        self._matcher.setDisp12MaxDiff(1)

    def match(
        self, first: NDArray[np.uint8], second: NDArray[np.uint8], config: ScaleConfig
    ) -> StereoPoints:
        """Return what both images show.

        Args:
            first: HxWx3 uint8 RGB or HxW gray, of the first camera's size.
            second: of the second camera's size.
            config: min_range decides how many disparities are tried.

        Raises:
            BadFrameError: hardly anything matches.
        """
        focal_baseline = self.focal_px * self.baseline_m
        fewest, most = _DISPARITIES
        wanted = focal_baseline / max(config.min_range, 1e-3)
        self._matcher.setNumDisparities(int(np.clip(16 * math.ceil(wanted / 16), fewest, most)))
        images = self._first(first), self._second(second)
        fixed = np.asarray(self._matcher.compute(*images), np.int16)
        matched = (fixed > 0) & self._seen & self._alike(*images, fixed)
        support = np.ones((_SUPPORT_PX, _SUPPORT_PX), np.uint8)
        index = np.flatnonzero(cv2.erode(matched.astype(np.uint8), support))
        found = len(index)
        index = index[:: max(1, found // _MOST_CANDIDATES)]
        block = np.ones((_BLOCK_PX, _BLOCK_PX), np.uint8)
        nearest, farthest, disparity_px = (
            subpixels.ravel()[index].astype(np.float32) / _SUBPIXELS
            for subpixels in (
                cv2.dilate(fixed, block),
                cv2.erode(np.where(matched, fixed, _UNMATCHED), block),
                fixed,
            )
        )
        disparity_px -= _CEILED
        variance = _SIGMA_PX**2 + np.square(_SIGMA_OF_RANGE * (nearest - farthest))
        variance /= np.square(disparity_px)
        sure = np.flatnonzero(variance <= _LARGEST_SIGMA**2)
        if len(sure) * found < _LEAST_SHARE * fixed.size * len(index) or not found:
            raise BadFrameError(
                'stereo_no_match',
                'the images of the stereo pair match hardly anywhere: nothing near enough has '
                'texture, a lens is covered, the images are not of one time, or the calibration '
                'is not that of this pair',
            )
        sure = sure[np.linspace(0, len(sure) - 1, min(len(sure), _MOST_ANCHORS)).astype(int)]
        z_m = focal_baseline / disparity_px[sure]
        v, u = np.divmod(index[sure], self._target.width)
        pixels = np.stack([u, v, np.ones_like(u)], axis=1)
        rays = pixels @ np.linalg.inv(self._target.K).T @ self._R
        return StereoPoints((rays * z_m[:, None]).astype(np.float32), np.sqrt(variance[sure]))

    def _alike(
        self, first: NDArray[np.uint8], second: NDArray[np.uint8], fixed: NDArray[np.int16]
    ) -> NDArray[np.bool_]:
        """Tell where the images show the same once one is moved by the disparities.

        What is nearer than all disparities, or seen by one camera alone, matches somewhere too.
        """
        gradient, other = (cv2.Sobel(image, cv2.CV_32F, 1, 0) for image in (first, second))
        u = self._columns - np.float32(1 / _SUBPIXELS) * fixed
        moved = cv2.remap(other, u, self._rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        window = (_BLOCK_PX, _BLOCK_PX)
        common = cv2.boxFilter(gradient * moved, -1, window)
        power = cv2.sqrBoxFilter(gradient, -1, window) * cv2.sqrBoxFilter(moved, -1, window)
        return np.asarray((common > 0) & (common * common > _LEAST_CORRELATION**2 * power))


def pose_from_calibration(first: Camera, second: Camera) -> Array | None:
    """Return the second camera's pose in the first one's optical frame, as camera_info has it.

    Both R turn the cameras to common axes, and the fourth columns of P hold where they are along
    these; none, where they say that both are in one place, as they do of single cameras.

    Raises:
        BadFrameError: the numbers are no pose.
    """
    poses = first.T_stereo_optical, second.T_stereo_optical
    if poses[0] is None or poses[1] is None or (poses[0][:3, 3] == poses[1][:3, 3]).all():
        return None
    T: Array = np.linalg.inv(poses[0]) @ poses[1]
    return T


def _parallel(T_first_second: Array) -> tuple[float, Array]:
    """Return the baseline, and the rotation from the first camera to axes with x along it."""
    t_m, R_first_second = T_first_second[:3, 3], T_first_second[:3, :3]
    baseline_m = float(np.linalg.norm(t_m))
    if not _SHORTEST_BASELINE_M <= baseline_m <= _LONGEST_BASELINE_M:  # NaN is not either
        raise BadFrameError(
            'stereo_baseline',
            f'the cameras of the stereo pair are {baseline_m:g} m apart, which must be from '
            f'{_SHORTEST_BASELINE_M:g} to {_LONGEST_BASELINE_M:g} m: see P of right/camera_info '
            '(P[3] is minus focal length times baseline), or TF between the two frames',
        )
    x = t_m / baseline_m
    forward = np.array([0.0, 0.0, 1.0])
    z = forward + R_first_second[:, 2]
    z = z - (z @ x) * x
    z /= max(float(np.linalg.norm(z)), 1e-9)
    if min(z @ forward, z @ R_first_second[:, 2]) < math.cos(_LARGEST_TURN_RAD):
        raise BadFrameError(
            'stereo_geometry',
            'the cameras of the stereo pair do not look ahead side by side: see R of both '
            'camera_infos, or TF between the two optical frames',
        )
    return baseline_m, np.stack([x, np.cross(z, x), z])


def _target(first: Camera, R: Array) -> Camera:
    """Return the shrunk pinhole, turned by R, that shows about what the first camera does."""
    pinhole = first.rectified()
    shrunk = min(1.0, _MATCHED_WIDTH_PX / max(first.width, first.height))
    focal_px = shrunk * float(pinhole.K[0, 0])
    u, v = np.meshgrid(np.linspace(-0.5, first.width - 0.5, 9),
                       np.linspace(-0.5, first.height - 0.5, 9))
    rays = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3) @ np.linalg.inv(pinhole.K).T
    rays = rays @ (R @ pinhole.R.T).T
    rays = rays[rays[:, 2] > 0.1]
    edges = focal_px * rays[:, :2] / rays[:, 2:]
    low, high = edges.min(axis=0), edges.max(axis=0)
    low[0] -= _DISPARITIES[1]  # StereoBM leaves out as many columns on the left
    longest = 2 * _MATCHED_WIDTH_PX
    width, height = (int(np.clip(round(side), 2, longest)) for side in high - low)
    centre = -low - 0.5
    K = np.array([[focal_px, 0, centre[0]], [0, focal_px, centre[1]], [0, 0, 1]])
    return Camera(width, height, K)
