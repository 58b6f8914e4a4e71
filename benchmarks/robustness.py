# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What breaks the metres, and is it said then? Disturbed points, poses and networks.

    python benchmarks/robustness.py [--json]    # world, and ../shared/data where it is

Everything goes through DepthPipeline.measure(), as in the node. Networks: 'bundled', and
simulated ones that need no time: 'exact' (a line of inverse depth), 'distorted' (a smooth field,
an exponent, blur), on real frames 'row' (knows only the row of a pixel). Single frames have no
past. Drives are at 10 Hz, and the same ones at 1 Hz; in them the network is also renormalised: its
scale doubles in the middle of the disturbance, or changes by 20 % each frame, or each image is
stretched to 0..1.

Truth is the world's dense depth, or the held-out rings of real lidars. For each case: frames,
shares FITTED and HELD; of those the median and 95th percentile of the frame's median relative
error, median sigma and the coverage of the 90 % interval; how many frames are silently wrong
(error over 20 %, sigma under 10 %); how much worse than 1.05 times its own line a refined frame
was at most; in drives whether the last frame is refused though 10 s of sweeps were good, and how
many seconds a sensor that was moved for good was refused.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
import json
import math
from pathlib import Path
import sys
from typing import Any

from disturbances import (
    at_one_depth,
    few,
    stretched,
    turned,
    with_mirror,
    with_outliers,
    with_veil,
)
from holdout import split
import numpy as np
from numpy.typing import NDArray
from simulated import distorted, exact, renormalised, row_prior
import torch
from world_frames import world_drive, world_frame, WorldFrame

from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig
from depth_anything_ros.evaluation.frames import Frame, load_frames
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.scale import GroundPlane, State
from depth_anything_ros.metric_depth.uncertainty import Q90
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.pipeline import DepthFrame, DepthPipeline, Outputs, Prediction
from depth_anything_ros.stopwatch import Stopwatch

FIRST_SEED = 920_000  # seeds that neither training nor the tuning of refinement saw
RINGS = 16
FEW = 15
SILENT_ERROR, SILENT_SIGMA = 0.2, 0.1
FARTHEST_M = 80.0

CONFIG = Config()
CPU = torch.device('cpu')
METRIC = Outputs(points=False, stddev=True)
NOTHING = Outputs(depth=False, points=False)

DRIVES = (('street', 45.0), ('room', 45.0), ('corridor', 0.0), ('room', 0.0), ('street', 0.0))
TURN_S = (2.0, 4.0)  # when drives turn, by so many degrees a second
GOOD_S = 10.0
PERIODS_S = (0.1, 1.0)
MOVED_S = 5.0  # when a sensor is moved for good
LOOKED_AT_S = 1.0  # how long after the disturbance each frame is scored


@dataclass(frozen=True, eq=False)
class Truth:
    """True depths at some pixels: N rows, N columns, N metres."""

    v: NDArray[np.int64]
    u: NDArray[np.int64]
    z_m: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class View:
    """One image with what sensors and networks say of it.

    Attributes:
        frame: image, camera, all points.
        points: RINGS rings of them, or all where there are not so many.
        planar: one ring.
        sparse: four rings.
        networks: name -> prediction.
        truth: where it is known.
        ground: the ground where it is known.
    """

    frame: Frame
    points: SensorPoints
    sparse: SensorPoints
    planar: SensorPoints
    networks: dict[str, Prediction]
    truth: Truth
    ground: GroundPlane | None = None


@dataclass(frozen=True)
class Score:
    """One frame: relative errors and sigma are medians over the pixels of the truth."""

    state: State
    error: float = math.nan
    sigma: float = math.nan
    covered: float = math.nan
    beyond_line: float = math.nan

    @property
    def silent(self) -> bool:
        """Whether it is badly wrong and does not say so."""
        return self.error > SILENT_ERROR and self.sigma < SILENT_SIGMA


