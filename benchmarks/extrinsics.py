# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Is a wrong extrinsic told from a right one? Verdicts on drives through the world and real frames.

    python benchmarks/extrinsics.py

Prints how often the extrinsic is established or refused at the first and at the last sweep.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from disturbances import turned
import numpy as np
from numpy.typing import NDArray
import torch
from world_frames import world_drive

from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig
from depth_anything_ros.evaluation.frames import Frame, load_frames
from depth_anything_ros.metric_depth.anchors import project_points
from depth_anything_ros.metric_depth.extrinsics import ExtrinsicJudge
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.pipeline import DepthPipeline

CONFIG = Config()
FIRST_SEED = 990_000  # seeds that no threshold was chosen on
KINDS = ('street', 'room', 'corridor')
ERRORS = (
    ('none', 0.0),
    *(('pitch', angle) for angle in (0.5, 10.0, -10.0, 30.0)),
    *(('roll', angle) for angle in (30.0, 90.0, 180.0)),
    *(('yaw', angle) for angle in (30.0, -30.0, 90.0)),
)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--drives', type=int, default=9)
    parser.add_argument('--period', type=float, default=0.4, help='seconds between two sweeps')
    parser.add_argument('--sweeps', type=int, default=12, help='of a drive')
    options = parser.parse_args()
    torch.set_num_threads(1)
    pipeline = DepthPipeline(load_predictor(ModelConfig('bundled'), RuntimeConfig()), CONFIG)
    found: dict[tuple[str, float], Counter[str]] = {error: Counter() for error in ERRORS}
    for sequence in _sequences(options):
        looked_at = [(f, _outline(pipeline, f)) for f in sequence]
        for error in ERRORS:
            found[error].update(_verdicts(looked_at, *error))
    columns = ('established at once', 'at last', 'refused at last', 'ever', 'nothing to see')
    print('| error | sequences | ' + ' | '.join(columns) + ' |')
    print('|---' * (len(columns) + 2) + '|')
    for (axis, angle), counts in found.items():
        cells = ' | '.join(str(counts[column]) for column in columns)
        print(f'| {axis} {angle:g} | {counts["sequences"]} | {cells} |')


def _sequences(options: argparse.Namespace) -> Iterator[list[Frame]]:
    for number in range(options.drives):
        frames = world_drive(
            FIRST_SEED + number,
            KINDS[number % len(KINDS)],
            options.period,
            options.period * options.sweeps,
            lambda time_s: 0.0,
        )
        yield [world.frame for world in frames]
    for name in ('kitti', 'nuscenes'):
        if (options.data / name).is_dir():
            yield from ([frame] for frame in load_frames(options.data / name))


def _outline(pipeline: DepthPipeline, frame: Frame) -> NDArray[np.float32]:
    edges = pipeline.predict(frame.image_rgb, frame.camera).edges
    assert edges is not None
    return edges


def _verdicts(
    looked_at: list[tuple[Frame, NDArray[np.float32]]], axis: str, angle_deg: float
) -> Counter[str]:
    judge, verdict = ExtrinsicJudge(), Counter({'sequences': 1})
    ever = False
    for number, (frame, edges) in enumerate(looked_at):
        T = frame.T_camera_sensor
        T = T if axis == 'none' else turned(T, axis, angle_deg)
        anchors = project_points(frame.points, T, frame.camera, CONFIG.scale)
        refused = bool(judge.judge(edges, anchors, frame.camera, frame.stamp_ns))
        ever |= refused
        if number == 0:
            verdict['established at once'] += judge.established
    verdict['at last'] += judge.established
    verdict['refused at last'] += refused
    verdict['ever'] += ever
    verdict['nothing to see'] += judge.score != judge.score
    return verdict


if __name__ == '__main__':
    main()
