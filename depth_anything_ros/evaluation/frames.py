# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded frames with an image, a camera and one lidar sweep, for benchmarks and play_frames.

Two folder layouts are read: KITTI object style (NAME.png, NAME.bin, NAME.txt) and a single
nuScenes sample (calibration.json, LIDAR_TOP.bin, one .jpg per camera).
"""

from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.errors import DatasetError
from depth_anything_ros.metric_depth.anchors import SensorPoints


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera image and the lidar sweep that belongs to it.

    Attributes:
        image_rgb: HxWx3 uint8, rectified.
        camera: pinhole camera of the image.
        points: the sweep in the lidar's frame.
        T_camera_sensor: 4x4, lidar coordinates to the camera's optical frame.
        stamp_ns: time of the image in nanoseconds.
        name: file name without suffix, or the camera's name.
    """

    image_rgb: NDArray[np.uint8]
    camera: Camera
    points: SensorPoints
    T_camera_sensor: NDArray[np.float64]
    stamp_ns: int
    name: str


def load_frames(folder: str | Path) -> list[Frame]:
    """Read all frames of a folder, sorted by name.

    Args:
        folder: in KITTI object style, or one nuScenes sample with calibration.json.

    Returns:
        Frames; those of a nuScenes sample share one sweep.

    Raises:
        DatasetError: the folder is neither, or a file of a frame is missing or broken.
    """
    root = Path(folder)
    if (root / 'calibration.json').is_file():
        return _nuscenes(root)
    scans = sorted(root.glob('*.bin'))
    if not scans:
        raise DatasetError(
            f'{root} holds no frames: expected NAME.png + NAME.bin + NAME.txt (KITTI) or '
            'calibration.json + LIDAR_TOP.bin (nuScenes)'
        )
    return [_kitti(root, scan.stem, 100_000_000 * i) for i, scan in enumerate(scans)]


def ring_of_ordered_scan(xyz_m: NDArray[np.float32]) -> NDArray[np.int64]:
    """Number the rings of a scan stored ring by ring, each starting at the forward direction.

    Args:
        xyz_m: Nx3 points in the lidar's frame (x forward, z up), in firing order per ring.

    Returns:
        N ring numbers; a new ring starts where the azimuth passes zero from below.
    """
    azimuth = np.arctan2(xyz_m[:, 1], xyz_m[:, 0])
    starts = (azimuth[:-1] < 0) & (azimuth[1:] >= 0) & (azimuth[1:] < np.pi / 2)
    return np.concatenate([[0], np.cumsum(starts)]).astype(np.int64)


def _kitti(root: Path, name: str, stamp_ns: int) -> Frame:
    calibration = _kitti_calibration(root / f'{name}.txt')
    projection = calibration['P2'].reshape(3, 4)
    K = projection[:, :3]
    # P2 is that of camera 2, given from the rectified frame of camera 0: its fourth column is K b.
    baseline_m = np.asarray(np.linalg.solve(K, projection[:, 3]), dtype=np.float64)
    T_camera_rect = _rigid(np.eye(3), baseline_m)
    T_rect_camera0 = _rigid(calibration['R0_rect'].reshape(3, 3), np.zeros(3))
    T_camera0_lidar = np.vstack([calibration['Tr_velo_to_cam'].reshape(3, 4), [0, 0, 0, 1]])
    image = _image(root / f'{name}.png')
    xyz_m = _floats(root / f'{name}.bin', 4)[:, :3]
    points = SensorPoints(xyz_m, stamp_ns, 'velodyne', ring=ring_of_ordered_scan(xyz_m))
    camera = Camera(image.shape[1], image.shape[0], K)
    T_camera_lidar = T_camera_rect @ T_rect_camera0 @ T_camera0_lidar
    return Frame(image, camera, points, T_camera_lidar, stamp_ns, name)


def _kitti_calibration(path: Path) -> dict[str, NDArray[np.float64]]:
    if not path.is_file():
        raise DatasetError(f'{path} is missing: every KITTI scan needs its calibration file')
    lines = (line.partition(':') for line in path.read_text().splitlines() if ':' in line)
    values = {key: np.array(numbers.split(), dtype=np.float64) for key, _, numbers in lines}
    for key, count in (('P2', 12), ('R0_rect', 9), ('Tr_velo_to_cam', 12)):
        if values.get(key, np.zeros(0)).size != count:
            raise DatasetError(f'{path} has no {key} of {count} numbers')
    return values


def _nuscenes(root: Path) -> list[Frame]:
    calibration = json.loads((root / 'calibration.json').read_text())
    sweep = _floats(root / 'LIDAR_TOP.bin', 5)
    sweep_stamp_ns = round(calibration['lidar']['stamp_s'] * 1e9)
    ring = sweep[:, 4].astype(np.int64)
    points = SensorPoints(sweep[:, :3], sweep_stamp_ns, 'LIDAR_TOP', ring=ring)
    frames = []
    for name, entry in sorted(calibration['cameras'].items()):
        image = _image(root / entry['file'])
        stamp_ns = round(entry['stamp_s'] * 1e9)
        camera = Camera(image.shape[1], image.shape[0], np.array(entry['K']))
        frames.append(
            Frame(image, camera, points, np.array(entry['T_camera_lidar']), stamp_ns, name)
        )
    return frames


def _rigid(rotation: NDArray[np.float64], translation: NDArray[np.float64]) -> NDArray[np.float64]:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation, translation
    return T


def _image(path: Path) -> NDArray[np.uint8]:
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise DatasetError(f'{path} is missing or no image')
    return np.ascontiguousarray(bgr[..., ::-1]).astype(np.uint8)


def _floats(path: Path, columns: int) -> NDArray[np.float32]:
    if not path.is_file() or path.stat().st_size % (4 * columns):
        raise DatasetError(f'{path} is missing, or no scan of {columns} float32 a point')
    return np.fromfile(path, dtype=np.float32).reshape(-1, columns)