Row = dict[str, Any]
Pose = NDArray[np.float64]
Sensed = tuple[SensorPoints | None, Pose]  # points and T_camera_sensor


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--world-frames', type=int, default=6)
    parser.add_argument('--drives', type=int, default=3, help=f'at most {len(DRIVES)}')
    parser.add_argument('--quick', action='store_true', help='one frame, drive and network')
    parser.add_argument('--json', action='store_true', help='end with one JSON object')
    options = parser.parse_args()
    if options.quick:
        options.world_frames, options.drives = 1, 1
    torch.set_num_threads(1)
    with torch.inference_mode():
        network = DepthPipeline(load_predictor(ModelConfig('bundled'), RuntimeConfig()), CONFIG)
        rows = single_frames(network, options)
        rows += drives(network, options)
    print_tables(rows)
    if options.json:
        print(json.dumps({'rows': rows}))


# ---- single frames ---------------------------------------------------------------------------


def _outliers(share: float, view: View, seed: int) -> SensorPoints:
    return with_outliers(view.points, share, seed)


def _veil(share: float, tight: bool, view: View, seed: int) -> SensorPoints:
    return with_veil(view.points, share, seed, tight)


def _turned(axis: str, angle_deg: float, view: View, seed: int) -> Pose:
    return turned(view.frame.T_camera_sensor, axis, angle_deg if seed % 2 else -angle_deg)


POINT_CASES: dict[str, Callable[[View, int], SensorPoints]] = {
    'clean': lambda view, seed: view.points,
    '4 rings': lambda view, seed: view.sparse,
    'planar scan': lambda view, seed: view.planar,
    'one depth': lambda view, seed: at_one_depth(
        view.points, view.frame.T_camera_sensor, view.frame.camera
    ),
    f'{FEW} points': lambda view, seed: few(
        view.points, view.frame.T_camera_sensor, view.frame.camera, FEW, seed
    ),
    **{f'outliers {share:.0%}': partial(_outliers, share) for share in (0.1, 0.3, 0.5)},
    **{f'veil {share:.0%}': partial(_veil, share, False) for share in (0.2, 0.4)},
    **{f'tight veil {share:.0%}': partial(_veil, share, True) for share in (0.2, 0.4)},
    'mirror': lambda view, seed: with_mirror(
        view.points, view.frame.T_camera_sensor, view.frame.camera
    ),
    'stretched': lambda view, seed: stretched(view.points),
}
POSE_CASES: dict[str, Callable[[View, int], Pose]] = {
    **{f'roll {angle}': partial(_turned, 'roll', angle) for angle in (30, 90, 180)},
    **{f'yaw {angle}': partial(_turned, 'yaw', angle) for angle in (30, 90)},
    **{f'pitch {angle}': partial(_turned, 'pitch', angle) for angle in (10, 30)},
    'identity': lambda view, seed: np.eye(4),
    'inverse': lambda view, seed: np.asarray(np.linalg.inv(view.frame.T_camera_sensor)),
}
# Errors of the ground plane: degrees of pitch, and factor on the height.
GROUND_CASES = {
    'ground exact': (0.0, 1.0),
    'ground pitch 1': (1.0, 1.0),
    'ground pitch 2': (2.0, 1.0),
    'ground height 10%': (0.0, 1.1),
}


def single_frames(network: DepthPipeline, options: argparse.Namespace) -> list[Row]:
    """Score each case on frames without a past."""
    scores: dict[tuple[str, str, str], list[Score]] = {}
    for data, seed, view in _views(network, options):
        for name, prediction in view.networks.items():
            if options.quick and name != 'distorted':
                continue
            for case in (*POINT_CASES, *POSE_CASES):
                measured = _measure(_fresh(network), prediction, *_sensed(case, view, seed))
                scores.setdefault((case, data, name), []).append(score(measured, prediction, view))
            for case, (pitch_deg, factor) in GROUND_CASES.items():
                if view.ground is None:
                    continue
                ground = _wrong_ground(view.ground, pitch_deg if seed % 2 else -pitch_deg, factor)
                measured = _measure(_fresh(network), prediction, None, ground=ground)
                scores.setdefault((case, data, name), []).append(score(measured, prediction, view))
        print(f'{data} {view.frame.name} done', file=sys.stderr)
    return [
        _row({'case': case, 'data': data, 'network': name, 'period_s': None}, found)
        for (case, data, name), found in sorted(scores.items(), key=lambda item: item[0][1:])
    ]


def _sensed(case: str, view: View, seed: int) -> Sensed:
    """Return what is sensed in a case: wrong points, or a wrong pose."""
    if case in POINT_CASES:
        return POINT_CASES[case](view, seed), view.frame.T_camera_sensor
    return view.points, POSE_CASES[case](view, seed)


