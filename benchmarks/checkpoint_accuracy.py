# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How good a checkpoint of relative inverse depth is, in the synthetic world and on real frames.

World: pictures of scenes that were never trained on, unweighted affine least squares per image in
inverse depth, sky excluded, 0.3 to 80 m, scores in depth space; a constant prediction beside it.

Real frames: the same fit to 8 lidar rings of each frame, scored on all its other rings; two
baselines without a network, fitted to the same points: the median depth, and inverse depth affine
in the image row. Test points are those that the camera sees past the others in the full scan.

`python benchmarks/checkpoint_accuracy.py --checkpoint DIR --frames ../shared/data --json`
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import json
from pathlib import Path
import sys
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ModelConfig, RuntimeConfig, ScaleConfig
from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.evaluation.frames import Frame, load_frames
from depth_anything_ros.evaluation.metrics import abs_rel, align_affine, delta
from depth_anything_ros.metric_depth.anchors import Anchors, project_points
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.network.preprocessing import Preprocessor
from depth_anything_ros.training.scoring import FAR_M, NEAR_M, score_world
from depth_anything_ros.training.world_data import HELD_OUT_SEED, open_world, render_world

RINGS = 8
_MIN_POINTS_PER_RING = 20

Image = NDArray[np.uint8]
Prediction = NDArray[np.float32]
Predict = Callable[[Image], Prediction]


def node_prediction(model: ModelConfig, precision: str) -> Predict:
    """Return a function from an HxWx3 uint8 RGB image to HxW, through the node's own steps."""
    predictor = load_predictor(model, RuntimeConfig(device='cpu', precision=precision))

    def predict(image_rgb: Image) -> Prediction:
        height, width, _ = image_rgb.shape
        camera = Camera(width, height, np.diag([width, width, 1.0]))
        preprocess = Preprocessor(camera, predictor.spec, 0, predictor.device)
        small = predictor(preprocess(np.array(image_rgb)))
        large = torch.nn.functional.interpolate(
            small[None, None], (height, width), mode='bilinear', align_corners=False)
        result: Prediction = large[0, 0].numpy()
        return result

    return predict


def rings_apart(frame: Frame) -> tuple[Anchors, Anchors]:
    """Split a sweep into RINGS rings to fit and the others to score, before anything else.

    The occlusion test of the fitted points sees only their own rings.
    """
    config = ScaleConfig()
    points = frame.points
    assert points.ring is not None
    seen = project_points(points, frame.T_camera_sensor, frame.camera, config)
    numbers, counts = np.unique(seen.ring, return_counts=True)
    shown = numbers[counts >= _MIN_POINTS_PER_RING]
    chosen = shown[np.linspace(0, len(shown) - 1, RINGS).round().astype(int)]
    kept = np.isin(points.ring, chosen)
    fitted = type(points)(points.xyz_m[kept], points.stamp_ns, points.frame_id,
                          ring=points.ring[kept])
    anchors = project_points(fitted, frame.T_camera_sensor, frame.camera, config)
    test = seen[~np.isin(seen.ring, chosen)]
    return _in_range(anchors), _in_range(test)


def _in_range(points: Anchors) -> Anchors:
    return points[(points.z_m >= NEAR_M) & (points.z_m <= FAR_M)]


def score_frame(frame: Frame, predict: Predict) -> dict[str, tuple[float, float]]:
    """AbsRel and delta1 of the network and of both baselines on one frame."""
    anchors, test = rings_apart(frame)
    prediction = predict(frame.image_rgb)

    def sampled(points: Anchors) -> NDArray[np.float64]:
        rows, columns = (np.rint(x).astype(np.int64) for x in (points.v, points.u))
        values: NDArray[np.float64] = prediction[rows, columns].astype(np.float64)
        return values

    true_m = test.z_m.astype(np.float64)
    inverse = 1 / anchors.z_m.astype(np.float64)

    def fitted(at_anchors: NDArray[Any], at_test: NDArray[Any]) -> tuple[float, float]:
        scale, shift = align_affine(at_anchors, inverse)
        depth_m = 1 / np.clip(scale * at_test + shift, 1 / FAR_M, 1 / NEAR_M)
        return abs_rel(depth_m, true_m), delta(depth_m, true_m)

    median_m = np.full_like(true_m, float(np.median(anchors.z_m)))
    return {
        'network': fitted(sampled(anchors), sampled(test)),
        'image_row': fitted(anchors.v, test.v),
        'median_depth': (abs_rel(median_m, true_m), delta(median_m, true_m)),
    }


def score_real(folder: Path, predict: Predict) -> dict[str, dict[str, Any]]:
    """Score each data set below a folder (one subfolder each); means over its frames."""
    results: dict[str, dict[str, Any]] = {}
    for data_set in sorted(path for path in folder.iterdir() if path.is_dir()):
        frames = {frame.name: score_frame(frame, predict) for frame in load_frames(data_set)}
        print(f'\n{data_set.name}: AbsRel / delta1 on held-out rings, fitted to {RINGS} rings')
        names = list(next(iter(frames.values())))
        print(f'{"":18}' + ''.join(f'{name:>18}' for name in names))
        mean = {name: np.mean([scores[name] for scores in frames.values()], axis=0)
                for name in names}
        for frame_name, scores in [*frames.items(), ('mean', mean)]:
            print(f'{frame_name:18}' + ''.join(
                f'{scores[name][0]:11.3f} {scores[name][1]:6.3f}' for name in names))
        results[data_set.name] = {
            name: {'abs_rel': round(float(mean[name][0]), 4),
                   'delta1': round(float(mean[name][1]), 4)} for name in names}
    return results


def score_synthetic(predict: Predict, count: int, rendered: Path | None) -> dict[str, float]:
    """Score on held-out world pictures, rendered now where no folder of them is given."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = rendered or Path(temporary)
        if rendered is None:
            render_world(folder, count, HELD_OUT_SEED, 224, 168)
        scores = score_world(predict, open_world(folder), count)
    print(f'world, {count} held-out pictures: AbsRel {scores["abs_rel"]:.3f} delta1 '
          f'{scores["delta1"]:.3f}; constant {scores["constant_abs_rel"]:.3f} '
          f'{scores["constant_delta1"]:.3f}; ratio '
          f'{scores["abs_rel"] / scores["constant_abs_rel"]:.3f}')
    return scores


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--checkpoint', default='bundled', help='as model.checkpoint of the node')
    parser.add_argument('--precision', default='float32', help='as runtime.precision of the node')
    parser.add_argument('--input-size', type=int, default=0, help='as model.input_size')
    parser.add_argument('--count', type=int, default=500, help='held-out world pictures; 0: none')
    parser.add_argument('--world', type=Path, help='folder of rendered held-out pictures')
    parser.add_argument('--frames', type=Path, help='folder with one subfolder per real data set')
    parser.add_argument('--json', action='store_true', help='end with one JSON object')
    args = parser.parse_args()
    model = ModelConfig(checkpoint=args.checkpoint, input_size=args.input_size)
    results: dict[str, Any] = {
        'checkpoint': args.checkpoint, 'precision': args.precision, 'input_size': args.input_size
    }
    try:
        predict = node_prediction(model, args.precision)
        if args.count:
            results['world'] = score_synthetic(predict, args.count, args.world)
        if args.frames:
            results['real'] = score_real(args.frames, predict)
    except DepthAnythingError as error:
        print(f'checkpoint_accuracy: {error}', file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(results))
    return 0


if __name__ == '__main__':
    sys.exit(main())
