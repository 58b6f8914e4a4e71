# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How long a run-up must be for a part of a bag to come out as in one run over the whole.

A drive through the world at 10 Hz, cut at four places: nothing happens at the first; the lidar
falls silent from 1 s before the second to 1.5 s after; from 2 s before the third to 3 s after its
ranges are 40 % too long; the fourth comes 2 s after 12 s of such ranges, believed after 7 of them.
Compared are the bytes of 4 s of images after each cut.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
import sys
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

from disturbances import stretched
import numpy as np
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'test'))
from recorded_drive import cloud_message, drive, START_NS, sweep_at, write_bag  # noqa: E402, I100

from depth_anything_ros.annotation.unit import annotate_unit, Request  # noqa: E402
from depth_anything_ros.annotation.unit_report import Unit  # noqa: E402
from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig, with_values  # noqa: E402
from depth_anything_ros.network.predictor import load_predictor  # noqa: E402
from depth_anything_ros.ros.bags import open_bag, read_recorded  # noqa: E402
from depth_anything_ros.ros.cdr import stamp_of  # noqa: E402

CUTS_S = {'nothing': 22.0, 'silent': 30.0, 'too long': 40.0, 'too long for 12 s': 60.0}
SILENT_S, LONG_S = ((29.0, 31.5),), ((38.0, 43.0), (46.0, 58.0))
RUN_UPS_S = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0)
COMPARED_S, DRIVE_S = 4.0, 64.0
CONFIG = with_values(Config(), {'model.checkpoint': 'bundled'})
TOPICS = ('depth/image', 'depth/stddev', 'depth/scale')


class Remembering:
    """A network that looks at each image once; by image it scales its output by a factor."""

    def __init__(self, predictor: Any, spread: float) -> None:
        """Draw factors of that log-normal spread, as of networks that normalise each image."""
        self.spec, self.device = predictor.spec, predictor.device
        self._predictor, self._spread, self._known = predictor, spread, {}

    def __call__(self, image: Tensor) -> Tensor:
        """Return the prediction."""
        key = crc32(image.cpu().numpy().tobytes())
        if key not in self._known:
            factor = np.exp(self._spread * np.random.default_rng(key).normal())
            self._known[key] = float(factor) * self._predictor(image)
        return self._known[key].clone()


def main() -> None:
    """Print, for each cut and run-up, how many of 40 frames differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--spread', type=float, default=0.2, help='of the normalisation, log')
    options = parser.parse_args()

    @lru_cache
    def load(model: ModelConfig, runtime: RuntimeConfig) -> Any:
        return Remembering(load_predictor(model, runtime), options.spread)

    with TemporaryDirectory() as folder:
        bag = write_bag(Path(folder, 'bag'), disturbed())
        print('| cut | run-up, s | ' + ' | '.join(f'{t} differs' for t in TOPICS) + ' |')
        print('|---|---|' + '---|' * len(TOPICS))
        whole = outputs(bag, Path(folder, 'whole'), Unit(str(bag)), load)
        for name, cut_s in CUTS_S.items():
            for run_up_s in RUN_UPS_S:
                start_ns, stop_ns = (START_NS + round(1e9 * s) for s in (cut_s, cut_s + COMPARED_S))
                unit = Unit(str(bag), start_ns, stop_ns, run_up_s)
                part = outputs(bag, Path(folder, f'{name}{run_up_s}'), unit, load)
                times_ns = sorted({time_ns for _, time_ns in part})
                counts = []
                for topic in TOPICS:  # one may say it is in metres, and the other not
                    said = [(whole.get((topic, t)), part.get((topic, t))) for t in times_ns]
                    counts.append(f'{sum(a != b for a, b in said)} of {len(said)}')
                print(f'| {name} | {run_up_s:g} | ' + ' | '.join(counts) + ' |', flush=True)


def disturbed() -> list[tuple[str, int, bytes]]:
    """Return the messages of the drive with what happens to its lidar."""
    messages = []
    for topic, time_ns, data in drive(round(10 * DRIVE_S)):
        if topic == '/lidar/points':
            stamp_ns = stamp_of(data)
            if happens(SILENT_S, stamp_ns):
                continue
            if happens(LONG_S, stamp_ns):
                data = cloud_message(stretched(sweep_at(stamp_ns)), stamp_ns)
        messages.append((topic, time_ns, data))
    return messages


def happens(times_s: tuple[tuple[float, float], ...], stamp_ns: int) -> bool:
    """Tell whether a stamp is in one of some spans."""
    return any(first <= (stamp_ns - START_NS) * 1e-9 < last for first, last in times_s)


def outputs(
    bag: Path, out: Path, unit: Unit, load: Callable[..., Any]
) -> dict[tuple[str, int], bytes]:
    """Return (topic, time of recording) -> bytes of what is written."""
    request = Request(frozenset(TOPICS) | {'depth/camera_info'}, keep=False)
    annotate_unit(unit, request, CONFIG, load, out)
    with open_bag(out) as written:
        return {
            (connection.topic.removeprefix('/front/'), time_ns): data
            for connection, time_ns, data in read_recorded(written, list(written.connections))
        }


if __name__ == '__main__':
    main()