def _views(
    network: DepthPipeline, options: argparse.Namespace
) -> Iterator[tuple[str, int, View]]:
    for seed in range(FIRST_SEED, FIRST_SEED + options.world_frames):
        world = world_frame(seed, ('street', 'room', 'corridor')[seed % 3])
        yield 'world', seed, world_view(network, world, seed)
    for name in () if options.quick else ('kitti', 'nuscenes'):
        if not (options.data / name).is_dir():
            print(f'{options.data / name} is not there: skipped', file=sys.stderr)
            continue
        for seed, frame in enumerate(load_frames(options.data / name)):
            yield name, seed, _real_view(network, frame)


def world_view(network: DepthPipeline, world: WorldFrame, seed: int) -> View:
    """Return a frame of the world with its dense truth, in every second row and column."""
    frame, depth_m = world.frame, world.depth_m
    known = np.zeros(depth_m.shape, dtype=bool)
    known[::2, ::2] = depth_m[::2, ::2] < FARTHEST_M
    v, u = np.nonzero(known)
    said = network.predict(frame.image_rgb, frame.camera)
    R = world.T_world_camera
    return View(
        frame,
        _rings(frame.points, RINGS),
        _rings(frame.points, 4),
        _rings(frame.points, 1),
        {
            'exact': replace(said, values=exact(depth_m)),
            'distorted': replace(said, values=distorted(depth_m, seed)),
            'bundled': said,
        },
        Truth(v, u, depth_m[known]),
        GroundPlane((-R[2, 0], -R[2, 1], -R[2, 2]), R[2, 3]),
    )


def _rings(points: SensorPoints, count: int) -> SensorPoints:
    """Keep so many of the rings, evenly; of one, that nearest to the sensor's horizon."""
    assert points.ring is not None
    rings = np.unique(points.ring)
    if count == 1:
        slope = [np.abs(points.xyz_m[points.ring == ring, 2]).mean() for ring in rings]
        kept = rings[[int(np.argmin(slope))]]
    else:
        kept = rings[np.linspace(0, len(rings) - 1, min(count, len(rings))).round().astype(int)]
    which = np.isin(points.ring, kept)
    return replace(points, xyz_m=points.xyz_m[which], ring=points.ring[which])


def _real_view(network: DepthPipeline, frame: Frame) -> View:
    parts = split(frame, CONFIG.scale)
    test = parts.test
    said = network.predict(frame.image_rgb, frame.camera)
    return View(
        frame,
        parts.points[RINGS] if RINGS in parts.points else parts.points['all'],
        parts.points[4],
        parts.points['planar'],
        {'row': replace(said, values=row_prior(frame.camera)), 'bundled': said},
        Truth(np.rint(test.v).astype(int), np.rint(test.u).astype(int), test.z_m),
    )


def _wrong_ground(ground: GroundPlane, pitch_deg: float, factor: float) -> GroundPlane:
    """Return the plane where the camera is tilted down more, and the height is off by a factor."""
    x, y, z = ground.normal_down
    cosine, sine = math.cos(math.radians(pitch_deg)), math.sin(math.radians(pitch_deg))
    return GroundPlane((x, cosine * y - sine * z, sine * y + cosine * z), factor * ground.height_m)


# ---- drives ----------------------------------------------------------------------------------


NO_SWEEP = 'no sweep'


@dataclass(frozen=True)
class Event:
    """What happens to the sweeps of a drive.

    Attributes:
        start_s: when it starts.
        duration_s: how long it lasts; at least one frame.
        cases: of its first frame and of the others: names above, or NO_SWEEP.
        networks: with which networks.
        for_good: whether the sensor stays like that, so that being refused is right.
    """

    start_s: float
    duration_s: float
    cases: tuple[str, str]
    networks: tuple[str, ...]
    for_good: bool = False


