# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How good are the metres? Fit and refinement against baselines on held-out lidar rings.

    python benchmarks/scale_accuracy.py                        # world and ../shared/data
    python benchmarks/scale_accuracy.py --checkpoint bundled   # with a network's predictions

Without a checkpoint the predictions are stand-ins, so that the benchmark runs anywhere and still
spans what networks do: on real frames a poor one that knows only the row of a pixel, on world
frames the true depth, distorted (smooth field, exponent, blur, sky at zero).

Prints tables, writes scale_accuracy.csv and charts into --output, and with --json ends with one
line of JSON. See docs/scale.md for the protocol and what the numbers mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
import csv
from dataclasses import dataclass
import json
from pathlib import Path
import sys
import time

from baselines import BASELINES, nearest
from chart import write_chart
from holdout import DENSITIES, LINES, noisy, shifted, Split, split, with_outliers
import numpy as np
from numpy.typing import NDArray
from simulated import distorted, Predicted, row_prior, STAND_IN
import torch
from torch import Tensor
from world_frames import world_frame

from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig
from depth_anything_ros.evaluation import metrics
from depth_anything_ros.evaluation.frames import Frame, load_frames
from depth_anything_ros.metric_depth.anchors import Anchors, thinned
from depth_anything_ros.metric_depth.glance import sample
from depth_anything_ros.metric_depth.refinement import metric_depth
from depth_anything_ros.metric_depth.scale import ScaleEstimator, State
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.network.spec import ModelSpec
from depth_anything_ros.pipeline import DepthPipeline

CONFIG = Config()
FIRST_WORLD_SEED = 910_000  # training draws smaller seeds, and so did the tuning of refinement
RANGE_BINS_M = (0, 5, 10, 20, 40, 80)
DISTANCE_BINS_PX = (0, 4, 8, 16, 32, 1000)
LEVELS = {0.5: 0.6745, 0.68: 0.9945, 0.9: 1.6449, 0.95: 1.96}
RING_SWEEPS = ('density', 'density_unscreened', 'planar', 'lines')  # the level is the rings
METHODS = ('refined', *BASELINES)
Row = dict[str, str | int | float | None]


@dataclass(frozen=True, eq=False)
class Case(Predicted):
    """One frame with a prediction.

    Attributes:
        split: of the points.
    """

    split: Split


@dataclass(frozen=True, eq=False)
class Result:
    """What one method says at the test points of one case.

    Attributes:
        sweep: which variation.
        level: of the variation: rings for density, else the size of the disturbance.
        case: the frame.
        method: row of the table.
        depth_m: N, NaN where the method is silent.
        test: the truth.
        anchor_px: N distances to the nearest anchor.
        stddev_m: N, only for the refined row.
    """

    sweep: str
    level: int | float | str
    case: Case
    method: str
    depth_m: NDArray[np.float32]
    test: Anchors
    anchor_px: NDArray[np.float32]
    stddev_m: NDArray[np.float32] | None = None


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--checkpoint', help='folder, .pth or "bundled"; default: stand-ins')
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--world-frames', type=int, default=16)
    parser.add_argument('--output', type=Path, default=Path('scale_accuracy'))
    parser.add_argument('--sweeps', default='density,planar,lines,shift,noise,outliers')
    parser.add_argument('--json', action='store_true', help='end with one JSON object')
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    predict = _network(arguments.checkpoint) if arguments.checkpoint else None
    results: list[Result] = []
    for case in _cases(arguments.data, arguments.world_frames, predict):
        results += _evaluate(case, arguments.sweeps.split(','))
        print(f'{case.data} {case.frame.name} done', file=sys.stderr)
    rows = _rows(results)
    _print_tables(rows, results)
    _write(arguments.output, rows)
    timings = _latency()
    print(
        f'\nfit + refinement, 640x480, 2000 anchors, {torch.get_num_threads()} CPU threads: '
        f'p50 {timings["p50_ms"]:.1f} ms, p99 {timings["p99_ms"]:.1f} ms'
    )
    if arguments.json:
        print(json.dumps({'rows': rows, 'latency': timings}))


