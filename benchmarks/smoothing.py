# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What does a recording's second pass win where the lidar was away for 5 s?

    python benchmarks/smoothing.py [--drives 12] [--kinds street] [--period 0.2] [--json]

Drives of 12 s through the world, of seeds that nothing was chosen on, every second one with
traffic; noise of 2 gray levels; 16 rings, none from 3.5 to 8.5 s. Networks: the bundled one, the
same whose scale doubles in the middle of the gap, and whose scale changes by 20 % from image to
image. Compared on the images of the gap:

    held      the fit before, held on as the node would, with max_hold over the gap
    smoothed  smooth(): the lines of the fits before and after, merged
    images    carry(): the sweeps before and after as well, brought along by the camera's own motion
              as its images show it
    exact ... the same with odometry: exact; with drift (2 % too long, .2 degrees/s); long and short
              (by 20 %); still (it says that nothing moves); reset (to its origin, in the gap)
    motion    the node, with that drifting odometry as a source
    fitted    had there been no gap

AbsRel is the mean over a frame's pixels within 80 m, given as the median over frames. Flicker is
the median over pixels of |log ratio| of depth from image to image, less that of the truth on the
same pixel; covered is the mean share of pixels within the 90 % interval, silent counts frames with
a median error over 20 % and a median sigma under 10 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
import json
import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from world_frames import world_drive, WorldFrame

from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig
from depth_anything_ros.metric_depth.bridging import Bridged, carry
from depth_anything_ros.metric_depth.carried import Carried
from depth_anything_ros.metric_depth.scale import PassRecord, ScaleFit
from depth_anything_ros.metric_depth.smoothing import gaps, smooth
from depth_anything_ros.metric_depth.sources import Sweep
from depth_anything_ros.metric_depth.uncertainty import Q90
from depth_anything_ros.metric_depth.ways import View
from depth_anything_ros.network.predictor import load_predictor, Predictor
from depth_anything_ros.pipeline import DepthFrame, DepthPipeline, Outputs, Prediction
from depth_anything_ros.poses import Matrix
from depth_anything_ros.stopwatch import Stopwatch
from depth_anything_ros.world.odometry import dead_reckoning

FIRST_SEED = 950_000
KINDS = ('street', 'room', 'corridor')
NETWORKS = ('bundled', 'doubles', 'drifts')
DURATION_S, GAP_S = 12.0, (3.5, 8.5)
FARTHEST_M = 80.0
IMAGE_NOISE = 2.0  # gray levels
SILENT_ERROR, SILENT_SIGMA = 0.2, 0.1
CONFIG = Config()
CONFIG = replace(CONFIG, scale=replace(CONFIG.scale, max_hold=60.0))
METRIC = Outputs(points=False, stddev=True)
ODOMETRY: dict[str, dict[str, Any]] = {
    'exact': {},
    'drift': {'stretched': 0.02, 'turn_rad_s': 0.0035},
    'long': {'stretched': 0.2},
    'short': {'stretched': -0.2},
    'still': {'stretched': -1.0},
    'reset': {'reset_s': sum(GAP_S) / 2},
}
WAYS = ('held', 'smoothed', 'images', *ODOMETRY, 'motion', 'fitted')