STEADY, RENORMALISED = ('steady', 'bundled'), ('doubles', 'drifts', 'min-max')
ALL = (*STEADY, *RENORMALISED)
MOVED = ('stretched', 'roll 30', 'yaw 30', 'pitch 10', 'pitch 30')
_few = f'{FEW} points'
EVENTS = {
    'dropout 0.6 s': Event(TURN_S[0], 0.6, (NO_SWEEP,) * 2, ALL),
    'dropout 2 s': Event(TURN_S[0], 2.0, (NO_SWEEP,) * 2, ALL),
    'first sweep wrong': Event(0.0, 0.0, ('stretched', NO_SWEEP), ALL),
    'wrong for 0.3 s': Event(1.0, 0.3, ('stretched',) * 2, ALL),
    'wrong, then none for 1.5 s': Event(1.0, 1.5, ('stretched', NO_SWEEP), ALL),
    f'{_few} a sweep': Event(0.0, math.inf, (_few, _few), (*STEADY, 'min-max')),
    **{f'{case} for good': Event(MOVED_S, math.inf, (case,) * 2, STEADY, True) for case in MOVED},
}


def drives(network: DepthPipeline, options: argparse.Namespace) -> list[Row]:
    """Score each event on drives at each rate."""
    found: dict[tuple[str, str, float], list[Row]] = {}
    duration_s = TURN_S[1] + GOOD_S + PERIODS_S[0] / 2
    for number, (kind, rate_deg_s) in enumerate(DRIVES[: options.drives]):
        seed = FIRST_SEED + 1000 + number
        turn = partial(_turned_rad, math.radians(rate_deg_s))
        period_s = PERIODS_S[-1] if options.quick else PERIODS_S[0]
        frames = world_drive(seed, kind, period_s, duration_s, turn)
        views = [world_view(network, frame, seed) for frame in frames]
        for period in PERIODS_S[-1:] if options.quick else PERIODS_S:
            for case, event in EVENTS.items():
                for name in event.networks[:1] if options.quick else event.networks:
                    step = round(period / period_s)
                    row = _drive(network, views[::step], event, name, seed)
                    found.setdefault((case, name, period), []).append(row)
        print(f'drive {number}: {kind} done', file=sys.stderr)
    rows = []
    for (case, name, period), parts in sorted(found.items(), key=lambda item: item[0][1:]):
        key = {'case': case, 'data': 'drives', 'network': name, 'period_s': period}
        row = _row(key, [score for part in parts for score in part['scores']])
        row['ends_refused'] = sum(part['ends_refused'] for part in parts)
        if EVENTS[case].for_good:
            row['refused_s'] = min(part['refused_s'] for part in parts)
        rows.append(row)
    return rows


def _turned_rad(rate_rad_s: float, time_s: float) -> float:
    start_s, end_s = TURN_S
    return rate_rad_s * min(max(time_s - start_s, 0.0), end_s - start_s)


def _drive(
    network: DepthPipeline, views: list[View], event: Event, name: str, seed: int
) -> Row:
    """Run one drive; score every frame around the event and some of the others."""
    pipeline = _fresh(network)
    rng = np.random.default_rng(seed)
    scores: list[Score] = []
    times_s = np.array([view.frame.stamp_ns * 1e-9 for view in views])
    first = int(np.searchsorted(times_s, event.start_s - 1e-6))
    last = max(first, int(np.searchsorted(times_s, event.start_s + event.duration_s - 1e-6)) - 1)
    believed_s = times_s[-1]
    for number, (time_s, view) in enumerate(zip(times_s, views)):
        case = event.cases[int(number > first)] if first <= number <= last else 'clean'
        factor = 2.0 if name == 'doubles' and number > (first + last) / 2 else 1.0
        factor *= math.exp(0.2 * rng.normal()) if name == 'drifts' else 1.0
        prediction = view.networks['bundled' if name == 'bundled' else 'distorted']
        values = factor * prediction.values
        values = renormalised(values) if name == 'min-max' else values
        prediction = replace(prediction, values=values)
        # Points are disturbed anew in each sweep, a sensor is moved once.
        draw = seed if case in POSE_CASES else seed + number
        points, T = _sensed('clean' if case == NO_SWEEP else case, view, draw)
        points = None if case == NO_SWEEP else points
        near = first <= number and time_s <= times_s[last] + LOOKED_AT_S
        looked_at = near if math.isfinite(event.duration_s) else number % 10 == 0
        outputs = METRIC if looked_at or len(views) < 50 else NOTHING
        frame = _measure(pipeline, prediction, points, T, view.frame.stamp_ns, outputs)
        if outputs is METRIC:
            scores.append(score(frame, prediction, view))
        if frame.fit.state is State.FITTED and number >= first:
            believed_s = min(believed_s, time_s)
    return {
        'scores': scores,
        'ends_refused': frame.fit.state is not State.FITTED and not event.for_good,
        'refused_s': float(believed_s - times_s[first]),
    }