# ---- cases -----------------------------------------------------------------------------------


def _cases(
    data: Path, world_frames: int, predict: Callable[[Frame], tuple[Tensor, ModelSpec]] | None
) -> Iterator[Case]:
    for seed in range(FIRST_WORLD_SEED, FIRST_WORLD_SEED + world_frames):
        world = world_frame(seed)
        said = predict(world.frame) if predict else (distorted(world.depth_m, seed), STAND_IN)
        yield Case('world', world.frame, *said, split(world.frame, CONFIG.scale))
    for name in ('kitti', 'nuscenes'):
        if not (data / name).is_dir():
            print(f'{data / name} is not there: skipped', file=sys.stderr)
            continue
        for frame in load_frames(data / name):
            said = predict(frame) if predict else (row_prior(frame.camera), STAND_IN)
            yield Case(name, frame, *said, split(frame, CONFIG.scale))


def _network(checkpoint: str) -> Callable[[Frame], tuple[Tensor, ModelSpec]]:
    predictor = load_predictor(ModelConfig(checkpoint=checkpoint), RuntimeConfig())
    pipeline = DepthPipeline(predictor, CONFIG)

    def predict(frame: Frame) -> tuple[Tensor, ModelSpec]:
        return pipeline.predict(frame.image_rgb, frame.camera).values.cpu(), predictor.spec

    return predict


# ---- evaluation ------------------------------------------------------------------------------


def _evaluate(case: Case, sweeps: list[str]) -> list[Result]:
    anchors, camera = case.split.anchors, case.frame.camera
    found: list[Result] = []
    if 'density' in sweeps:
        for rings in DENSITIES:
            if rings in anchors:
                found += _all_methods('density', rings, case, anchors[rings], case.split.test)
        found += _all_methods(
            'density_unscreened', 'all', case, anchors['all'], case.split.test_unscreened
        )
    if 'planar' in sweeps and len(anchors['planar']) >= 20:
        found += _all_methods('planar', 1, case, anchors['planar'], case.split.test)
    if 'lines' in sweeps and case.data == 'kitti':
        for lines in LINES:
            found += _all_methods('lines', lines, case, anchors[f'{lines} lines'], case.split.test)
    base = anchors.get(16)
    if base is None:
        return found
    for sweep, levels, disturb in (
        ('shift', (1, 3, 5), lambda level: shifted(base, level, camera)),
        ('noise', (0.01, 0.03, 0.05), lambda level: noisy(base, level, 1)),
        ('outliers', (0.05, 0.15, 0.3), lambda level: with_outliers(base, level, 1)),
    ):
        if sweep in sweeps:
            for level in levels:
                found += _all_methods(sweep, level, case, disturb(level), case.split.test)
    return found


def _all_methods(
    sweep: str, level: int | float | str, case: Case, anchors: Anchors, test: Anchors
) -> list[Result]:
    near = nearest(anchors, torch.from_numpy(np.stack([test.u, test.v], axis=1)))
    anchor_px = near[0][:, 0].numpy()
    depth_m, stddev_m = _refined(case, anchors, test)
    found = [Result(sweep, level, case, 'refined', depth_m, test, anchor_px, stddev_m)]
    # The baselines are written for inverse depth; a depth network is given to them inverted.
    inverse = case.prediction if case.spec.space == 'inverse_depth' else 1 / case.prediction
    for name, baseline in BASELINES.items():
        z = baseline(sample(inverse, anchors), anchors, near, sample(inverse, test))
        found.append(Result(sweep, level, case, name, z.numpy(), test, anchor_px))
    return found


