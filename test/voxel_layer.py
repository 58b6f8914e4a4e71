# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What nav2's voxel layer makes of clouds, by the rules in docs/nav2.md."""

from __future__ import annotations

import numpy as np


class VoxelLayer:
    """A costmap around the origin of the global frame.

    Attributes:
        lethal: NxN bool, by cell along x and y.
    """

    def __init__(self, parameters, size_m, resolution_m):
        """Take the layer's parameters as they stand in a parameter file."""
        self._layer = parameters
        self._cell_m = np.array([resolution_m, resolution_m, parameters['z_resolution']])
        cells = round(size_m / resolution_m)
        self._lowest_m = np.array([-size_m / 2, -size_m / 2, parameters['origin_z']])
        self._marked = np.zeros((cells, cells, parameters['z_voxels']), bool)
        self.lethal = np.zeros((cells, cells), bool)

    def update(self, points_m, T_global_cloud, camera_m):
        """Take the newest cloud: clear by the sources that clear, then mark by those that mark.

        Args:
            points_m: Px3 in the cloud's frame, not all of them finite.
            T_global_cloud: 4x4.
            camera_m: the origin of sensor_frame, in the global frame.
        """
        with np.errstate(invalid='ignore'):
            points_m = points_m @ T_global_cloud[:3, :3].T + T_global_cloud[:3, 3]
            sources = [self._layer[name] for name in self._layer['observation_sources'].split()]
            seen = []
            for source in sources:
                high_enough = points_m[:, 2] >= source['min_obstacle_height']
                seen.append(
                    points_m[high_enough & (points_m[:, 2] <= source['max_obstacle_height'])]
                )
        for source, within_m in zip(sources, seen):
            if source['clearing']:
                self._clear(within_m, np.asarray(camera_m), source['raytrace_max_range'])
        for source, within_m in zip(sources, seen):
            if source['marking']:
                self._mark(within_m, camera_m, source['obstacle_max_range'])

    def _clear(self, points_m, camera_m, reach_m):
        if not self._inside(camera_m[None])[0]:
            return  # "Sensor origin ... is out of map bounds"
        ray_m = points_m - camera_m
        length_m = np.linalg.norm(ray_m, axis=1, keepdims=True)
        ray_m *= np.maximum(1 - 2 * self._cell_m[0] / length_m, 0)
        # From the camera to the end, or to where the ray leaves the grid, or as far as is asked.
        highest_m = self._lowest_m + self._cell_m * self._marked.shape
        with np.errstate(divide='ignore'):
            leaves = np.maximum((highest_m - camera_m) / ray_m, (self._lowest_m - camera_m) / ray_m)
        share = np.minimum(1, np.minimum(leaves.min(axis=1), reach_m / length_m[:, 0]))
        steps = np.arange(0, reach_m, self._cell_m[0] / 2) / reach_m
        for step in steps:
            self._set(camera_m + ray_m * (share * step)[:, None], False)

    def _mark(self, points_m, camera_m, reach_m):
        height_m = points_m[:, 2]
        level = (height_m >= self._layer['min_obstacle_height']) & (
            height_m <= self._layer['max_obstacle_height']
        )
        near = np.linalg.norm(points_m - camera_m, axis=1) < reach_m
        self._set(points_m[level & near], True)

    def _set(self, points_m, marked):
        cells = np.floor((points_m - self._lowest_m) / self._cell_m).astype(int)
        cells = cells[self._inside(points_m)]
        self._marked[tuple(cells.T)] = marked
        counts = self._marked[cells[:, 0], cells[:, 1]].sum(axis=1)
        self.lethal[cells[:, 0], cells[:, 1]] = counts > self._layer['mark_threshold']

    def _inside(self, points_m):
        cells = np.floor((points_m - self._lowest_m) / self._cell_m)
        return np.all((cells >= 0) & (cells < self._marked.shape), axis=1)
