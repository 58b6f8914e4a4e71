# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a frame costs around its network, beside another checkout: benchmarks/latency.py --against.

Each checkout runs in a process of its own, with a stand-in for the network, and they take turns
frame by frame, so that load on the machine meets them alike; milliseconds are of processor time,
which others do not take. This file is also what runs there: on one thread a frame for every line
that it reads, with the milliseconds of its stages on a line. It asks of a checkout no more than a
pipeline in two steps and its stopwatch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
import json
import os
from pathlib import Path
import subprocess
import sys
import time
from types import SimpleNamespace

import cv2
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
import torch.nn.functional as F

from depth_anything_ros import stopwatch
from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.network.spec import ModelSpec
from depth_anything_ros.pipeline import DepthPipeline

HERE = Path(__file__).resolve()
WARM_UP_ROUNDS = 5


def picture(rows: int, columns: int, seed: int = 1) -> NDArray[np.uint8]:
    """Return a smooth random RGB image, level along its rows.

    Jumps of the made-up lidar lie on no edge of a made-up image, which would be held against it.
    """
    noise = torch.rand(1, 3, rows // 40, 1, generator=torch.Generator().manual_seed(seed))
    smooth = F.interpolate(noise, (rows, columns), mode='bilinear')[0]
    image: NDArray[np.uint8] = (smooth * 255).byte().permute(1, 2, 0).contiguous().numpy()
    return image


def lidar_for(prediction: NDArray[np.float32], camera: Camera) -> SensorPoints:
    """Return 32 rings of points, 2 to 40 m away, whose inverse depth is affine in a prediction."""
    low, high = np.quantile(prediction, [0.02, 0.98])
    v, u = np.meshgrid(
        np.linspace(0.3, 0.95, 32) * camera.height, np.arange(2, camera.width, 4), indexing='ij'
    )
    pixels = v.astype(int), u.astype(int)
    nearness = (prediction[pixels] - low) / (high - low)
    inverse_depth = 1 / 40 + nearness.clip(0, 1) * (1 / 2 - 1 / 40)
    xyz = camera.rays()[pixels] / inverse_depth[..., None]
    ring = np.repeat(np.arange(32), u.shape[1])
    return SensorPoints(xyz.reshape(-1, 3).astype(np.float32), 0, 'lidar', ring=ring)


class StandIn:
    """A network that takes no time: always the same, nearer down the image."""

    backend = 'stand-in'

    def __init__(self) -> None:
        """Make up what it says."""
        self.spec = ModelSpec('stand-in', 'inverse_depth', metric=False, input_size=518)
        self.device = torch.device('cpu')
        noise = torch.rand(1, 1, 9, 12, generator=torch.Generator().manual_seed(2))
        smooth = F.interpolate(noise, (518, 686), mode='bicubic')[0, 0]
        self._said = (smooth + 0.3 + torch.linspace(0, 2, 518)[:, None]).clamp(min=0.05)

    def __call__(self, image: Tensor) -> Tensor:
        """Return it."""
        return self._said


def serve() -> None:
    """Run a frame for every line of the standard input."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    stopwatch.time = SimpleNamespace(perf_counter=time.thread_time)  # type: ignore[attr-defined]
    camera = Camera.from_calibration(640, 480, [[576, 0, 320], [0, 576, 240], [0, 0, 1]])
    image = picture(480, 640)
    pipeline = DepthPipeline(StandIn(), Config())
    points = lidar_for(pipeline.predict(image, camera).values.numpy(), camera)
    for turn, _ in enumerate(sys.stdin, start=1):
        stamp_ns = turn * 100_000_000
        prediction = pipeline.predict(image, camera)
        now = replace(points, stamp_ns=stamp_ns)
        frame = pipeline.measure(prediction, now, np.eye(4), stamp_ns=stamp_ns)
        if frame.fit.state.value != 'FITTED' or frame.points is None:
            raise SystemExit(f'the benchmark\'s own lidar did not anchor: {frame.fit.reason}')
        print(json.dumps({k: v for k, v in frame.timings_ms.items() if k != 'network'}), flush=True)


@contextmanager
def _serving(checkout: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, 'PYTHONPATH': str(checkout), 'OMP_NUM_THREADS': '1'}
    with subprocess.Popen(
        [sys.executable, str(HERE)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()


def compare(other: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Run frames of this checkout and of another in turn.

    Returns:
        Stage, or total -> the medians of both in milliseconds, the least of both, and the median of
        the ratio of this to the other in the same round.
    """
    times: list[list[dict[str, float]]] = []
    with _serving(HERE.parents[1]) as ours, _serving(other.resolve()) as theirs:
        for turn in range(-WARM_UP_ROUNDS, rounds):
            pair = [_frame(process) for process in (ours, theirs)]
            if turn >= 0:
                times.append(pair)
    stages = {
        stage: np.array([[row.get(stage, np.nan) for row in pair] for pair in times])
        for stage in times[0][0]
    }
    return {
        stage: {
            'ours_ms_p50': round(float(np.median(both[:, 0])), 2),
            'theirs_ms_p50': round(float(np.median(both[:, 1])), 2),
            'ours_ms_least': round(float(both[:, 0].min()), 2),
            'theirs_ms_least': round(float(both[:, 1].min()), 2),
            'ratio': round(float(np.median(both[:, 0] / both[:, 1])), 3),
        }
        for stage, both in stages.items()
    }


def _frame(process: subprocess.Popen[str]) -> dict[str, float]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write('\n')
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise SystemExit('a checkout under comparison ended; see above')
    stages: dict[str, float] = json.loads(line)
    return {**stages, 'total': sum(stages.values())}


def print_comparison(stages: dict[str, dict[str, float]]) -> None:
    """Print it as a table for people."""
    print(f'{"around the network, ms":<24} {"ours":>7} {"theirs":>7} {"ratio":>7}   least')
    for stage, row in stages.items():
        print(
            f'{stage:<24} {row["ours_ms_p50"]:7.2f} {row["theirs_ms_p50"]:7.2f} '
            f'{row["ratio"]:7.3f}   {row["ours_ms_least"]:.2f} {row["theirs_ms_least"]:.2f}'
        )


if __name__ == '__main__':
    serve()
