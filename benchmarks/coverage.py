# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Does the standard deviation say the truth? Share of pixels within the stated 90 % interval.

    python benchmarks/coverage.py                        # stand-ins, world and ../shared/data
    python benchmarks/coverage.py --checkpoint bundled   # with a network's predictions

A pixel is covered where |log(D / D_true)| <= 1.645 sigma. Counted by place against the rings that
anchor the frame (inside: between the highest and the lowest of the pixel's columns; above; below),
by depth and by distance to the nearest anchor, for 1 (the levelest), 4, 16 and all rings; means
over frames with at least 50 points of the kind.

In the world the true depth of the whole image is known; the lidar shows once all that it sees and
once the middle 60 % of it. On real frames the highest and lowest fifth of the rings that the image
shows are kept for the test, and so is every fourth of those between.

The constants of the standard deviation were chosen on other frames (--tuning) than these.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
import json
from pathlib import Path
import sys

from baselines import nearest
from holdout import levelest_ring, project_rings, shown_rings
import numpy as np
from numpy.typing import NDArray
from simulated import distorted, Predicted, row_prior, STAND_IN
import torch
from torch import Tensor
from world_frames import world_frame

from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig
from depth_anything_ros.evaluation.frames import Frame, load_frames
from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.glance import sample
from depth_anything_ros.metric_depth.refinement import metric_depth
from depth_anything_ros.metric_depth.scale import ScaleEstimator, State
from depth_anything_ros.metric_depth.uncertainty import Q90
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.network.spec import ModelSpec
from depth_anything_ros.pipeline import DepthPipeline

CONFIG = Config()
RINGS: tuple[int | str, ...] = (1, 4, 16, 'all')
PLACES = ('inside', 'above', 'below')
DEPTH_BINS_M = (0, 5, 10, 20, 40, 80)
DISTANCE_BINS_PX = (0, 4, 16, 64, 256, 2000)
_TUNING_SEEDS = range(920_000, 920_012)
_TEST_SEEDS = (*range(930_000, 930_012), *range(940_000, 940_012))
TUNING = {
    'kitti': ('000001',),
    'nuscenes': ('CAM_FRONT', 'CAM_FRONT_LEFT', 'CAM_FRONT_RIGHT'),
}
_STEP_PX = 6  # every n-th pixel of a true depth image
_COLUMNS_PX = 32  # the outline of the rings is taken over so many columns
_MARGIN = 0.01  # of the image height: a pixel so close to the outline is inside
_MIN_POINTS = 50


@dataclass(frozen=True, eq=False)
class Case(Predicted):
    """A frame, a prediction, anchors for some rings of it, and true depths.

    Attributes:
        anchors: rings -> anchors.
        test: true depths at pixels.
    """

    anchors: dict[int | str, Anchors]
    test: Anchors


Predict = Callable[[Frame, NDArray[np.float32] | None], tuple[Tensor, ModelSpec]]
Groups = dict[tuple[str, int | str, str], list[float]]  # data, rings, kind of pixel -> per frame


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--checkpoint', help='folder, .pth or "bundled"; default: stand-ins')
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--tuning', action='store_true', help='on the frames that were tuned on')
    parser.add_argument('--world-frames', type=int, default=len(_TEST_SEEDS))
    parser.add_argument('--json', action='store_true', help='end with one JSON object')
    arguments = parser.parse_args()
    predict = _network(arguments.checkpoint) if arguments.checkpoint else _stand_in
    groups: Groups = {}
    refused = 0
    for case in _cases(arguments.data, arguments.tuning, arguments.world_frames, predict):
        for rings, anchors in case.anchors.items():
            found = covered(case, anchors)
            refused += not found
            for kind, share in found.items():
                groups.setdefault((case.data, rings, kind), []).append(share)
        print(f'{case.data} {case.frame.name} done', file=sys.stderr)
    print_table(groups)
    print(f'\n{refused} fits refused')
    if arguments.json:
        rows = [
            {'data': data, 'rings': rings, 'kind': kind, 'covered': float(np.mean(shares))}
            | {'frames': len(shares)}
            for (data, rings, kind), shares in groups.items()
        ]
        print(json.dumps({'rows': rows, 'refused': refused}))


def _network(checkpoint: str) -> Predict:
    predictor = load_predictor(ModelConfig(checkpoint=checkpoint), RuntimeConfig())
    pipeline = DepthPipeline(predictor, CONFIG)

    def predict(frame: Frame, depth_m: NDArray[np.float32] | None) -> tuple[Tensor, ModelSpec]:
        return pipeline.predict(frame.image_rgb, frame.camera).values.cpu(), predictor.spec

    return predict


def _stand_in(frame: Frame, depth_m: NDArray[np.float32] | None) -> tuple[Tensor, ModelSpec]:
    if depth_m is None:
        return row_prior(frame.camera), STAND_IN
    return distorted(depth_m, seed=int(frame.name.removeprefix('world'))), STAND_IN


def _cases(data: Path, tuning: bool, world_frames: int, predict: Predict) -> Iterator[Case]:
    for seed in (_TUNING_SEEDS if tuning else _TEST_SEEDS)[:world_frames]:
        world = world_frame(seed)
        yield from world_cases(world.frame, world.depth_m, *predict(world.frame, world.depth_m))
    for name in ('kitti', 'nuscenes'):
        if not (data / name).is_dir():
            print(f'{data / name} is not there: skipped', file=sys.stderr)
            continue
        for frame in load_frames(data / name):
            if (frame.name in TUNING[name]) == tuning:
                yield real_case(name, frame, *predict(frame, None))


def world_cases(
    frame: Frame, depth_m: NDArray[np.float32], prediction: Tensor, spec: ModelSpec
) -> Iterator[Case]:
    """Set the whole lidar and its middle against the true depth of all pixels."""
    height, width = depth_m.shape
    v, u = (x.ravel() for x in np.mgrid[0:height:_STEP_PX, 0:width:_STEP_PX])
    z = depth_m[v, u]
    test = Anchors(u.astype(np.float32), v.astype(np.float32), z, np.full_like(u, -1))
    test = test[z < CONFIG.depth.max]
    rings = shown_rings(frame, CONFIG.scale)
    fifth = len(rings) // 5
    for shown in (rings, rings[fifth:-fifth]):
        yield Case('world', frame, prediction, spec, _thinned(frame, shown), test)


def real_case(data: str, frame: Frame, prediction: Tensor, spec: ModelSpec) -> Case:
    """Keep the highest and lowest rings, and every fourth between, for the test."""
    rings = shown_rings(frame, CONFIG.scale)
    fifth = len(rings) // 5
    middle = rings[fifth:-fifth]
    kept = np.setdiff1d(middle, middle[2::4])
    everything = project_rings(frame, rings, CONFIG.scale)
    test = everything[~np.isin(everything.ring, kept)]
    return Case(data, frame, prediction, spec, _thinned(frame, kept), test)


def _thinned(frame: Frame, rings: NDArray[np.int64]) -> dict[int | str, Anchors]:
    """Return anchors of 1, 4, 16 and all of the rings, as far as there are so many."""
    chosen: dict[int | str, NDArray[np.int64]] = {1: levelest_ring(frame, rings)}
    for count in (4, 16):
        if count <= len(rings):
            chosen[count] = rings[np.linspace(0, len(rings) - 1, count).round().astype(int)]
    chosen['all'] = rings
    return {count: project_rings(frame, some, CONFIG.scale) for count, some in chosen.items()}


def covered(case: Case, anchors: Anchors) -> dict[str, float]:
    """Return kind of pixel -> share within the 90 % interval; nothing where the fit is refused."""
    camera, test = case.frame.camera, case.test
    fit = ScaleEstimator(CONFIG.scale, case.spec).update(case.prediction, anchors, camera, 0)
    if fit.state is not State.FITTED:
        print(f'{case.frame.name}: {fit.state.value}: {fit.reason}', file=sys.stderr)
        return {}
    metric = metric_depth(case.prediction, fit, anchors, CONFIG)
    depth_m = sample(metric.depth_m, test).numpy()
    sigma = sample(metric.stddev_m, test).numpy() / depth_m
    error = np.abs(np.log(depth_m / test.z_m))
    known = np.isfinite(error)
    inside = error <= Q90 * sigma
    test_uv = torch.from_numpy(np.stack([test.u, test.v], axis=1))
    distance_px = nearest(anchors, test_uv)[0][:, 0].numpy()
    kinds = {'overall': np.ones_like(known)} | _places(anchors, test, camera.height)
    kinds |= _bins('m', DEPTH_BINS_M, test.z_m) | _bins('px', DISTANCE_BINS_PX, distance_px)
    return {
        kind: float(inside[known & chosen].mean())
        for kind, chosen in kinds.items()
        if (known & chosen).sum() >= _MIN_POINTS
    }


def _places(anchors: Anchors, test: Anchors, height: int) -> dict[str, NDArray[np.bool_]]:
    """Tell where test points are against the outline of the anchors."""
    bins = int(test.u.max()) // _COLUMNS_PX + 1
    where = np.clip((anchors.u / _COLUMNS_PX).astype(int), 0, bins - 1)
    top, bottom = np.full(bins, np.inf), np.full(bins, -np.inf)
    np.minimum.at(top, where, anchors.v)
    np.maximum.at(bottom, where, anchors.v)
    here = (test.u / _COLUMNS_PX).astype(int)
    margin_px = _MARGIN * height
    above = test.v < top[here] - margin_px
    below = test.v > bottom[here] + margin_px
    beside = above & below  # no anchor in these columns
    return {
        'inside': ~(above | below),
        'above': above & ~beside,
        'below': below & ~beside,
    }


def _bins(
    unit: str, edges: tuple[int, ...], where: NDArray[np.float32]
) -> dict[str, NDArray[np.bool_]]:
    return {
        f'{low}-{high} {unit}': (where >= low) & (where < high)
        for low, high in zip(edges, edges[1:])
    }


def print_table(groups: Groups) -> None:
    """Print a row for each data set and number of rings, and the mean over all frames."""
    kinds = ['overall', *PLACES]
    for unit, edges in (('m', DEPTH_BINS_M), ('px', DISTANCE_BINS_PX)):
        kinds += [f'{low}-{high} {unit}' for low, high in zip(edges, edges[1:])]
    print('| data | rings | frames | ' + ' | '.join(kinds) + ' |')
    print('|---' * (len(kinds) + 3) + '|')
    names = list(dict.fromkeys(data for data, _, _ in groups))
    for data in (*names, 'all'):
        for rings in RINGS:
            among = names if data == 'all' else [data]
            shares = {
                kind: [x for name in among for x in groups.get((name, rings, kind), [])]
                for kind in kinds
            }
            cells = ' | '.join(f'{np.mean(s):.3f}' if s else '' for s in shares.values())
            print(f'| {data} | {rings} | {len(shares["overall"])} | {cells} |')


if __name__ == '__main__':
    main()
