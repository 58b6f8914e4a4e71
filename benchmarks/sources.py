# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which source of metres is worth what: the same drives through the world with each of them.

    python benchmarks/sources.py                                # with the bundled network
    python benchmarks/sources.py --sources stereo --drives 3

Streets, corridors and rooms on seeds that nothing was tuned on, people and vehicles moving in half
of them, noise of 2 gray levels in the images; 2 s each, at 10 Hz without --period. Errors are
medians over the frames in which both the source and the lidar are FITTED (90 %: what nine tenths of
them are below), over all pixels nearer than 80 m: of the line alone, and of the published depth. Of
a depth camera only the pixels count that it does not see.
Silently wrong is a FITTED frame that is over 20 % off in the median and claims 10 % or less.
Covered is the share of pixels, and of anchors, that are off by less than 1.645 of their own
standard deviations; off is the median error of the anchors. Outvoted is the share of frames in
which sources disagree and one is left out. First is the median time from the start of a drive to
its first metres; ms is what a source takes of one core for an image of 640x480, on average.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
import json
import math
import time

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation
from world_frames import CAMERA, world_drive, WorldFrame

from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.evaluation import metrics
from depth_anything_ros.metric_depth.anchors import Anchors, SensorPoints
from depth_anything_ros.metric_depth.depth_image import DepthImage
from depth_anything_ros.metric_depth.motion import MotionTracker
from depth_anything_ros.metric_depth.scale import State
from depth_anything_ros.metric_depth.sources import gather, Source, Sweep
from depth_anything_ros.metric_depth.stereo import StereoMatcher
from depth_anything_ros.metric_depth.uncertainty import Q90
from depth_anything_ros.network.predictor import load_predictor, Predictor
from depth_anything_ros.pipeline import DepthFrame, DepthPipeline, Outputs, Prediction
from depth_anything_ros.stopwatch import Stopwatch
from depth_anything_ros.world.cameras import BASELINE_M, noisy
from depth_anything_ros.world.odometry import dead_reckoning

Drive = list[WorldFrame]
Told = list[list[Source]]  # what is told of each image

CONFIG = Config()
KINDS = ('room', 'street', 'corridor')
_FIRST_SEED = 990_000
_DURATION_S = 2.0
_FARTHEST_M = 80.0
_OFF, _SURE = 0.2, 0.1
_HOLES, _HOLE_PX = 0.3, 25.0  # share of a depth image, and about half their size
_BASELINE = 'lidar'


@dataclass(frozen=True)
class Score:
    """How one frame came out; NaN where it has no metres."""

    drive: str
    time_s: float
    fitted: bool
    line: float = math.nan
    abs_rel: float = math.nan
    delta1: float = math.nan
    silently_wrong: bool = False
    covered: float = math.nan
    anchors: int = 0
    anchors_off: float = math.nan
    anchors_covered: float = math.nan
    milliseconds: float = 0.0
    outvoted: bool = False


# ---- sources: what each makes of a drive -----------------------------------------------------


def lidar(drive: Drive) -> Told:
    """Return every fourth of the 64 rings."""
    return [[_sweep(world)] for world in drive]


def stereo(
    drive: Drive, believed: float = 1.0, turned_deg: float = 0.0, rings: bool = False
) -> Told:
    """Return what a second camera to the right tells, and the lidar where it is wanted.

    Args:
        drive: frames with a stereo pair's images.
        believed: baseline of the calibration over the true one.
        turned_deg: by how much the second camera has turned since it was calibrated.
        rings: whether the lidar is there too.
    """
    matcher = _matcher(believed, turned_deg)
    told: Told = []
    for world in drive:
        assert world.pair_rgb is not None
        told.append([_sweep(world)] * rings)
        try:
            told[-1].append(matcher.match(*world.pair_rgb, CONFIG.scale))
        except BadFrameError:
            pass  # nothing to be seen by both
    return told


