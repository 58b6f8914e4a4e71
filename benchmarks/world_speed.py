# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How many pictures and lidar turns of the synthetic world a second this machine makes.

`python benchmarks/world_speed.py --threads 1 --json`
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

from depth_anything_ros.world.lidar import spinning_lidar
from depth_anything_ros.world.render import render
from depth_anything_ros.world.scene import KINDS, random_scene
from depth_anything_ros.world.trajectory import camera_path

HEIGHT, WIDTH = 224, 308


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description='Frames a second of the synthetic world.')
    parser.add_argument('--scenes', type=int, default=8, help='of each kind')
    parser.add_argument('--frames', type=int, default=4, help='of each scene')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--json', action='store_true', help='end with one JSON object')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    K = np.array([[220.0, 0, (WIDTH - 1) / 2], [0, 220.0, (HEIGHT - 1) / 2], [0, 0, 1]])
    result: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        wall_s, cpu_s, lidar_s = [], [], []
        for seed in range(args.scenes):
            scene = random_scene(seed, kind)
            path = camera_path(scene, seed)
            render(scene, path(0.0), K, WIDTH, HEIGHT, device=args.device)  # warm up
            for i in range(args.frames):
                pose = path(3.0 * i)
                wall, cpu = time.perf_counter(), time.process_time()
                render(scene, pose, K, WIDTH, HEIGHT, device=args.device)
                wall_s.append(time.perf_counter() - wall)
                cpu_s.append(time.process_time() - cpu)
                T_world_lidar = np.eye(4)
                T_world_lidar[:3, 3] = pose[:3, 3]
                wall = time.perf_counter()
                spinning_lidar(scene, T_world_lidar, rings=16, device=args.device)
                lidar_s.append(time.perf_counter() - wall)
        result[kind] = {
            'frames_per_s': round(1 / float(np.mean(wall_s)), 1),
            'frames_per_cpu_s': round(1 / float(np.mean(cpu_s)), 1),
            'lidar_turns_per_s': round(1 / float(np.mean(lidar_s)), 1),
        }
        print(f'{kind:10} {WIDTH}x{HEIGHT}: {result[kind]["frames_per_s"]:6.1f} frames/s '
              f'({result[kind]["frames_per_cpu_s"]:.1f} per CPU second); lidar 16 x 900: '
              f'{result[kind]["lidar_turns_per_s"]:.1f} turns/s')
    if args.json:
        print(json.dumps({'threads': args.threads, 'device': args.device, 'kinds': result}))


if __name__ == '__main__':
    main()
