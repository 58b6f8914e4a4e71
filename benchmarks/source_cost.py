# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What each source of metres takes of one core, and all of them: benchmarks/latency.py --sources.

A drive through the world at 10 Hz, images of 640x480. The work of a source is counted from what
its sensor sent up to anchors that were voted on (and own pixels kept, of a depth camera), all
sources in turn on each image, in milliseconds of processor time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import time

import cv2
import numpy as np
import torch
from world_frames import BASELINE_M, CAMERA, world_drive, WorldFrame

from depth_anything_ros.config import Config
from depth_anything_ros.metric_depth.depth_image import DepthImage, keep_measured
from depth_anything_ros.metric_depth.motion import MotionTracker
from depth_anything_ros.metric_depth.rangefinder import correct, RangeReading
from depth_anything_ros.metric_depth.sources import gather, Source, Sweep
from depth_anything_ros.metric_depth.stereo import StereoMatcher

SCALE = Config().scale
WARM_UP_FRAMES = 4
_SEED, _PERIOD_S = 990_000, 0.1
_FARTHEST_M = 20.0  # of the depth camera


class Sources:
    """What has to be known of earlier images, and a way to ask each source about the next one."""

    def __init__(self) -> None:
        """Start a drive."""
        T = np.eye(4)
        T[0, 3] = BASELINE_M
        self._matcher = StereoMatcher(CAMERA, CAMERA, T)
        self._tracker = MotionTracker()
        self.ask: dict[str, Callable[[WorldFrame], list[Source]]] = {
            'lidar': lambda world: [Sweep(world.frame.points, world.frame.T_camera_sensor)],
            'depth': lambda world: [_depth_image(world)],
            'stereo': self._stereo,
            'motion': self._motion,
        }

    def _stereo(self, world: WorldFrame) -> list[Source]:
        assert world.pair_rgb is not None
        return [self._matcher.match(*world.pair_rgb, SCALE)]

    def _motion(self, world: WorldFrame) -> list[Source]:
        found = self._tracker.update(
            world.frame.image_rgb, CAMERA, world.T_world_camera, world.frame.stamp_ns, SCALE
        )
        return [] if found.note else [found]


def _depth_image(world: WorldFrame) -> DepthImage:
    near = world.depth_m < _FARTHEST_M
    return DepthImage(np.where(near, world.depth_m, np.float32(np.nan)), CAMERA, np.eye(4))


def source_cost(rounds: int) -> dict[str, dict[str, float]]:
    """Return source, or all together -> median and least of the milliseconds that it takes a frame.

    Args:
        rounds: images of the drive.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    frames = WARM_UP_FRAMES + rounds
    drive = world_drive(
        _SEED, 'room', _PERIOD_S, frames * _PERIOD_S, lambda _: 0.0, shrunk=1, stereo=True
    )[:frames]
    runs: dict[str, Callable[[WorldFrame], None]] = {
        name: _asking(Sources(), [name]) for name in Sources().ask
    }
    runs['range'] = _ranging
    runs['all together'] = _asking(Sources(), list(Sources().ask))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for world in drive:
        depth_image = replace(world, depth_m=world.depth_m.copy())  # of which nothing is known yet
        for name, run in runs.items():
            started_s = time.process_time()
            run(depth_image)
            times[name].append(1e3 * (time.process_time() - started_s))
    return {
        name: {
            'ms_p50': round(float(np.median(spent[WARM_UP_FRAMES:])), 2),
            'ms_least': round(min(spent[WARM_UP_FRAMES:]), 2),
        }
        for name, spent in times.items()
    }


def _asking(sources: Sources, names: list[str]) -> Callable[[WorldFrame], None]:
    plane = torch.full(CAMERA.size, 4.0)

    def run(world: WorldFrame) -> None:
        with torch.inference_mode():
            found = [source for name in names for source in sources.ask[name](world)]
            gather(found, CAMERA, SCALE)
            for source in found:
                if isinstance(source, DepthImage):
                    measured_m = source.registered(CAMERA, SCALE)
                    assert measured_m is not None
                    keep_measured(plane, 0.1 * plane, measured_m, SCALE)
            if 'lidar' in names and len(names) > 1:
                _ranging(world)

    return run


def _ranging(world: WorldFrame) -> None:
    T = np.eye(4)
    T[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]  # x ahead
    reading = RangeReading(2.0, 0.2, T)
    seen = np.full((96, 128), 0.5)
    correct(np.array([1.0, 0.0]), 0.01 * np.eye(2), reading, seen, 'inverse_depth', CAMERA)


def print_source_cost(rows: dict[str, dict[str, float]]) -> None:
    """Print it as a table for people."""
    print(f'{"source, ms of one core":<24} {"p50":>7} {"least":>7}')
    for name, row in rows.items():
        print(f'{name:<24} {row["ms_p50"]:7.2f} {row["ms_least"]:7.2f}')