@cache
def _matcher(believed: float, turned_deg: float) -> StereoMatcher:
    T = np.eye(4)
    T[0, 3] = believed * BASELINE_M
    T[:3, :3] = Rotation.from_euler('y', turned_deg, degrees=True).as_matrix()
    return StereoMatcher(CAMERA, CAMERA, T)


def motion(
    drive: Drive, stretched: float = 0.0, turn_deg_s: float = 0.0, rings: bool = False
) -> Told:
    """Return what the camera's motion tells, by odometry, and the lidar where it is wanted.

    Args:
        drive: frames with their true poses.
        stretched: by what share odometry's steps are too long.
        turn_deg_s: rate at which its heading drifts, about an axis that depends on the drive.
        rings: whether the lidar is there too.
    """
    tracker, camera = MotionTracker(), drive[0].frame.camera
    told: Told = []
    for world, T_fixed_camera in zip(drive, odometry(drive, stretched, turn_deg_s)):
        image, stamp_ns = world.frame.image_rgb, world.frame.stamp_ns
        found = tracker.update(image, camera, T_fixed_camera, stamp_ns, CONFIG.scale)
        told.append([found] * (not found.note) + [_sweep(world)] * rings)
    return told


def depth(drive: Drive, farthest_m: float = math.inf) -> Told:
    """Return what a registered depth camera tells that is blind in three tenths of the image.

    Args:
        drive: frames with their true depth.
        farthest_m: beyond it the camera is blind too.
    """
    told: Told = []
    for i, world in enumerate(drive):
        rng = np.random.default_rng(i)
        truth_m = np.where(world.depth_m < _FARTHEST_M, world.depth_m, np.nan)
        sigma_m = CONFIG.scale.depth_sigma + CONFIG.scale.depth_sigma_square * truth_m**2
        seen_m = truth_m + sigma_m * rng.normal(size=truth_m.shape)
        holes = cv2.GaussianBlur(rng.normal(size=truth_m.shape), (0, 0), _HOLE_PX)
        blind = (holes < np.quantile(holes, _HOLES)) | (truth_m > farthest_m)
        seen_m = np.where(blind, np.nan, seen_m).astype(np.float32)
        told.append([DepthImage(seen_m, world.frame.camera, np.eye(4))])
    return told


def together(drive: Drive, makes: Sequence[Callable[[Drive], Told]]) -> Told:
    """Return what several sources tell of the same images."""
    return [sum(told, []) for told in zip(*(make(drive) for make in makes))]


SOURCES: dict[str, Callable[[Drive], Told]] = {
    _BASELINE: lidar,
    'depth, holes': depth,
    'depth, holes, blind beyond 8 m': partial(depth, farthest_m=8.0),
    'stereo': stereo,
    'stereo, turned by 0.1 deg': partial(stereo, turned_deg=0.1),
    'lidar and stereo': partial(stereo, rings=True),
    'lidar and stereo, baseline off by 20 %': partial(stereo, believed=1.2, rings=True),
    'motion': motion,
    'motion, odometry off by 2 % and .2 deg/s': partial(motion, stretched=0.02, turn_deg_s=0.2),
    'motion, odometry off by 20 %': partial(motion, stretched=0.2),
    'lidar and motion': partial(motion, rings=True),
    'lidar and motion, odometry off by 20 %': partial(motion, stretched=0.2, rings=True),
    'lidar and depth': partial(together, makes=(lidar, depth)),
    'depth and stereo': partial(together, makes=(depth, stereo)),
    'depth and motion': partial(together, makes=(depth, motion)),
    'stereo and motion': partial(together, makes=(stereo, motion)),
    'all four': partial(together, makes=(lidar, depth, stereo, motion)),
}


def _straight(time_s: float) -> float:
    return 0.0


def odometry(drive: Drive, stretched: float, turn_deg_s: float) -> list[NDArray[np.float64]]:
    """Return the poses of a drive as odometry has them, T_fixed_camera 4x4 each."""
    axis = np.random.default_rng(list(drive[0].frame.name.encode())).normal(size=3)
    period_s = 1e-9 * (drive[1].frame.stamp_ns - drive[0].frame.stamp_ns)
    turn_rad = math.radians(turn_deg_s * period_s) * axis / np.linalg.norm(axis)
    poses = (world.T_world_camera for world in drive)
    return list(dead_reckoning(poses, stretched, turn_rad))