# ---- measuring -------------------------------------------------------------------------------


def _fresh(network: DepthPipeline) -> DepthPipeline:
    """Return a pipeline without a past."""
    return DepthPipeline(network.predictor, CONFIG)


def _measure(
    pipeline: DepthPipeline,
    prediction: Prediction,
    points: SensorPoints | None,
    T_camera_sensor: NDArray[np.float64] | None = None,
    stamp_ns: int = 0,
    outputs: Outputs = METRIC,
    ground: GroundPlane | None = None,
) -> DepthFrame:
    prediction = replace(prediction, watch=Stopwatch(CPU))
    return pipeline.measure(
        prediction, points, T_camera_sensor, stamp_ns=stamp_ns, ground=ground, outputs=outputs
    )


def score(frame: DepthFrame, prediction: Prediction, view: View) -> Score:
    """Compare what is published with the truth, and with the frame's own line."""
    truth, fit = view.truth, frame.fit
    if frame.depth is None or frame.stddev_m is None:
        return Score(fit.state)
    depth_m, stddev_m = frame.depth[truth.v, truth.u], frame.stddev_m[truth.v, truth.u]
    line = fit.scale * prediction.values.numpy()[truth.v, truth.u] + fit.shift
    line_m = 1 / np.maximum(line, 1 / CONFIG.depth.max)
    known = np.isfinite(depth_m)
    if not known.any():
        return Score(fit.state)
    error = np.abs(depth_m / truth.z_m - 1)[known]
    line_error = float(np.median(np.abs(line_m / truth.z_m - 1)[known]))
    inside = np.abs(depth_m - truth.z_m)[known] <= Q90 * stddev_m[known]
    return Score(
        fit.state,
        float(np.median(error)),
        float(np.median((stddev_m / depth_m)[known])),
        float(inside.mean()),
        float(np.median(error)) - 1.05 * line_error,
    )


def _row(key: Row, scores: list[Score]) -> Row:
    """Sum up the frames of one case."""
    told = [s for s in scores if s.state in (State.FITTED, State.HELD) and s.error == s.error]
    row = dict(key)
    row['frames'] = len(scores)
    for state in (State.FITTED, State.HELD):
        row[state.value.lower()] = sum(s.state is state for s in scores) / len(scores)
    errors = [s.error for s in told]
    row['error'] = float(np.median(errors)) if told else None
    row['error_p95'] = float(np.percentile(errors, 95)) if told else None
    row['sigma'] = float(np.median([s.sigma for s in told])) if told else None
    row['covered'] = float(np.mean([s.covered for s in told])) if told else None
    row['silent'] = sum(s.silent for s in told)
    fitted = [s.beyond_line for s in told if s.state is State.FITTED]
    row['beyond_line'] = max(fitted) if fitted else None
    return row


def print_tables(rows: list[Row]) -> None:
    """Print one table for each data set and network."""
    columns = 'frames fitted held error error_p95 sigma covered silent beyond_line'.split()
    columns += ['ends_refused', 'refused_s']
    tables = dict.fromkeys((r['data'], r['network'], r['period_s']) for r in rows)
    for data, network, period_s in tables:
        rate = '' if period_s is None else f', {1 / period_s:.0f} Hz'
        print(f'\n## {data}, {network}{rate}\n')
        print('| case | ' + ' | '.join(columns) + ' |')
        print('|---' * (len(columns) + 1) + '|')
        for row in rows:
            if (row['data'], row['network'], row['period_s']) == (data, network, period_s):
                cells = ' | '.join(_cell(row.get(column)) for column in columns)
                print(f'| {row["case"]} | {cells} |')
    print(f'\n{sum(r["silent"] for r in rows)} frames are silently wrong')


def _cell(value: float | int | bool | None) -> str:
    if value is None:
        return ''
    return f'{value:.3f}' if isinstance(value, float) else str(value)


if __name__ == '__main__':
    main()
