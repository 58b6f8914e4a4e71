# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The camera behind an image: projection, distortion, rectification, resizing.

Pixel (u, v) = (0, 0) is the centre of the top left pixel. The optical frame has x right, y down,
z forward (REP 103). The distortion functions are OpenCV's; the conventions are those of
sensor_msgs/CameraInfo and image_geometry.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from depth_anything_ros.errors import BadFrameError

Array = NDArray[np.float64]

# Distortion model -> numbers of coefficients that OpenCV takes for it.
_COEFFICIENTS = {
    'plumb_bob': (4, 5),
    'rational_polynomial': (8, 12, 14),
    'equidistant': (4,),
}
# What a calibration can be: far outside of any lens, and well inside of float32.
_LONGEST_SIDE_PX = 65535
_FOCAL_TO_SIDE = (0.01, 1e4)
_CENTRE_TO_SIDE = 100.0
_LARGEST_COEFFICIENT = 1e6
_NEWTON_STEPS = 3  # of undistortion, after OpenCV's own
_STEP = 1e-6  # on z = 1, for the derivative of distortion
_UNDISTORTED_PX = 0.05  # what may be left of a pixel's error
_ROTATION_TOLERANCE = 0.01  # of R R^T; some files hold three digits


@dataclass(frozen=True, eq=False)
class Camera:
    """Camera model of one image as it arrives, or as it is emitted.

    Attributes:
        width: image width in pixels.
        height: image height in pixels.
        K: 3x3 intrinsics of this image in pixels.
        D: distortion coefficients; empty for a pinhole image.
        model: distortion model of D as CameraInfo names it.
        R: 3x3 rotation from the camera's optical frame to the axes of the rectified image.
        K_rect: 3x3 intrinsics that rectification leads to; K for a pinhole image.
        T_stereo_optical: 4x4 pose of the optical frame in the rectified axes of its stereo pair,
            from R and the fourth column of P; None where they say none.
    """

    width: int
    height: int
    K: Array
    D: tuple[float, ...] = ()
    model: str = 'plumb_bob'
    R: Array = field(default_factory=lambda: np.eye(3))
    K_rect: Array | None = None
    T_stereo_optical: Array | None = None

    @staticmethod
    def from_calibration(
        width: int,
        height: int,
        K: ArrayLike,
        D: ArrayLike = (),
        model: str = 'plumb_bob',
        R: ArrayLike | None = None,
        P: ArrayLike | None = None,
        binning: tuple[int, int] = (0, 0),
        roi: tuple[int, int, int, int] = (0, 0, 0, 0),
        rectified: bool = False,
    ) -> Camera:
        """Build the model of the delivered image from the numbers of a CameraInfo message.

        Args:
            width: full-resolution calibrated width in pixels.
            height: full-resolution calibrated height in pixels.
            K: 3x3 (or 9) intrinsics of the raw image.
            D: distortion coefficients.
            model: CameraInfo.distortion_model; empty is allowed when D is all zero.
            R: 3x3 (or 9) rectification rotation; all zeros means identity.
            P: 3x4 (or 12) projection of the rectified image; all zeros means K. Its fourth column
                (stereo baseline) only says where a stereo pair's other camera is: depth stands in
                the image's own optical frame.
            binning: (x, y) pixels merged into one; 0 means 1.
            roi: (x_offset, y_offset, width, height) in full resolution; zero size means all.
            rectified: whether the image has been rectified already, so that P describes it.

        Returns:
            The camera, region of interest first, then binning. A binned pixel is the mean of a
            block, as CameraInfo defines it, so its centre is that of the block: u' = (u + 0.5) / n
            - 0.5, where image_geometry scales the centre alone.

        Raises:
            BadFrameError: what is used of it describes no camera (no size, no focal length,
                numbers that are not finite or beyond any lens, R is no rotation), ROI or binning
                leave no image, or the distortion model is unknown.
        """
        K_raw = np.asarray(K, dtype=np.float64).reshape(3, 3)
        P_full = np.zeros((3, 4)) if P is None else np.asarray(P, dtype=np.float64).reshape(3, 4)
        K_rect = P_full[:, :3] if P_full.any() else K_raw
        R_rect = np.zeros((3, 3)) if R is None else np.asarray(R, dtype=np.float64).reshape(3, 3)
        R_rect = R_rect if R_rect.any() else np.eye(3)
        coefficients = tuple(float(d) for d in np.asarray(D, dtype=np.float64).ravel())

        T_stereo = _stereo_pose(R_rect, P_full)
        size, to_delivered = _delivered(width, height, binning, roi)
        if rectified:
            _check_intrinsics(K_rect, width, height)
            _check_rotation(R_rect)
            return Camera(*size, to_delivered @ K_rect, R=R_rect, T_stereo_optical=T_stereo)
        _check_intrinsics(K_raw, width, height)
        # An ideal fisheye has coefficients of zero and is no pinhole.
        if not any(coefficients) and not (model == 'equidistant' and coefficients):
            return Camera(*size, to_delivered @ K_raw, T_stereo_optical=T_stereo)
        if len(coefficients) not in _COEFFICIENTS.get(model, ()):
            raise BadFrameError(
                'unknown_distortion',
                f'camera_info has distortion model "{model[:40]}" with {len(coefficients)} '
                f'coefficients; supported are {", ".join(_COEFFICIENTS)}: rectify the image first',
            )
        if not all(abs(d) <= _LARGEST_COEFFICIENT for d in coefficients):  # NaN fails too
            raise _uncalibrated(f'has the distortion coefficients {coefficients}')
        _check_intrinsics(K_rect, width, height)
        _check_rotation(R_rect)
        return Camera(
            *size,
            to_delivered @ K_raw,
            coefficients,
            model,
            R_rect,
            to_delivered @ K_rect,
            T_stereo,
        )

    @staticmethod
    def uncalibrated(width: int, height: int) -> Camera:
        """Return the camera of an image of which only the size is known."""
        return Camera(width, height, np.zeros((3, 3)))

    @property
    def is_calibrated(self) -> bool:
        """Whether the focal length is known, without which there are no rays."""
        return bool(self.K[0, 0] > 0)

    @property
    def size(self) -> tuple[int, int]:
        """Image size in pixels as (height, width)."""
        return self.height, self.width

    @property
    def is_distorted(self) -> bool:
        """Whether the image has to be rectified before a pinhole describes it."""
        return bool(self.D)

    def rectified(self) -> Camera:
        """Return the pinhole camera of the rectified image, of the same size."""
        if not self.is_distorted:
            return self
        assert self.K_rect is not None
        return Camera(self.width, self.height, self.K_rect, R=self.R)

    def scaled(self, width: int, height: int) -> Camera:
        """Return the camera of this image resized: u' = (u + 0.5) * sx - 0.5."""
        sx, sy = width / self.width, height / self.height
        resize = np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]])
        K_rect = None if self.K_rect is None else resize @ self.K_rect
        return replace(self, width=width, height=height, K=resize @ self.K, K_rect=K_rect)

    def strided(self, stride: int) -> Camera:
        """Return the camera of every stride-th row and column of this image: u' = u / stride."""
        subsample = np.diag([1 / stride, 1 / stride, 1.0])
        K_rect = None if self.K_rect is None else subsample @ self.K_rect
        return replace(
            self,
            width=math.ceil(self.width / stride),
            height=math.ceil(self.height / stride),
            K=subsample @ self.K,
            K_rect=K_rect,
        )

    def rays(self) -> Array:
        """Return the pinhole's viewing rays with unit z, HxWx3, in the image's optical frame."""
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        pixels = np.stack([u, v, np.ones_like(u)], axis=-1).astype(np.float64)
        rays: Array = pixels @ np.linalg.inv(self.K).T
        return rays

    def distort(self, xy: ArrayLike) -> Array:
        """Project points of the plane z = 1 through the distortion.

        Args:
            xy: Nx2 coordinates x/z, y/z in the camera's optical frame.

        Returns:
            Nx2 pixel coordinates (u, v) in this image.
        """
        flat = np.asarray(xy, dtype=np.float64).reshape(-1, 2)
        if not len(flat):
            return flat
        points = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)[None]
        zero = np.zeros(3)
        if self.model == 'equidistant' and self.is_distorted:
            pixels, _ = cv2.fisheye.projectPoints(points, zero, zero, self.K, np.array(self.D))
        else:
            pixels, _ = cv2.projectPoints(points, zero, zero, self.K, np.array(self.D))
        return np.asarray(pixels, dtype=np.float64).reshape(-1, 2)

    def undistort(self, pixels: ArrayLike) -> Array:
        """Return where the rays of pixels cross the plane z = 1, the inverse of distort().

        Args:
            pixels: Nx2 coordinates (u, v) in this image.

        Returns:
            Nx2 coordinates x/z, y/z in the camera's optical frame, NaN where no ray is known.
        """
        uv = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        if not self.is_distorted:
            y = (uv[:, 1] - self.K[1, 2]) / self.K[1, 1]
            x = (uv[:, 0] - self.K[0, 2] - self.K[0, 1] * y) / self.K[0, 0]
            return np.stack([x, y], axis=1)
        if not len(uv):
            return uv
        fisheye = self.model == 'equidistant'
        undistort: Any = cv2.fisheye.undistortPoints if fisheye else cv2.undistortPoints
        xy: Array = np.asarray(undistort(uv[:, None], self.K, np.array(self.D))).reshape(-1, 2)
        # OpenCV stops after five steps of a slow method: finish it by Newton's.
        for _ in range(_NEWTON_STEPS):
            here = self.distort(xy)
            by_x, by_y = (
                (self.distort(xy + step) - here) / _STEP for step in _STEP * np.eye(2)
            )
            off, turn = uv - here, by_x[:, 0] * by_y[:, 1] - by_x[:, 1] * by_y[:, 0]
            with np.errstate(divide='ignore', invalid='ignore'):
                x = (off[:, 0] * by_y[:, 1] - off[:, 1] * by_y[:, 0]) / turn
                y = (off[:, 1] * by_x[:, 0] - off[:, 0] * by_x[:, 1]) / turn
            # Where the distortion folds back there is no way on.
            xy = np.where((turn > 0)[:, None], xy + np.stack([x, y], axis=1), np.nan)
        with np.errstate(invalid='ignore'):
            xy[~(np.abs(self.distort(xy) - uv).max(axis=1) < _UNDISTORTED_PX)] = np.nan
        return xy

    def rectification_map(self, target: Camera) -> Array:
        """Say where each pixel of a rectified image comes from in this distorted image.

        Args:
            target: pinhole camera of the wanted image: rectified(), or that scaled() to any size.

        Returns:
            HxWx2 source pixel coordinates (u, v), NaN where this image does not show the ray.
        """
        return self.project(target.rays() @ self.R)  # R: optical to rectified axes; transposed back

    def project(self, rays: Array) -> Array:
        """Say where this image shows rays.

        Args:
            rays: HxWx3 in the optical frame, of any length.

        Returns:
            HxWx2 pixel coordinates (u, v), NaN where this image does not show the ray.
        """
        if not self.is_distorted:
            rays = rays @ self.R.T
        z = rays[..., 2]
        with np.errstate(divide='ignore', invalid='ignore'):
            xy = rays[..., :2] / z[..., None]
        source = self.distort(xy).reshape(*rays.shape[:-1], 2)
        u, v = source[..., 0], source[..., 1]
        seen = z > 0
        if self.is_distorted:
            radius = np.linalg.norm(xy, axis=-1)
            seen &= radius < self._unfolded_radius(float(radius[seen].max(initial=0.0)))
        seen &= (u >= -0.5) & (u <= self.width - 0.5) & (v >= -0.5) & (v <= self.height - 0.5)
        source[~seen] = np.nan
        return source

    def optical_rays(self) -> Array:
        """Return each pixel's viewing ray with unit z in the optical frame, HxWx3.

        NaN where the distortion has none.
        """
        pixels = np.stack(np.meshgrid(np.arange(self.width), np.arange(self.height)), axis=-1)
        rays = np.ones((*self.size, 3))
        rays[..., :2] = self.undistort(pixels).reshape(*self.size, 2)
        if not self.is_distorted:
            rays = rays @ self.R
        return rays / rays[..., 2:]

    def _unfolded_radius(self, largest: float) -> float:
        """Return the radius on z = 1 at which the distortion polynomial starts to fold back.

        Beyond it a fitted polynomial maps rays that the camera never saw into the image again.
        """
        radius = np.linspace(0.0, largest * 1.01, 4096)
        u = self.distort(np.stack([radius, np.zeros_like(radius)], axis=1))[:, 0]
        folded = np.flatnonzero(np.diff(u) <= 0)
        return float(radius[folded[0]]) if len(folded) else math.inf


