# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth as a folder of pictures, in the formats of KITTI.

Depth is a 16 bit PNG of 256 steps a metre, 0 where there is none (development kit of the depth
benchmark); times are lines of timestamps.txt, as in the raw data; poses are lines of twelve
numbers, the upper three rows of a 4x4 pose, as in the odometry benchmark.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime, timezone
import errno
import json
import math
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection

from depth_anything_ros.annotation.output import Answer
from depth_anything_ros.annotation.topics import CameraTopics
from depth_anything_ros.pipeline import DepthFrame
from depth_anything_ros.ros.cdr import NANOSECONDS

TOPICS = frozenset({'depth/image', 'depth/stddev', 'depth/image_rect'})
STEPS_PER_M = 256
_FULL = 65535
_TABLES = ('timestamps.txt', 'states.jsonl', 'poses.txt')


class FolderOutput:
    """Writes a folder for each camera; a context manager."""

    def __init__(self, path: Path, cameras: list[CameraTopics], with_poses: bool) -> None:
        """Prepare a new folder.

        Args:
            path: folder that does not exist yet.
            cameras: of the recording.
            with_poses: whether answers carry poses.
        """
        self._folders = [path / _name(camera) for camera in cameras]
        self._tables = [table for table in _TABLES if with_poses or table != 'poses.txt']
        self._rows: list[_Rows] = []
        self._cameras: list[dict[str, Any]] = [{} for _ in cameras]
        self._stack = ExitStack()

    def __enter__(self) -> FolderOutput:
        for folder in self._folders:
            for part in ('image', 'depth', 'stddev'):
                (folder / part).mkdir(parents=True)
            self._rows.append(
                _Rows([self._stack.enter_context((folder / t).open('w')) for t in self._tables])
            )
        return self

    def __exit__(self, *_: object) -> None:
        for rows in self._rows:
            rows.end()
        self._stack.close()
        for folder, camera in zip(self._folders, self._cameras):
            (folder / 'camera.json').write_text(json.dumps(camera, indent=1) + '\n')

    def keep(self, connection: Connection, time_ns: int, data: bytes) -> None:
        """Leave an original message where it is."""

    def write_frame(self, answer: Answer) -> None:
        """Write what is known of an image; depth only where there are metres."""
        index, frame = answer.image.camera, answer.frame
        folder, number = self._folders[index], answer.number
        name = f'{number:010d}.png'
        if frame.image_rect is not None:
            _write_picture(folder / 'image' / name, frame.image_rect[..., ::-1])
        if frame.depth is not None:
            factor = STEPS_PER_M / (1000 if frame.depth.dtype.kind == 'u' else 1)
            steps = frame.depth.astype(np.float64) * factor
            _write_picture(folder / 'depth' / name, _steps(steps, beyond=0))
        if frame.stddev_m is not None:
            steps = frame.stddev_m.astype(np.float64) * STEPS_PER_M
            _write_picture(folder / 'stddev' / name, _steps(steps, beyond=_FULL))
        T = answer.T_fixed_camera
        numbers = np.full(12, np.nan) if T is None else T[:3].ravel()
        pose = ' '.join(f'{x:.9e}' for x in numbers)
        row = (_time(answer.image.stamp_ns), json.dumps(_state(number, answer)), pose)
        self._rows[index].add(number, row)
        if frame.depth_camera.is_calibrated:
            self._cameras[index] = _camera(frame, str(answer.header.frame_id))


class _Rows:
    """The lines of tables, in the order of their numbers; those that come early wait."""

    def __init__(self, tables: list[TextIO]) -> None:
        self._tables, self._next = tables, 0
        self._waiting: dict[int, tuple[str, ...]] = {}

    def add(self, number: int, row: tuple[str, ...]) -> None:
        self._waiting[number] = row
        while self._next in self._waiting:
            self._write(self._waiting.pop(self._next))
            self._next += 1

    def end(self) -> None:
        """Write what still waits for others, where these will not come."""
        for _, row in sorted(self._waiting.items()):
            self._write(row)

    def _write(self, row: tuple[str, ...]) -> None:
        for table, line in zip(self._tables, row):
            table.write(line + '\n')


def _name(camera: CameraTopics) -> str:
    """Return a folder's name: the camera's namespace, in which no dots are."""
    return camera.namespace.strip('/').replace('/', '.') or 'camera'


def _steps(values: NDArray[np.float64], beyond: int) -> NDArray[np.uint16]:
    """Round to whole steps, at least one; 0 is nothing, and what is too much becomes beyond."""
    rounded = np.where(values > 0, np.maximum(np.round(values), 1), 0)
    return np.where(rounded > _FULL, beyond, rounded).astype(np.uint16)


def _write_picture(path: Path, picture: NDArray[Any]) -> None:
    data = cv2.imencode('.png', np.ascontiguousarray(picture))[1].tobytes()
    if path.write_bytes(data) != len(data):
        raise OSError(errno.ENOSPC, 'No space left on device')


def _time(stamp_ns: int) -> str:
    seconds, nanoseconds = divmod(stamp_ns, NANOSECONDS)
    return f'{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S}.{nanoseconds:09d}'


def _state(number: int, answer: Answer) -> dict[str, Any]:
    fit, sigma = answer.frame.fit, answer.frame.sigma
    return {
        'frame': number,
        'stamp_ns': answer.image.stamp_ns,
        'state': fit.state.value,
        'method': fit.method,
        'sigma': round(sigma, 6) if math.isfinite(sigma) else None,
        'reason': fit.reason,
    }


def _camera(frame: DepthFrame, frame_id: str) -> dict[str, Any]:
    camera = frame.depth_camera
    return {
        'frame_id': frame_id,
        'width': camera.width,
        'height': camera.height,
        'K': camera.K.tolist(),
        'depth': f'16 bit, {STEPS_PER_M} a metre, 0 is none; Z along the optical axis',
        'stddev': f'16 bit, {STEPS_PER_M} a metre, 0 is none, {_FULL} is that or more',
    }
