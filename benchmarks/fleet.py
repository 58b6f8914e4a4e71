# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""annotate --engine ray on this machine: two workers against one, on bags of one drive.

    OMP_NUM_THREADS=1 python benchmarks/fleet.py [--bags 8] [--seconds 4] [--workers 1 2]

The world is rendered first. Wall time is from the first unit to the last report, with the start of
workers and the load of the network, and without it (from the first image of any). CPU time
is that of the workers' processes from their first image to their last: where it is about the same
for two as for one, they are not in each other's way. Each worker has one core.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
import sys
from tempfile import TemporaryDirectory
import time
from typing import Any

import numpy as np
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'test'))
from recorded_drive import drive, write_bag  # noqa: E402, I100

from depth_anything_ros.annotation.engines import Job  # noqa: E402
from depth_anything_ros.annotation.ray_engine import RayEngine  # noqa: E402
from depth_anything_ros.annotation.unit import Request  # noqa: E402
from depth_anything_ros.annotation.unit_report import Unit, Work  # noqa: E402
from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig, with_values  # noqa: E402
from depth_anything_ros.network.predictor import load_predictor  # noqa: E402


class Timed:
    """The network, which notes when its process came to images and what it has used for them."""

    def __init__(self, predictor: Any, folder: Path) -> None:
        """Note it in a folder, in a file for each process."""
        self.spec, self.device = predictor.spec, predictor.device
        self._predictor, self._file = predictor, folder / str(os.getpid())
        self._first_s = self._first_cpu_s = 0.0

    def __call__(self, image: Tensor) -> Tensor:
        """Return the prediction."""
        self._first_s = self._first_s or time.time()
        self._first_cpu_s = self._first_cpu_s or time.process_time()
        prediction: Tensor = self._predictor(image)
        used_s = time.process_time() - self._first_cpu_s
        self._file.write_text(f'{self._first_s} {time.time()} {used_s}')
        return prediction


def main() -> None:
    """Print a line for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--bags', type=int, default=8)
    parser.add_argument('--seconds', type=float, default=4.0, help='of each bag, at 10 Hz')
    parser.add_argument('--workers', type=int, nargs='+', default=[1, 2])
    options = parser.parse_args()
    config = with_values(Config(), {'model.checkpoint': 'bundled'})
    print('| workers | images | wall, s | wall without the start, s | CPU without the start, s '
          '| CPU, ms/image | load |')
    print('|---|---|---|---|---|---|---|')
    with TemporaryDirectory() as name:
        folder = Path(name)
        messages = drive(round(10 * options.seconds))
        bags = [write_bag(folder / f'bag{i}', messages) for i in range(options.bags)]
        for workers in options.workers:
            out, notes = folder / f'out{workers}', folder / f'notes{workers}'
            notes.mkdir()

            def load(model: ModelConfig, runtime: RuntimeConfig, notes: Path = notes) -> Any:
                return Timed(load_predictor(model, runtime), notes)

            engine = RayEngine(workers=workers)
            start_s = time.time()
            work = [Work(Unit(str(bag)), out / bag.name) for bag in bags]
            reports = list(engine.run(
                work, Job(Request(), config, load), lambda *_: None, lambda: False
            ))
            wall_s = time.time() - start_s
            engine.close()
            images = sum(c.frames for report in reports for c in report.cameras.values())
            first_s, last_s, cpu_s = np.array(
                [[float(x) for x in file.read_text().split()] for file in notes.iterdir()]
            ).T
            print(f'| {workers} | {images} | {wall_s:.1f} | {last_s.max() - first_s.min():.1f} | '
                  f'{cpu_s.sum():.1f} | {1e3 * cpu_s.sum() / images:.1f} | '
                  f'{os.getloadavg()[0]:.0f} |', flush=True)


if __name__ == '__main__':
    main()