@dataclass(frozen=True)
class Score:
    """One frame of a gap, by one way."""

    drive: str
    network: str
    way: str
    time_s: float
    state: str
    method: str
    absrel: float = math.nan
    error: float = math.nan
    sigma: float = math.nan
    covered: float = math.nan
    flicker: float = math.nan

    @property
    def silent(self) -> bool:
        """Whether it is badly wrong and does not say so."""
        return self.error > SILENT_ERROR and self.sigma < SILENT_SIGMA


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--drives', type=int, default=12)
    parser.add_argument('--seed', type=int, default=FIRST_SEED, help='of the first drive')
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=list(KINDS))
    parser.add_argument('--odometry', nargs='*', choices=ODOMETRY, default=list(ODOMETRY))
    parser.add_argument('--period', type=float, default=0.2, help='s between images')
    parser.add_argument('--networks', nargs='+', choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument('--json', action='store_true', help='end with one JSON object')
    options = parser.parse_args()
    torch.set_num_threads(1)
    predictor = load_predictor(ModelConfig('bundled'), RuntimeConfig())
    scores: list[Score] = []
    for number in range(options.drives):
        seed, kind = options.seed + number, options.kinds[number % len(options.kinds)]
        drive = straight_drive(seed, kind, options.period)
        for name in options.networks:
            scores += score_drive(predictor, drive, name, seed, options.odometry)
    print_table(scores)
    if options.json:
        print(json.dumps({'scores': [asdict(score) for score in scores]}))


def straight_drive(seed: int, kind: str, period_s: float) -> list[WorldFrame]:
    """Render a drive, every second one with traffic, as a camera with some noise sees it."""
    rng = np.random.default_rng(seed)
    drive = []
    for world in world_drive(
        seed, kind, period_s, DURATION_S, lambda time_s: 0.0, traffic=seed % 2 == 1
    ):
        image = world.frame.image_rgb
        noisy = image + rng.normal(0.5, IMAGE_NOISE, image.shape)
        image = np.clip(noisy, 0, 255).astype(np.uint8)
        drive.append(replace(world, frame=replace(world.frame, image_rgb=image)))
    return drive


def score_drive(
    predictor: Predictor,
    drive: Sequence[WorldFrame],
    network: str,
    seed: int,
    of_interest: Sequence[str] = tuple(ODOMETRY),
) -> list[Score]:
    """Score the gap of one drive by all ways."""
    predictions = predicted(predictor, drive, network, seed)
    times_s = np.array([world.frame.stamp_ns * 1e-9 for world in drive])
    gap = (times_s >= GAP_S[0]) & (times_s < GAP_S[1])
    sweeps = [None if absent else every_fourth_ring(world) for absent, world in zip(gap, drive)]

    none: list[Bridged | None] = [None] * len(drive)
    everywhere = [every_fourth_ring(world) for world in drive]
    frames = {'fitted': measured(predictor, drive, predictions, everywhere, none)[0]}
    frames['held'], records = measured(predictor, drive, predictions, sweeps, none)

    lines = smooth(records, CONFIG.scale.max_hold)
    smoothed = [Bridged(line) for line in lines]
    frames['smoothed'] = measured(predictor, drive, predictions, sweeps, smoothed)[0]
    told: dict[str, Sequence[Matrix | None]] = {'images': [None for _ in drive]}
    told |= {name: odometry(drive, **ODOMETRY[name]) for name in of_interest}
    spent = []
    for way, poses in told.items():
        started_s = time.process_time()
        bridged = bridges(predictor, drive, predictions, sweeps, poses, records, lines)
        spent.append(f'{way} {1e3 * (time.process_time() - started_s) / gap.sum():.0f}')
        frames[way] = measured(predictor, drive, predictions, sweeps, bridged)[0]
    drifting = odometry(drive, **ODOMETRY['drift'])
    frames['motion'] = measured(predictor, drive, predictions, sweeps, none, drifting)[0]
    print(f'{drive[0].frame.name}, {network}, ms of CPU an image of the gap: {", ".join(spent)}')
    return [
        score(way, network, n, drive, frames[way])
        for way in WAYS
        if way in frames
        for n in np.flatnonzero(gap)
    ]


def odometry(
    drive: Sequence[WorldFrame],
    stretched: float = 0.0,
    turn_rad_s: float = 0.0,
    reset_s: float = math.inf,
) -> list[Matrix]:
    """Return where odometry takes the camera to be."""
    times_s = [1e-9 * world.frame.stamp_ns for world in drive]
    turn_rad = (0.0, turn_rad_s * (times_s[1] - times_s[0]), 0.0)
    true = [world.T_world_camera for world in drive]
    poses = list(dead_reckoning(true, stretched, turn_rad))
    after = next((n for n, time_s in enumerate(times_s) if time_s >= reset_s), len(poses))
    anew = [np.linalg.inv(poses[after]) @ pose for pose in poses[after:]]
    return [*poses[:after], *anew]


def bridges(
    predictor: Predictor,
    drive: Sequence[WorldFrame],
    predictions: Sequence[Prediction],
    sweeps: Sequence[Sweep | None],
    poses: Sequence[Matrix | None],
    records: Sequence[PassRecord],
    lines: Sequence[ScaleFit],
) -> list[Bridged]:
    """Return what is known of each image with the sweeps around it."""
    carried: list[Carried | None] = [None for _ in drive]
    for numbers in gaps(records):
        views = [
            View(
                drive[n].frame.stamp_ns, partial(_image, drive[n]), drive[n].frame.camera,
                sweeps[n], poses[n],
            )
            for n in numbers
        ]
        said = partial(_values, predictions, numbers.start)
        carried[numbers.start : numbers.stop] = carry(views, said, CONFIG, predictor.spec)
    return [Bridged(line, sweep) for line, sweep in zip(lines, carried)]


def predicted(
    predictor: Predictor, drive: Sequence[WorldFrame], network: str, seed: int
) -> list[Prediction]:
    """Return what a network says of each image."""
    pipeline, rng = DepthPipeline(predictor, CONFIG), np.random.default_rng(seed)
    found = []
    for world in drive:
        factor = 1.0
        if network == 'doubles' and world.frame.stamp_ns > 5e8 * sum(GAP_S):
            factor = 2.0
        elif network == 'drifts':
            factor = math.exp(0.2 * rng.normal())
        said = pipeline.predict(world.frame.image_rgb, world.frame.camera)
        found.append(replace(said, values=factor * said.values))
    return found


def every_fourth_ring(world: WorldFrame) -> Sweep:
    """Return the lidar's sweep with 16 of its 64 rings."""
    points = world.frame.points
    assert points.ring is not None
    every = points.ring % 4 == 2
    points = replace(points, xyz_m=points.xyz_m[every], ring=points.ring[every])
    return Sweep(points, world.frame.T_camera_sensor)


def measured(
    predictor: Predictor,
    drive: Sequence[WorldFrame],
    predictions: Sequence[Prediction],
    sweeps: Sequence[Sweep | None],
    bridges: Sequence[Bridged | None],
    poses: Sequence[Matrix] | None = None,
) -> tuple[list[DepthFrame], list[PassRecord]]:
    """Measure one drive from its start; return the frames, and the records of this pass."""
    pipeline = DepthPipeline(predictor, CONFIG)
    frames, records = [], []
    told = [None for _ in drive] if poses is None else poses
    for world, prediction, sweep, bridged, pose in zip(
        drive, predictions, sweeps, bridges, told
    ):
        frame = pipeline.measure(
            replace(prediction, watch=Stopwatch(predictor.device)),
            stamp_ns=world.frame.stamp_ns,
            sources=[] if sweep is None else [sweep],
            T_fixed_camera=pose,
            outputs=METRIC,
            bridged=bridged,
        )
        assert pipeline.record is not None
        frames.append(frame)
        records.append(pipeline.record)
    return frames, records


def _image(world: WorldFrame) -> NDArray[np.uint8]:
    return world.frame.image_rgb


def _values(predictions: Sequence[Prediction], start: int, n: int) -> torch.Tensor:
    return predictions[start + n].values


def score(
    way: str, network: str, n: int, drive: Sequence[WorldFrame], frames: Sequence[DepthFrame]
) -> Score:
    """Compare one frame with its truth, and its change with that of the truth."""
    world, frame = drive[n], frames[n]
    truth_m, depth_m, stddev_m = world.depth_m, frame.depth, frame.stddev_m
    key = (drive[0].frame.name, network, way, 1e-9 * world.frame.stamp_ns)
    if depth_m is None or stddev_m is None:
        return Score(*key, frame.fit.state.value, frame.fit.method)
    known = np.isfinite(depth_m) & (truth_m < FARTHEST_M)
    error = np.abs(depth_m / truth_m - 1)[known]
    inside = np.abs(depth_m - truth_m)[known] <= Q90 * stddev_m[known]
    flicker, before_m, before = math.nan, drive[n - 1].depth_m, frames[n - 1].depth
    if before is not None:
        both = known & np.isfinite(before) & (before_m < FARTHEST_M)
        change = np.log(depth_m[both] / before[both]) - np.log(truth_m[both] / before_m[both])
        flicker = float(np.median(np.abs(change)))
    return Score(
        *key,
        frame.fit.state.value,
        frame.fit.method,
        float(error.mean()),
        float(np.median(error)),
        float(np.median((stddev_m / depth_m)[known])),
        float(inside.mean()),
        flicker,
    )


def print_table(scores: Sequence[Score]) -> None:
    """Print one row for each network and way, over all drives and over each kind."""
    names = ('AbsRel', *KINDS, '90th', '/ held', 'error', 'sigma', 'covered', 'flicker', 'silent')
    print('\n| network | way | frames | FITTED | ' + ' | '.join(names) + ' |')
    print('|---' * (4 + len(names)) + '|')
    for network in dict.fromkeys(one.network for one in scores):
        held = math.nan
        for way in WAYS:
            some = [s for s in scores if (s.network, s.way) == (network, way)]
            told = [s for s in some if math.isfinite(s.absrel)]
            if not told:
                continue
            absrel = float(np.median([s.absrel for s in told]))
            held = absrel if way == 'held' else held
            kinds = [[s.absrel for s in told if s.drive.startswith(kind)] for kind in KINDS]
            numbers = [
                absrel,
                *(float(np.median(kind)) if kind else math.nan for kind in kinds),
                float(np.percentile([s.absrel for s in told], 90)),
                absrel / held,
                float(np.median([s.error for s in told])),
                float(np.median([s.sigma for s in told])),
                float(np.mean([s.covered for s in told])),
                float(np.nanmedian([s.flicker for s in told])),
            ]
            fitted = sum(s.state == 'FITTED' for s in some) / len(some)
            cells = ' | '.join(f'{number:.3f}' for number in numbers)
            silent = sum(s.silent for s in told)
            print(f'| {network} | {way} | {len(some)} | {fitted:.2f} | {cells} | {silent} |')


if __name__ == '__main__':
    main()