def _sweep(world: WorldFrame) -> Sweep:
    points = world.frame.points
    assert points.ring is not None
    every = points.ring % 4 == 2
    fewer = SensorPoints(
        points.xyz_m[every], points.stamp_ns, points.frame_id, ring=points.ring[every]
    )
    return Sweep(fewer, world.frame.T_camera_sensor)


# ---- evaluation ------------------------------------------------------------------------------


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--checkpoint', default='bundled', help='hub id, folder, file or "bundled"')
    parser.add_argument('--sources', nargs='+', choices=SOURCES, default=list(SOURCES))
    parser.add_argument('--drives', type=int, default=12, help='of each two, one has traffic')
    parser.add_argument('--seed', type=int, default=_FIRST_SEED, help='of the first drives')
    parser.add_argument('--period', type=float, default=0.1, help='s between images')
    parser.add_argument('--json', action='store_true', help='end with one JSON object')
    arguments = parser.parse_args()
    names = list(dict.fromkeys((_BASELINE, *arguments.sources)))
    predictor = load_predictor(ModelConfig(checkpoint=arguments.checkpoint), RuntimeConfig())
    scores: dict[str, list[Score]] = {name: [] for name in names}
    for i in range(arguments.drives):
        seed, kind = arguments.seed + i // len(KINDS), KINDS[i % len(KINDS)]
        traffic = seed % 2 == 1
        drive = world_drive(
            seed, kind, arguments.period, _DURATION_S, _straight, 1, traffic, stereo=True
        )
        drive = [_noisy(world, i) for i, world in enumerate(drive)]
        camera = drive[0].frame.camera
        network = DepthPipeline(predictor, CONFIG)
        predictions = [network.predict(world.frame.image_rgb, camera) for world in drive]
        for name in names:
            scores[name] += _scored(drive, predictions, SOURCES[name], predictor)
    print_table(scores)
    if arguments.json:
        print(json.dumps({name: [asdict(score) for score in scores[name]] for name in names}))


def _noisy(world: WorldFrame, seed: int) -> WorldFrame:
    image_rgb = noisy(world.frame.image_rgb, np.random.default_rng(seed))
    return replace(world, frame=replace(world.frame, image_rgb=image_rgb))


def _scored(
    drive: Drive,
    predictions: list[Prediction],
    make: Callable[[Drive], Told],
    predictor: Predictor,
) -> list[Score]:
    pipeline = DepthPipeline(predictor, CONFIG)
    outputs = Outputs(points=False, stddev=True, relative=True)
    started_s = time.process_time()
    told = make(drive)
    milliseconds = 1e3 * (time.process_time() - started_s) / len(drive)
    scores = []
    for i, (world, prediction) in enumerate(zip(drive, predictions)):
        verdict = gather(told[i], world.frame.camera, CONFIG.scale)
        frame = pipeline.measure(
            replace(prediction, watch=Stopwatch(predictor.device)),
            stamp_ns=world.frame.stamp_ns,
            sources=told[i],
            outputs=outputs,
        )
        scores.append(
            replace(
                _score(frame, verdict.anchors, world.depth_m, _filled(told[i], world)),
                drive=world.frame.name,
                time_s=1e-9 * world.frame.stamp_ns,
                milliseconds=milliseconds,
                outvoted=bool(verdict.outvoted),
            )
        )
    return scores


def _filled(sources: list[Source], world: WorldFrame) -> NDArray[np.bool_]:
    """Tell the pixels that count: all, but those that a depth camera sees itself."""
    counts = np.ones(world.depth_m.shape, dtype=np.bool_)
    for source in sources:
        if isinstance(source, DepthImage):
            counts &= ~np.isfinite(source.depth_m)
    return counts


