# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""docs/adapt.md on the small robot of its test: what evaluate, and the node, say of a student.

    python benchmarks/adapt.py [--worlds N...] [--seeds N...] [--steps N]
    python benchmarks/adapt.py --pack
    python benchmarks/adapt.py --train

A world is the seed of its first street; from 10000000 on the bundled network has learnt from none.
The settings were chosen in worlds below 61000000. A world and seed takes a minute of one core.
AbsRel, and the 95 % interval of its change; what gets no metres counts as 1.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import replace
import io
import json
import math
from pathlib import Path
import sys
import tempfile
import time

import numpy as np
import torch
from torch.nn.attention import sdpa_kernel, SDPBackend
from torch.utils.flop_counter import FlopCounterMode
from transformers import DepthAnythingForDepthEstimation

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'test'))
import adapted_robot  # noqa: E402, I100
from latency import save_random_network  # noqa: E402
from recorded_drive import SECOND, START_NS, T_CAMERA_LIDAR  # noqa: E402

from depth_anything_ros.camera import Camera  # noqa: E402
from depth_anything_ros.evaluation.paired import Difference, paired_difference  # noqa: E402
from depth_anything_ros.metric_depth.anchors import SensorPoints  # noqa: E402
from depth_anything_ros.tools.evaluate import main as evaluate  # noqa: E402
from depth_anything_ros.training.config import LossWeights, StudentConfig  # noqa: E402
from depth_anything_ros.training.lesson import Lesson, weigh  # noqa: E402
from depth_anything_ros.training.loading import open_samples  # noqa: E402
from depth_anything_ros.training.network import Trainee  # noqa: E402
from depth_anything_ros.training.packing import main as pack  # noqa: E402
from depth_anything_ros.training.student import Unlabelled  # noqa: E402
from depth_anything_ros.world.lidar import spinning_lidar  # noqa: E402
from depth_anything_ros.world.render import render  # noqa: E402
from depth_anything_ros.world.scene import random_scene  # noqa: E402
from depth_anything_ros.world.trajectory import camera_path  # noqa: E402

LARGE = Camera.from_calibration(1280, 720, [[640.0, 0, 639.5], [0, 640.0, 359.5], [0, 0, 1]])
PICTURES, LOOKS = 100, 10  # of the bag that is packed; so many different ones


def adapted(world: int, seed: int, steps: int) -> None:
    """Adapt in one world, and print its rows."""
    moments = adapted_robot.drive(world)
    with tempfile.TemporaryDirectory() as name:
        folder, said = Path(name), io.StringIO()
        student = str(folder / 'run/checkpoint')
        with redirect_stdout(said), redirect_stderr(io.StringIO()):
            adapted_robot.adapt(folder, moments, seed, steps)
        for align in ('node', 'line'):
            with redirect_stdout(said), redirect_stderr(io.StringIO()):
                assert evaluate(['--dataset', 'own', '--root', str(folder / 'held_out'),
                                 '--checkpoint', 'bundled', '--against', student, '--align', align,
                                 '--device', 'cpu', '--json',
                                 '--output', str(folder / 'scores')]) == 0
            found = json.loads(said.getvalue().splitlines()[-1])
            other = found['against']
            show(world, seed, f'`evaluate --align {align}`', found['depth_space']['abs_rel'],
                 Difference(**other['abs_rel_difference']), found['coverage'], other['coverage'])
        before, after = (adapted_robot.node_scores(checkpoint, adapted_robot.held_out(moments))
                         for checkpoint in ('bundled', student))
    for refine, what in ((True, 'node as it comes'), (False, 'node, one line an image')):
        one, two = before[refine], after[refine]
        errors = [[frame.abs_rel for frame in frames] for frames in (one, two)]
        there = [float(np.mean([frame.coverage for frame in frames])) for frames in (one, two)]
        show(world, seed, what, float(np.mean(errors[0])), paired_difference(*errors), *there)


