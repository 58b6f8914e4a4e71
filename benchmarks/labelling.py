# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`label`: pictures a second, one Ray worker against two, and memory of long lists.

    python benchmarks/labelling.py [--checkpoint C] [--size WIDTH HEIGHT] [--engines local ray]
    python benchmarks/labelling.py --random S --size 640 480 --pictures 6 --engines local
    python benchmarks/labelling.py --lists 2000 1000000

Processor seconds are those between a worker's network being loaded and its last picture, so that a
busy machine changes them little; two workers would take the larger of their two on idle cores. Of
a list one entry in a thousand is a picture, and the others are not there.
"""

from __future__ import annotations

import argparse
from functools import partial
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time

import cv2
from latency import save_preprocessor, save_random_network, WIDTHS
import numpy as np
import torch

from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig, with_values
from depth_anything_ros.labelling.ray_engine import RayEngine
from depth_anything_ros.labelling.run import Engine, label, LocalEngine, Settings
from depth_anything_ros.labelling.teacher import Limits
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.training.world_data import open_world, render_world

PAPER = 62e6  # pictures
DAY_S = 86400
PROGRAM = """
import resource, sys
from depth_anything_ros.tools.label import main
assert main(sys.argv[1:]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


class Timed:
    """A network that notes how much processor time its process has taken since it was loaded."""

    def __init__(self, notes: Path, model: ModelConfig, runtime: RuntimeConfig) -> None:
        self._network = load_predictor(model, runtime)
        self.spec, self.device = self._network.spec, self._network.device
        self._note = notes / f'{os.uname().nodename}-{os.getpid()}'
        self._from = time.process_time(), time.time()

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        said = self._network(image)
        self._note.write_text(f'{time.process_time() - self._from[0]} {self._from[1]} '
                              f'{time.time()}')
        return said


def timed(inputs: Path, engine: Engine, args: argparse.Namespace) -> tuple[list[float], float]:
    """Label all pictures; return each worker's processor seconds, and seconds in all."""
    values = {'model.checkpoint': args.checkpoint, 'model.input_size': args.input_size}
    everything = Settings(with_values(Config(), values).model, args.per_shard,
                          limits=Limits(1, 1e9, 0))
    with tempfile.TemporaryDirectory() as name:
        notes = Path(name)
        label([inputs], notes / 'out', everything, engine, partial(Timed, notes), args.device,
              args.batch)
        rows = [tuple(map(float, file.read_text().split())) for file in notes.glob('*-*')]
    return [row[0] for row in rows], max(row[2] for row in rows) - min(row[1] for row in rows)


def throughput(args: argparse.Namespace) -> None:
    """Print the table of engines."""
    teacher = f'ViT-{args.random}' if args.random else args.checkpoint
    print(f'{args.pictures} pictures of {args.size[0]}x{args.size[1]}, {teacher}, {args.device}\n')
    print('| engine | processor s a picture | of each worker, s | faster than one, by processor s '
          '| pictures/s here | 62 million, days |\n|---|---|---|---|---|---|')
    with tempfile.TemporaryDirectory() as name:
        pictures = Path(name)
        render_world(pictures / 'world', args.pictures, 0, *args.size)
        (pictures / 'in').mkdir()
        for i, image in enumerate(open_world(pictures / 'world').image_rgb):
            cv2.imwrite(str(pictures / f'in/{i:06d}.jpg'), np.ascontiguousarray(image[..., ::-1]))
        alone = None
        for name in args.engines:
            for workers in (args.workers if name == 'ray' else [1]):
                engine: Engine = RayEngine(workers=workers) if name == 'ray' else LocalEngine()
                try:
                    cpu_s, wall_s = timed(pictures / 'in', engine, args)
                finally:
                    engine.close()
                if name == 'ray' and workers == 1:
                    alone = sum(cpu_s)
                ratio = f'{alone / max(cpu_s):.2f}' if name == 'ray' and alone else ''
                print(f'| {name}, {workers} | {sum(cpu_s) / args.pictures:.4f} | '
                      f'{", ".join(f"{s:.1f}" for s in cpu_s)} | {ratio} | '
                      f'{args.pictures / wall_s:.1f} | '
                      f'{PAPER * wall_s / args.pictures / DAY_S:.1f} |', flush=True)


def lists(args: argparse.Namespace) -> None:
    """Print the memory that lists of several lengths take."""
    print('| entries | peak, MB |\n|---|---|')
    for count in args.lists:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            ramp = np.linspace(40, 250, 42) * np.ones((28, 1))
            cv2.imwrite(str(folder / 'a.png'), ramp.astype(np.uint8))
            with (folder / 'list.txt').open('w') as lines:
                for i in range(count):
                    lines.write(f'none/{i:09d}.jpg\n' if i % 1000 else 'a.png\n')
            done = subprocess.run(
                [sys.executable, '-c', PROGRAM, str(folder / 'list.txt'), str(folder / 'out'),
                 '--teacher', args.checkpoint, '--input-size', '28', '--device', args.device],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        print(f'| {count} | {float(done.stdout.splitlines()[-1]):.0f} |', flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--checkpoint', default='bundled')
    add('--random', choices=WIDTHS, help='Depth Anything V2 so large, with random weights, instead')
    add('--input-size', type=int, default=0)
    add('--device', default='cpu')
    add('--batch', type=int, default=0)
    add('--pictures', type=int, default=300)
    add('--size', type=int, nargs=2, default=[224, 168], metavar=('WIDTH', 'HEIGHT'))
    add('--per-shard', type=int, default=10)
    add('--engines', nargs='+', choices=('local', 'ray'), default=['local', 'ray'])
    add('--workers', nargs='+', type=int, default=[1, 2])
    add('--lists', nargs='+', type=int, help='measure the memory of lists so long instead')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if args.random:
            args.checkpoint = name
            save_random_network(args.random, Path(name))
            save_preprocessor(Path(name), 518)
        lists(args) if args.lists else throughput(args)


if __name__ == '__main__':
    main()
