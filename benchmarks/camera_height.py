# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How good are metres from a known camera height alone, in the world without lidar?

    python benchmarks/camera_height.py --checkpoint bundled --kind street

For pitch errors of -1 to 1 degree: the median of |D / D_true - 1| over ground within 15 m, for each
scene and as mean over scenes, the standard deviation that was stated, and how much of that ground
and of the whole image lies within the 90 % interval, |log(D / D_true)| <= 1.645 sigma.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig
from depth_anything_ros.metric_depth.ground import GroundPlane
from depth_anything_ros.metric_depth.scale import State
from depth_anything_ros.metric_depth.uncertainty import Q90
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.pipeline import DepthFrame, DepthPipeline, Outputs
from depth_anything_ros.world.render import render
from depth_anything_ros.world.scene import random_scene
from depth_anything_ros.world.trajectory import camera_path

FIRST_SEED = 30_000_000  # training draws its scenes from smaller seeds
CAMERA = Camera.from_calibration(640, 480, [[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])
NEAR_M = 15.0
FLAT = 0.03  # a pixel is ground where the true depth is the plane's to this share
PITCH_ERRORS_DEG = (-1.0, -0.5, 0.0, 0.5, 1.0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--checkpoint', default='bundled')
    parser.add_argument('--kind', default='street', choices=('street', 'room', 'corridor'))
    parser.add_argument('--scenes', type=int, default=12)
    parser.add_argument('--first-seed', type=int, default=FIRST_SEED)
    options = parser.parse_args()
    predictor = load_predictor(ModelConfig(checkpoint=options.checkpoint), RuntimeConfig())
    config = Config()
    config = replace(config, scale=replace(config.scale, method='camera_height'))
    u, v = np.meshgrid(np.arange(640.0), np.arange(480.0))
    found: dict[float, list[list[float]]] = {error: [] for error in PITCH_ERRORS_DEG}
    refused = 0
    for seed in range(options.first_seed, options.first_seed + options.scenes):
        scene = random_scene(seed, options.kind)
        T_world_camera = camera_path(scene, seed)(4.0)
        picture = render(scene, T_world_camera, CAMERA.K, CAMERA.width, CAMERA.height)
        height_m, pitch_rad = T_world_camera[2, 3], np.arcsin(-T_world_camera[2, 2])
        truth = GroundPlane(tuple(-T_world_camera[2, :3]), height_m)
        plane_m = 1 / truth.inverse_depth(CAMERA, u, v)
        ground = np.abs(plane_m / picture.depth_m - 1) < FLAT
        ground &= picture.depth_m < NEAR_M
        prediction = DepthPipeline(predictor, config).predict(picture.image_rgb, CAMERA)
        for error_deg, scores in found.items():
            frame = DepthPipeline(predictor, config).measure(
                prediction,
                ground=GroundPlane.from_pitch(height_m, pitch_rad + np.radians(error_deg)),
                outputs=Outputs(points=False, stddev=True),
            )
            if frame.fit.state is not State.FITTED or frame.depth is None:
                refused += 1
                continue
            scores.append(_scores(frame, picture.depth_m, ground))
    for error_deg, scores in found.items():
        error, sigma, on_ground, everywhere = np.mean(scores, axis=0)
        listed = ' '.join(f'{one[0]:.3f}' for one in scores)
        print(
            f'pitch off by {error_deg:+.1f} deg: error {error:.3f}, sigma {sigma:.3f}, 90 % '
            f'interval covers {on_ground:.2f} of the ground, {everywhere:.2f} of all; {listed}'
        )
    print(f'{refused} of {len(PITCH_ERRORS_DEG) * options.scenes} refused')


def _scores(
    frame: DepthFrame, depth_m: NDArray[np.float32], ground: NDArray[np.bool_]
) -> list[float]:
    """Return median error and sigma on the ground, coverage there and of all that was said."""
    assert frame.depth is not None and frame.stddev_m is not None
    with np.errstate(invalid='ignore', divide='ignore'):
        sigma = frame.stddev_m / frame.depth
        covered = np.abs(np.log(frame.depth / depth_m)) <= Q90 * sigma
    known = np.isfinite(sigma) & np.isfinite(depth_m)
    ground = ground & known
    error = np.abs(frame.depth / depth_m - 1)
    return [
        float(np.median(error[ground])),
        float(np.median(sigma[ground])),
        float(covered[ground].mean()),
        float(covered[known].mean()),
    ]


if __name__ == '__main__':
    main()
