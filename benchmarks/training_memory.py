# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Memory that `pack`, `label` and `train` take over few pictures and over many.

Every picture is a file of its own, all of one content. Each program runs in a process of its own,
whose largest resident memory is told; `train` reads in that process too (`workers: 0`).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
import subprocess
import sys
import tempfile

import cv2
import numpy as np
import yaml

SIZE = 60, 80  # height and width of the pictures in pixels
PROGRAM = """
import importlib, resource, sys
importlib.import_module(sys.argv.pop(1)).main()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def pictures(folder: Path, count: int) -> None:
    """Write so many pictures with depth."""
    rng = np.random.default_rng(0)
    image = cv2.imencode('.jpg', rng.integers(0, 256, (*SIZE, 3), np.uint8))[1].tobytes()
    depth = cv2.imencode('.png', rng.integers(500, 9000, SIZE, np.uint16))[1].tobytes()
    for kind, suffix, data in (('images', 'jpg', image), ('depth', 'png', depth)):
        (folder / kind).mkdir(parents=True)
        for i in range(count):
            (folder / kind / f'{i:06d}.{suffix}').write_bytes(data)


def peak_mb(module: str, *arguments: object) -> float:
    """Run a program and return the peak of its memory in MB."""
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, module, *map(str, arguments)], stdout=subprocess.PIPE,
        text=True, check=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    return int(done.stdout.splitlines()[-1]) / 1024


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--counts', type=int, nargs='+', default=[2_000, 20_000])
    parser.add_argument('--steps', type=int, default=250, help='of training, 8 pictures each')
    args = parser.parse_args()
    print('| pictures | pack, MB | label, MB | train, MB |\n|---|---|---|---|')
    for count in args.counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            pictures(folder / 'pictures', count)
            pack_mb = peak_mb('depth_anything_ros.training.packing', folder / 'pictures',
                              folder / 'shards')
            label_mb = peak_mb(
                'depth_anything_ros.tools.label', folder / 'shards', folder / 'labels',
                '--teacher', 'bundled', '--device', 'cpu', '--input-size', 28,
                '--most-disagreement', 99)
            (folder / 'run.yaml').write_text(yaml.safe_dump({
                'data': [str(folder / 'shards')], 'held_out': str(folder / 'shards'),
                'out': str(folder / 'run'), 'workers': 0, 'bf16': False, 'eval_count': 2,
                'student': {'pseudo': [str(folder / 'labels')]},
                'network': {'hidden_size': 24, 'layers': 4, 'heads': 2, 'fusion_size': 8,
                            'neck_sizes': [8, 8, 8, 8]},
                'phases': [{'steps': args.steps, 'batch_size': 8, 'sizes': [[56, 84]],
                            'lr_from': 1e-3, 'lr_to': 0.0}]}))
            train_mb = peak_mb('depth_anything_ros.training.train', folder / 'run.yaml')
            print(f'| {count} | {pack_mb:.0f} | {label_mb:.0f} | {train_mb:.0f} |', flush=True)


if __name__ == '__main__':
    main()
