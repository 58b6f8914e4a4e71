# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""DDAD as its publisher hands it out: lidar and cameras in DGP folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.evaluation import files
from depth_anything_ros.evaluation.files import Depth
from depth_anything_ros.evaluation.samples import Sample, sample_of


def read(root: Path) -> list[Sample]:
    """Project the lidar of each validation sample into the front camera (DGP folders, JSON)."""
    index = next(iter(files.find(root, 'ddad.json')), None)
    if index is None:
        return []
    with files.reading(index):
        scenes = files.parsed(index)['scene_splits']['1']['filenames']  # 0 train, 1 val
        paths = [index.parent / name for name in scenes]
    samples = []
    for path in paths:
        with files.reading(path):
            samples += _scene(path, index.parent)
    return samples


def _scene(path: Path, root: Path) -> list[Sample]:
    """List the samples of one scene; both poses lead to the world, so ego motion is undone."""
    scene, folder = files.parsed(path), path.parent
    data = {datum['key']: datum for datum in scene['data']}
    samples = []
    for group in scene['samples']:
        datums = {data[key]['id']['name']: data[key]['datum'] for key in group['datum_keys']}
        camera, lidar = datums['CAMERA_01']['image'], datums['LIDAR']['point_cloud']
        T_camera_lidar = np.linalg.inv(_pose(camera['pose'])) @ _pose(lidar['pose'])
        calibration = folder / 'calibration' / f'{group["calibration_key"]}.json'
        image, points = folder / camera['filename'], folder / lidar['filename']
        size = int(camera['height']), int(camera['width'])
        name = image.relative_to(root).with_suffix('').as_posix()
        samples.append(
            sample_of(name, image, _depth, points, T_camera_lidar, size, calibration)
        )
    return samples


def _depth(
    points: Path, T_camera_lidar: NDArray[np.float64], size: tuple[int, int], calibration: Path
) -> Depth:
    """Return the lidar's depth map, height x width.

    A point falls into the pixel it truncates to, as in the data set's own tools; where several do,
    the nearest counts.
    """
    with files.reading(points):
        xyz = files.array(points)[:, :3].astype(np.float64)
        xyz = xyz @ T_camera_lidar[:3, :3].T + T_camera_lidar[:3, 3]
    xyz = xyz[xyz[:, 2] > 0]
    with files.reading(calibration):
        sensors = files.parsed(calibration)
        k = sensors['intrinsics'][sensors['names'].index('CAMERA_01')]
        fx, fy, cx, cy = (float(k[name]) for name in ('fx', 'fy', 'cx', 'cy'))
    u = np.floor(fx * xyz[:, 0] / xyz[:, 2] + cx).astype(np.int64)
    v = np.floor(fy * xyz[:, 1] / xyz[:, 2] + cy).astype(np.int64)
    height, width = size
    seen = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    depth = np.full(size, np.inf, dtype=np.float32)
    np.minimum.at(depth, (v[seen], u[seen]), xyz[seen, 2].astype(np.float32))
    return files.valid(depth)


def _pose(pose: Any) -> NDArray[np.float64]:
    """Return the 4x4 of a DGP pose, sensor to world."""
    rotation, translation = pose['rotation'], pose['translation']  # protobuf may leave out zeros
    w, x, y, z = (float(rotation.get(key, 0)) for key in ('qw', 'qx', 'qy', 'qz'))
    T = np.eye(4)
    T[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    T[:3, 3] = [translation.get(key, 0) for key in 'xyz']
    return T