def _delivered(
    width: int, height: int, binning: tuple[int, int], roi: tuple[int, int, int, int]
) -> tuple[tuple[int, int], Array]:
    """Return the delivered image's (width, height), and the map from full resolution's pixels."""
    if not (0 < width <= _LONGEST_SIDE_PX and 0 < height <= _LONGEST_SIDE_PX):
        raise _uncalibrated(f'is of an image of {width}x{height}')
    x0, y0, roi_width, roi_height = roi
    roi_width, roi_height = roi_width or width, roi_height or height
    bin_x, bin_y = max(binning[0], 1), max(binning[1], 1)
    size = (roi_width // bin_x, roi_height // bin_y)
    if x0 < 0 or y0 < 0 or x0 + roi_width > width or y0 + roi_height > height or not all(size):
        raise BadFrameError(
            'bad_region',
            f'camera_info has a region of {roi_width}x{roi_height} at ({x0}, {y0}), binned '
            f'{bin_x}x{bin_y}, of an image of {width}x{height}: roi and binning must leave a part '
            'of width and height, which are those of the full resolution',
        )
    return size, np.array(
        [
            [1 / bin_x, 0, (0.5 - x0) / bin_x - 0.5],  # the centre of a block
            [0, 1 / bin_y, (0.5 - y0) / bin_y - 0.5],
            [0, 0, 1],
        ]
    )


def _check_intrinsics(K: Array, width: int, height: int) -> None:
    focal, centre, side = K.diagonal()[:2], K[:2, 2], np.array([width, height])
    low, high = _FOCAL_TO_SIDE
    if not (
        ((focal >= low * side) & (focal <= high * side)).all()  # NaN fails these
        and (np.abs(centre) <= _CENTRE_TO_SIDE * side).all()
        and abs(K[0, 1]) <= focal[0]
        and tuple(K[1:, 0]) == (0, 0)
        and tuple(K[2, 1:]) == (0, 1)
    ):
        numbers = ' '.join(f'{x:g}' for x in K.ravel())
        raise _uncalibrated(f'of {width}x{height} has no focal length that can be ({numbers})')


def _check_rotation(R: Array) -> None:
    with np.errstate(over='ignore', invalid='ignore'):
        off = np.abs(R @ R.T - np.eye(3))
        if not ((off <= _ROTATION_TOLERANCE).all() and np.linalg.det(R) > 0):
            numbers = ' '.join(f'{x:g}' for x in R.ravel())
            raise _uncalibrated(f'has an R that is no rotation ({numbers})')


def _stereo_pose(R: Array, P: Array) -> Array | None:
    """Return the pose that a pair's calibration gives this camera; None where it gives none.

    P projects from the first camera's place: P (c, 1) = 0 at this camera's centre c, where z = 0.
    """
    pose = np.eye(4)
    pose[:3, :3] = R
    if P.any():
        with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
            pose[:2, 3] = -P[:2, 3] / P.diagonal()[:2]
    try:
        _check_rotation(R)
    except BadFrameError:
        return None
    return pose if np.isfinite(pose).all() else None


def _uncalibrated(what: str) -> BadFrameError:
    return BadFrameError(
        'uncalibrated_camera',
        f'camera_info {what}: calibrate the camera, or have its driver load a calibration file',
    )
