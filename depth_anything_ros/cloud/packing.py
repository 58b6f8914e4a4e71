# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth, rays and colours -> the numbers of a PointCloud2.

This is done on the host: a plane of depth comes down in a quarter of the time of a cloud, and
colours are there already.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.cloud.viewpoint import Viewpoint
from depth_anything_ros.cloud.voxels import VoxelGrid


@dataclass(frozen=True, eq=False)
class PackedCloud:
    """The numbers of a PointCloud2.

    Attributes:
        frame: TF frame of the points; empty for the optical frame of the image.
        points: rows x columns x F float32; F fields in order: x, y, z in metres, rgb (bits
            0x00RRGGBB), and stddev in metres where asked for.
        is_dense: whether no point is NaN.
    """

    frame: str
    points: NDArray[np.float32]
    is_dense: bool

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the float32 fields, four bytes each, in order."""
        return ('x', 'y', 'z', 'rgb', 'stddev')[: self.points.shape[-1]]


def pack_cloud(
    z_m: NDArray[np.float32],
    view: Viewpoint,
    image: NDArray[np.uint8],
    stddev_m: NDArray[np.float32] | None,
    organized: bool,
) -> PackedCloud:
    """Unproject depth to a coloured cloud.

    Args:
        z_m: HxW depth along the optical axis in metres, NaN invalid.
        view: where each pixel looks.
        image: HxWx3 RGB registered to the depth.
        stddev_m: HxW in metres, None for a cloud without it.
        organized: whether points stay where they are in the image, NaN where invalid.

    Returns:
        The cloud: image order with NaN points, or one row of valid points.
    """
    planes = [*view.planes_m(z_m), _colours(image)]
    if stddev_m is not None:
        planes.append(stddev_m)
    points = np.asarray(cv2.merge(planes), np.float32)
    if organized:
        return PackedCloud(view.frame, points, is_dense=False)
    return PackedCloud(view.frame, points[np.isfinite(z_m)][None], is_dense=True)


def pack_voxels(
    z_m: NDArray[np.float32],
    view: Viewpoint,
    image: NDArray[np.uint8],
    stddev_m: NDArray[np.float32],
    with_stddev: bool,
    size_m: float,
    grid: VoxelGrid,
) -> PackedCloud:
    """Unproject depth to a coloured cloud of one point a voxel, one row.

    Args:
        z_m: see VoxelGrid.means().
        view: where each pixel looks.
        image: HxWx3 RGB registered to the depth.
        stddev_m: HxW in metres.
        with_stddev: whether it is a field.
        size_m: edge of the voxels.
        grid: for depth of this size.
    """
    voxels = grid.means(z_m, view, stddev_m, size_m)
    points = np.empty((1, len(voxels.xyz_m), 5 if with_stddev else 4), np.float32)
    points[0, :, :3] = voxels.xyz_m
    points[0, :, 3] = _colours(image.reshape(-1, 1, 3)[voxels.pixel])[:, 0]
    if with_stddev:
        points[0, :, 4] = voxels.stddev_m
    return PackedCloud(view.frame, points, is_dense=True)


def _colours(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return HxWx3 RGB as HxW numbers of the bits 0x00RRGGBB."""
    if not image.size:
        return np.empty(image.shape[:2], np.float32)
    colour = cv2.cvtColor(image, cv2.COLOR_RGB2BGRA).view(np.uint32)[..., 0]
    colour &= np.uint32(0xFFFFFF)  # little endian: b, g, r, 0
    return colour.view(np.float32)