def _refined(
    case: Case, anchors: Anchors, test: Anchors
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Run what the node runs, without a history."""
    fit = ScaleEstimator(CONFIG.scale, case.spec).update(
        case.prediction, anchors, case.frame.camera, 0
    )
    if fit.state is not State.FITTED:
        print(f'{case.frame.name}: {fit.state.value}: {fit.reason}', file=sys.stderr)
        return (np.full(len(test), np.nan, dtype=np.float32),) * 2
    metric = metric_depth(case.prediction, fit, anchors, CONFIG)
    return sample(metric.depth_m, test).numpy(), sample(metric.stddev_m, test).numpy()


# ---- results ---------------------------------------------------------------------------------


def _scores(result: Result) -> dict[str, float]:
    z, truth = result.depth_m, result.test.z_m
    # Depth completion has to answer everywhere.
    if result.sweep == 'lines' and np.isfinite(z).any():
        z = np.where(np.isfinite(z), z, np.float32(CONFIG.depth.max))
    scores = {
        'abs_rel': metrics.abs_rel(z, truth),
        'mae': metrics.mae(z, truth),
        'rmse': metrics.rmse(z, truth),
        'irmse_per_km': 1000 * metrics.irmse(z, truth),
        'delta_1.25': metrics.delta(z, truth, 1.25),
        'delta_1.05': metrics.delta(z, truth, 1.05),
        'valid': metrics.coverage(z, truth),
    }
    if result.stddev_m is not None:
        for level, sigmas in LEVELS.items():
            known = np.isfinite(result.stddev_m)
            inside = np.abs(z - truth)[known] <= sigmas * result.stddev_m[known]
            scores[f'within_{level:g}'] = float(inside.mean()) if inside.size else float('nan')
    return scores


def _rows(results: list[Result]) -> list[Row]:
    """Average over frames: one row a sweep, level, data set and method.

    Frames that the estimator refuses to call FITTED leave all methods' averages, so that a ratio
    compares the same frames; `refused` counts them.
    """
    groups: dict[tuple[str, int | float | str, str], dict[str, dict[str, dict[str, float]]]] = {}
    for result in results:
        frames = groups.setdefault((result.sweep, result.level, result.case.data), {})
        frames.setdefault(result.case.frame.name, {})[result.method] = _scores(result)
    rows: list[Row] = []
    for (sweep, level, data), frames in groups.items():
        fitted = [f for f in frames.values() if np.isfinite(f['refined']['abs_rel'])]
        for method in METHODS:
            row: Row = {'sweep': sweep, 'data': data, 'level': level, 'method': method}
            row['rings'] = level if sweep in RING_SWEEPS else 16
            row['frames'], row['refused'] = len(fitted), len(frames) - len(fitted)
            for name in next(iter(frames.values()))[method]:
                values = [f[method][name] for f in fitted]
                row[name] = float(np.mean(values)) if values else None
            rows.append(row)
    return rows


def _print_tables(rows: list[Row], results: list[Result]) -> None:
    for data in ('world', 'kitti', 'nuscenes'):
        print(f'\n## {data}: AbsRel of held-out rings, mean over frames\n')
        names = ' | '.join((*METHODS, 'vs best', 'valid', 'frames', 'refused'))
        print(f'| sweep | level | {names} |')
        print('|---' * (len(METHODS) + 6) + '|')
        for sweep, level in dict.fromkeys((r['sweep'], r['level']) for r in rows):
            cells = {
                str(r['method']): r
                for r in rows
                if (r['sweep'], r['level'], r['data']) == (sweep, level, data)
            }
            if not cells:
                continue
            ours = cells['refined']
            if not ours['frames']:
                print(f'| {sweep} | {level} | all {ours["refused"]} frames refused |')
                continue
            scores = {m: _number(cells[m]['abs_rel']) for m in METHODS}
            best = min(scores[m] for m in BASELINES)
            listed = ' | '.join(f'{scores[m]:.4f}' for m in METHODS)
            print(
                f'| {sweep} | {level} | {listed} | {scores["refined"] / best:.2f} '
                f'| {_number(ours["valid"]):.3f} | {ours["frames"]} | {ours["refused"]} |'
            )
        refined = [
            r for r in rows if r['data'] == data and r['method'] == 'refined' and r['frames']
        ]
        print(f'\n{data}: share of held-out returns within the stddev\'s interval\n')
        print('| sweep | level | ' + ' | '.join(f'{level:.0%}' for level in LEVELS) + ' |')
        print('|---' * (len(LEVELS) + 2) + '|')
        for r in refined:
            inside = ' | '.join(f'{_number(r[f"within_{level:g}"]):.3f}' for level in LEVELS)
            print(f'| {r["sweep"]} | {r["level"]} | {inside} |')
        _print_bins(data, results)
    _print_completion(rows)


def _number(value: str | int | float | None) -> float:
    return float('nan') if value is None else float(value)


def _print_completion(rows: list[Row]) -> None:
    """Print what public tables of depth completion print, on withheld lines of the lidar."""
    mine = [row for row in rows if row['sweep'] == 'lines']
    if not mine:
        return
    print('\n## kitti: RMSE / MAE in metres on withheld lines of the lidar, mean over frames\n')
    print('| lines | ' + ' | '.join(METHODS) + ' |')
    print('|---' * (len(METHODS) + 1) + '|')
    for lines in LINES:
        cells = [
            f'{_number(row["rmse"]):.2f} / {_number(row["mae"]):.2f}'
            for method in METHODS
            for row in mine
            if (row['level'], row['method']) == (lines, method)
        ]
        print(f'| {lines} | ' + ' | '.join(cells) + ' |')


def _print_bins(data: str, results: list[Result]) -> None:
    chosen = [r for r in results if r.case.data == data and r.sweep == 'density' and r.level == 8]
    if not chosen:
        return
    for title, edges, unit in (
        ('range', RANGE_BINS_M, 'm'),
        ('distance to the nearest anchor', DISTANCE_BINS_PX, 'px'),
    ):
        print(f'\n{data}, 8 rings: AbsRel by {title}\n')
        names = [f'{a}-{b} {unit}' for a, b in zip(edges, edges[1:])]
        print('| method | ' + ' | '.join(names) + ' |')
        print('|---' * (len(names) + 1) + '|')
        for method in METHODS:
            mine = [r for r in chosen if r.method == method]
            truth = np.concatenate([r.test.z_m for r in mine])
            z = np.concatenate([r.depth_m for r in mine])
            where = truth if unit == 'm' else np.concatenate([r.anchor_px for r in mine])
            cells = [
                metrics.abs_rel(z[inside], truth[inside])
                for inside in ((where >= a) & (where < b) for a, b in zip(edges, edges[1:]))
            ]
            print(f'| {method} | ' + ' | '.join(f'{cell:.4f}' for cell in cells) + ' |')


def _write(output: Path, rows: list[Row]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with (output / 'scale_accuracy.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    for sweep, data in dict.fromkeys((str(r['sweep']), str(r['data'])) for r in rows):
        mine = [r for r in rows if (r['sweep'], r['data']) == (sweep, data)]
        levels = list(dict.fromkeys(str(r['level']) for r in mine))
        series = {
            method: [_number(r['abs_rel']) for r in mine if r['method'] == method]
            for method in METHODS
        }
        if len(levels) > 1:
            write_chart(
                output / f'{sweep}_{data}.png', f'{data}: AbsRel', sweep, levels, series
            )
    print(f'\ntable and charts: {output}')


def _latency(frames: int = 100) -> dict[str, float]:
    """Time fit and refinement of one 640x480 prediction with 2,000 anchors."""
    frame = world_frame(FIRST_WORLD_SEED, 'street')
    prediction = distorted(frame.depth_m, 0)
    anchors = split(frame.frame, CONFIG.scale).anchors['all']
    anchors = thinned(anchors, 2000)
    estimator = ScaleEstimator(CONFIG.scale, STAND_IN)
    taken_ms = []
    with torch.inference_mode():
        for i in range(frames + 5):
            start = time.perf_counter()
            fit = estimator.update(prediction, anchors, frame.frame.camera, i * 100_000_000)
            metric_depth(prediction, fit, anchors, CONFIG)
            taken_ms.append((time.perf_counter() - start) * 1000)
    p50, p99 = np.percentile(taken_ms[5:], [50, 99])
    return {'p50_ms': float(p50), 'p99_ms': float(p99)}


if __name__ == '__main__':
    main()
