# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Metric depth of a camera -> its cloud and its scan, what is asked for of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from depth_anything_ros.camera import Camera
from depth_anything_ros.cloud.flying_pixels import without_flying
from depth_anything_ros.cloud.outliers import without_outliers
from depth_anything_ros.cloud.packing import pack_cloud, pack_voxels, PackedCloud
from depth_anything_ros.cloud.scan import level_scan, Scan
from depth_anything_ros.cloud.viewpoint import Viewpoint
from depth_anything_ros.cloud.voxels import VoxelGrid
from depth_anything_ros.config import CloudConfig, Config
from depth_anything_ros.poses import Matrix


@dataclass(frozen=True, eq=False)
class Solid:
    """Depth of what clouds and scans are made of, every cloud.stride-th row and column.

    Attributes:
        depth_m: on the device, NaN where nothing is or it is left out.
        stddev_m: on the device; None where nothing needs it.
    """

    depth_m: Tensor
    stddev_m: Tensor | None


class CloudMaker:
    """What is the same from image to image of one camera: where its pixels look."""

    def __init__(self, camera: Camera) -> None:
        """Take the pinhole camera of the rectified images."""
        self._camera = camera
        self._views: dict[str, tuple[int, Matrix | None, Viewpoint]] = {}
        self._grid: tuple[tuple[int, ...], VoxelGrid] | None = None
        self._reach: tuple[tuple[int, float], Tensor] | None = None

    def solid(
        self, depth_m: Tensor, stddev_m: Tensor, config: CloudConfig, network_px: float
    ) -> Solid:
        """Leave out flying pixels, outliers, what is too far and what is too unsure.

        Args:
            depth_m: HxW float32, NaN invalid.
            stddev_m: HxW float32.
            config: what is left out.
            network_px: image pixels per pixel of the network.
        """
        thin = (slice(None, None, config.stride),) * 2
        solid_m = without_flying(depth_m, config.edge_threshold, network_px)[thin]
        unsure_m = stddev_m[thin]
        solid_m = without_outliers(solid_m, config.outlier_radius)
        if config.max_range > 0:
            farthest_m = self._farthest(config, solid_m.device)
            solid_m = solid_m.masked_fill(solid_m > farthest_m, torch.nan)
        if config.max_stddev > 0:
            # Not known is not less.
            solid_m = solid_m.masked_fill(~(unsure_m <= config.max_stddev), torch.nan)
        return Solid(solid_m, unsure_m if config.stddev or config.voxel > 0 else None)

    def cloud(
        self,
        z_m: NDArray[np.float32],
        stddev_m: NDArray[np.float32] | None,
        image: NDArray[np.uint8],
        config: CloudConfig,
        poses: Mapping[str, Matrix],
    ) -> PackedCloud:
        """Make the cloud of what solid() left.

        Args:
            z_m: its depth on the host.
            stddev_m: its standard deviation on the host.
            image: HxWx3 RGB, rectified.
            config: in which form.
            poses: frame -> 4x4 pose of the image's optical frame in it; has config.frame.
        """
        view = self._view(config.stride, config.frame, poses)
        image = image[:: config.stride, :: config.stride]
        if config.voxel > 0:
            assert stddev_m is not None
            if self._grid is None or self._grid[0] != z_m.shape:
                self._grid = z_m.shape, VoxelGrid(*z_m.shape)
            return pack_voxels(
                z_m, view, image, stddev_m, config.stddev, config.voxel, self._grid[1]
            )
        stddev_m = stddev_m if config.stddev else None
        return pack_cloud(z_m, view, image, stddev_m, config.organized)

    def scan(
        self, z_m: NDArray[np.float32], config: Config, poses: Mapping[str, Matrix]
    ) -> Scan:
        """Make the scan of what solid() left; poses has config.scan.frame, see cloud()."""
        view = self._view(config.cloud.stride, config.scan.frame, poses)
        return level_scan(z_m, view, config.scan)

    def _view(self, stride: int, frame: str, poses: Mapping[str, Matrix]) -> Viewpoint:
        pose = poses[frame] if frame else None
        made = self._views.get(frame)
        if made is None or made[0] != stride or not _equal(made[1], pose):
            made = stride, pose, Viewpoint.of(self._camera, stride, frame, pose)
            self._views[frame] = made
        return made[2]

    def _farthest(self, config: CloudConfig, device: torch.device) -> Tensor:
        """Return the depth at which each pixel is max_range away."""
        asked = config.stride, config.max_range
        if self._reach is None or self._reach[0] != asked:
            rays = self._camera.rays()[:: config.stride, :: config.stride]
            farthest_m = (config.max_range / np.linalg.norm(rays, axis=-1)).astype(np.float32)
            self._reach = asked, torch.from_numpy(farthest_m).to(device)
        return self._reach[1]


def _equal(one: Matrix | None, other: Matrix | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))