def show(world: int, seed: int, what: str, before: float, change: Difference,
         coverage: float, new_coverage: float) -> None:
    """Print one row."""
    print(f'| {world} | {seed} | {what} | {before:.3f} | {before + change.mean:.3f} | '
          f'{change.mean:+.3f} [{change.low:+.3f}, {change.high:+.3f}] | {coverage:.1%} | '
          f'{new_coverage:.1%} |', flush=True)


def packed() -> None:
    """Print what `pack` takes for a picture of 1280x720, reading its bag included."""
    scene = random_scene(900, 'street')
    path, moments = camera_path(scene, 900), []
    for i in range(LOOKS):
        pose = path(4.0 + i)
        seen = render(scene, pose, LARGE.K, LARGE.width, LARGE.height)
        scan = spinning_lidar(scene, pose @ T_CAMERA_LIDAR, 64, math.radians(0.2),
                              (math.radians(-25), math.radians(15)), noise_m=0.02, seed=i)
        points = SensorPoints(scan.points_lidar, 0, 'lidar', ring=scan.ring.astype(np.int64))
        moments.append(adapted_robot.Moment(0, seen.image_rgb, points, seen.depth_m))
    stamped = []
    for i in range(PICTURES):
        moment, at = moments[i % LOOKS], START_NS + i * SECOND // 10
        stamped.append(replace(moment, stamp_ns=at, points=replace(moment.points, stamp_ns=at)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        adapted_robot.record(folder / 'bag', stamped, LARGE)
        started = time.process_time()
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            assert pack([str(folder / 'bag'), str(folder / 'shards')]) == 0
        took_ms = (time.process_time() - started) / PICTURES * 1e3
        size_mb = sum(file.stat().st_size for file in (folder / 'shards').iterdir()) / 1e6
        labels = np.isfinite(open_samples([folder / 'shards'])[0].inverse_depth).sum()
    print(f'{took_ms:.1f} ms of a core and {size_mb / PICTURES:.2f} MB a picture of 1280x720, '
          f'{labels} labelled pixels')


def trained(height: int = 518, width: int = 686) -> None:
    """Print what a step of the guide's `train` takes for a labelled and an unlabelled picture."""
    with tempfile.TemporaryDirectory() as name:
        save_random_network('S', Path(name))
        network = DepthAnythingForDepthEstimation.from_pretrained(name)
    student = Unlabelled(StudentConfig(pseudo=(Path(name),), strong=False, cutmix=0.0), 'cpu')
    lesson = Lesson(Trainee(network).to(memory_format=torch.channels_last), student, 0.85)
    generator = torch.Generator().manual_seed(0)
    pictures = (torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8),
                torch.rand(1, height, width), torch.zeros(1, height, width, dtype=torch.long))
    seconds = []
    for counted in (nullcontext(), FlopCounterMode(display=False), nullcontext()):
        counting = isinstance(counted, FlopCounterMode)
        started = time.process_time()
        # Of attention PyTorch counts the plain products alone.
        with counted, sdpa_kernel(SDPBackend.MATH) if counting else nullcontext():
            weigh(lesson(pictures, pictures, 0.25, generator), LossWeights()).backward()
        seconds.append(time.process_time() - started)
        if counting:
            flop = counted.get_total_flops()
    print(f'{flop / 1e12:.2f} TFLOP and {seconds[-1]:.1f} s of a core for one labelled and one '
          f'unlabelled picture of {width}x{height}, forward and backward, ViT-S')


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--worlds', type=int, nargs='+', default=[61_000_000])
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], help='of training')
    parser.add_argument('--steps', type=int, default=adapted_robot.STEPS)
    parser.add_argument('--pack', action='store_true', help='time pack instead')
    parser.add_argument('--train', action='store_true', help='count a step of train instead')
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.pack:
        packed()
        return
    if args.train:
        trained()
        return
    print('| world | seed | scored by | before | after | change | metres before | after |')
    print('|---|---|---|---|---|---|---|---|')
    for world in args.worlds:
        for seed in args.seeds:
            adapted(world, seed, args.steps)


if __name__ == '__main__':
    main()
