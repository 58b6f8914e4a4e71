# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What fleet_report says of drives in which the lidar's mount works loose.

    python benchmarks/loose_mount.py [--seconds 30] [--html FILE]

From the start of a drive at 10 Hz to its end, sweeps pitch by 0 degrees to some; /tf_static says 0.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import lru_cache
import math
from pathlib import Path
import sys
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'test'))
from recorded_drive import cloud_message, drive, START_NS, sweep_at, write_bag  # noqa: E402, I100

from depth_anything_ros.annotation.unit import annotate_unit, Request  # noqa: E402
from depth_anything_ros.annotation.unit_report import Unit  # noqa: E402
from depth_anything_ros.config import Config, with_values  # noqa: E402
from depth_anything_ros.evaluation.quality import read_quality  # noqa: E402
from depth_anything_ros.evaluation.quality_page import quality_page, quality_table  # noqa: E402
from depth_anything_ros.network.predictor import load_predictor  # noqa: E402
from depth_anything_ros.ros.cdr import stamp_of  # noqa: E402

PITCHES_DEG = (0.0, 2.0, 5.0, 10.0)  # at the end


def main() -> None:
    """Print the table, and write the page where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=30.0)
    parser.add_argument('--html', type=Path)
    options = parser.parse_args()
    config = with_values(Config(), {'model.checkpoint': 'bundled'})
    load = lru_cache(load_predictor)
    messages = drive(round(10 * options.seconds))
    with TemporaryDirectory() as name:
        fleet = []
        for pitch_deg in PITCHES_DEG:
            loose = [
                (topic, time_ns, pitched(data, pitch_deg, options.seconds))
                if topic == '/lidar/points' else (topic, time_ns, data)
                for topic, time_ns, data in messages
            ]
            out = Path(name, f'to {pitch_deg:g} degrees')
            bag = write_bag(Path(name, f'bag{pitch_deg:g}'), loose)
            annotate_unit(Unit(str(bag)), Request(), config, load, out)
            fleet.append(read_quality(out, '/front/image_raw'))
        Console(width=140).print(quality_table(fleet))
        if options.html is not None:
            options.html.write_text(quality_page(fleet, [], 2))


def pitched(data: bytes, pitch_deg: float, seconds: float) -> bytes:
    """Return a sweep that is turned about the lidar's y axis, the more the later it is."""
    stamp_ns = stamp_of(data)
    angle_rad = math.radians(pitch_deg) * (stamp_ns - START_NS) * 1e-9 / seconds
    R = cv2.Rodrigues(np.array([0.0, angle_rad, 0.0]))[0].astype(np.float32)
    sweep = sweep_at(stamp_ns)
    return cloud_message(replace(sweep, xyz_m=sweep.xyz_m @ R.T), stamp_ns)


if __name__ == '__main__':
    main()