def _score(
    frame: DepthFrame,
    anchors: Anchors | None,
    truth_m: NDArray[np.float32],
    counts: NDArray[np.bool_],
) -> Score:
    if frame.fit.state is not State.FITTED:
        return Score('', 0.0, False)
    assert frame.depth is not None and frame.stddev_m is not None and frame.relative is not None
    assert anchors is not None
    truth_m = np.where(truth_m < _FARTHEST_M, truth_m, np.nan)
    line = frame.fit.scale * frame.relative + frame.fit.shift
    with np.errstate(divide='ignore'):
        line_m = 1 / line if frame.fit.space == 'inverse_depth' else line
    line_m = np.where((line_m > CONFIG.depth.min) & (line_m < CONFIG.depth.max), line_m, np.nan)
    # Between pixel centres inverse depth of a plane is linear: a rounded pixel is another place.
    with np.errstate(divide='ignore'):
        at = 1 / map_coordinates(
            np.nan_to_num(1 / truth_m), [anchors.v, anchors.u], order=1, mode='nearest'
        )
    truth_m = np.where(counts, truth_m, np.nan)
    off = np.abs(frame.depth / truth_m - 1)
    known = np.isfinite(off)
    inside = np.abs(np.log(frame.depth / truth_m)) < Q90 * frame.stddev_m / frame.depth
    there = np.isfinite(at)
    anchors_off = np.abs(np.log(anchors.z_m / at))[there]
    return Score(
        '',
        0.0,
        True,
        line=metrics.abs_rel(line_m, truth_m),
        abs_rel=metrics.abs_rel(frame.depth, truth_m),
        delta1=metrics.delta(frame.depth, truth_m),
        silently_wrong=bool(np.median(off[known]) > _OFF and frame.sigma < _SURE),
        covered=float(inside[known].mean()),
        anchors=len(anchors),
        anchors_off=float(np.median(anchors_off)),
        anchors_covered=float((anchors_off < Q90 * anchors.sigma[there]).mean()),
    )


def print_table(scores: dict[str, list[Score]]) -> None:
    """Print a row for each source."""
    print(
        '| source | FITTED | first, s | line | 90 % | line / lidar | AbsRel | delta1 | covered '
        '| silently wrong | anchors | off | covered | outvoted | ms |'
    )
    print('|---' * 15 + '|')
    for name, mine in scores.items():
        both = [
            (one, other)
            for one, other in zip(mine, scores[_BASELINE])
            if one.fitted and other.fitted
        ]
        if not both:
            print(f'| {name} | 0 |')
            continue
        line, abs_rel, delta1 = (
            np.median([getattr(one, what) for one, _ in both])
            for what in ('line', 'abs_rel', 'delta1')
        )
        lidar_line = np.median([other.line for _, other in both])
        tail = np.quantile([one.line for one, _ in both], 0.9)
        fitted = [one for one in mine if one.fitted]
        covered, off, anchors_covered = (
            float(np.nanmean([getattr(one, what) for one in fitted]))
            for what in ('covered', 'anchors_off', 'anchors_covered')
        )
        print(
            f'| {name} | {len(fitted) / len(mine):.2f} | {_first_s(mine):.1f} | {line:.3f} '
            f'| {tail:.3f} | {line / lidar_line:.2f} '
            f'| {abs_rel:.3f} | {delta1:.3f} | {covered:.3f} '
            f'| {sum(one.silently_wrong for one in mine)} of {len(mine)} '
            f'| {np.median([one.anchors for one in fitted]):.0f} | {off:.3f} '
            f'| {anchors_covered:.3f} | {np.mean([one.outvoted for one in mine]):.2f} '
            f'| {np.mean([one.milliseconds for one in mine]):.1f} |'
        )


def _first_s(scores: list[Score]) -> float:
    """Return the median time of the first metres of a drive, infinite where most have none."""
    first = dict.fromkeys((score.drive for score in scores), math.inf)
    for score in reversed(scores):
        if score.fitted:
            first[score.drive] = score.time_s
    return float(np.median(list(first.values())))


if __name__ == '__main__':
    main()
