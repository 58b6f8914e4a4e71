# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a cloud of 640x480 takes of one core: all points, voxels, and what else can be asked for.

    OMP_NUM_THREADS=1 python benchmarks/clouds.py [--voxel 0.05] [--rounds 50] [--json]

Depth is the true one of frames of the world, with 5 % of it as standard deviation, so that the
figures are of the geometry alone. Processor time of the process, medians.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
import json
import statistics
import time

import numpy as np
import torch
from world_frames import CAMERA, world_frame

from depth_anything_ros.cloud.maker import CloudMaker
from depth_anything_ros.config import CloudConfig, Config, ScanConfig
from depth_anything_ros.poses import pose_to_matrix

SEEDS = {'street': 970001, 'room': 970002, 'corridor': 970003}
FORWARD = pose_to_matrix([0.3, 0, 1.2, -0.5, 0.5, -0.5, 0.5])


def median_ms(run: Callable[[], object], rounds: int) -> float:
    """Return the median processor time of a call, after one that does not count."""
    run()
    times = []
    for _ in range(rounds):
        start_s = time.process_time()
        run()
        times.append(time.process_time() - start_s)
    return 1e3 * statistics.median(times)


def measure(kind: str, voxel_m: float, rounds: int) -> dict[str, float]:
    """Measure one kind of scene; milliseconds and numbers of points."""
    frame = world_frame(SEEDS[kind], kind)
    depth_m = torch.from_numpy(np.where(np.isfinite(frame.depth_m), frame.depth_m, np.nan))
    stddev_m = 0.05 * depth_m
    image = np.ascontiguousarray(frame.frame.image_rgb)
    config = CloudConfig(voxel=voxel_m, stddev=True)
    maker = CloudMaker(CAMERA)
    solid = maker.solid(depth_m, stddev_m, config, 1.0)
    z_m, unsure_m = solid.depth_m.numpy(), stddev_m.numpy()
    poses = {'base_link': FORWARD}
    scan = Config(scan=ScanConfig(frame='base_link'))

    def cloud(**values: object) -> Callable[[], object]:
        asked = replace(config, **values)  # type: ignore[arg-type]
        return lambda: maker.cloud(z_m, unsure_m, image, asked, poses)

    def cleaned(**values: object) -> Callable[[], object]:
        asked = replace(config, edge_threshold=0.0, **values)  # type: ignore[arg-type]
        return lambda: maker.solid(depth_m, stddev_m, asked, 1.0)

    within = replace(config, max_range=10.0)
    near_m = maker.solid(depth_m, stddev_m, within, 1.0).depth_m.numpy()
    return {
        'points': int(np.isfinite(z_m).sum()),
        'voxels': maker.cloud(z_m, unsure_m, image, config, poses).points.shape[1],
        'all points': median_ms(cloud(voxel=0.0), rounds),
        'in base_link': median_ms(cloud(voxel=0.0, frame='base_link'), rounds),
        'voxel': median_ms(cloud(), rounds),
        'voxel in base_link': median_ms(cloud(frame='base_link'), rounds),
        'voxel, 10 m': median_ms(
            lambda: maker.cloud(near_m, unsure_m, image, within, poses), rounds
        ),
        'scan': median_ms(lambda: maker.scan(z_m, scan, poses), rounds),
        'outliers': median_ms(cleaned(outlier_radius=0.1), rounds),
        'max_range': median_ms(cleaned(max_range=10.0), rounds),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--voxel', type=float, default=0.05, help='edge of the voxels in m')
    parser.add_argument('--rounds', type=int, default=50)
    parser.add_argument('--json', action='store_true', help='end with one JSON object')
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = {kind: measure(kind, args.voxel, args.rounds) for kind in SEEDS}
    names = list(next(iter(rows.values())))
    print(f'| {CAMERA.width}x{CAMERA.height}, voxels of {args.voxel:g} m | {" | ".join(names)} |')
    print('|---' * (len(names) + 1) + '|')
    for kind, row in rows.items():
        print(f'| {kind} | {" | ".join(f"{value:.4g}" for value in row.values())} |')
    if args.json:
        print(json.dumps(rows))


if __name__ == '__main__':
    main()
