# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How good are metres from a known camera height alone, on world streets without lidar?

    python benchmarks/camera_height.py --checkpoint bundled

Prints, for pitch errors of -0.5, 0 and 0.5 degrees, the median of |D / D_true - 1| over ground
within 15 m, for each street and as mean over streets.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig
from depth_anything_ros.metric_depth.ground import GroundPlane
from depth_anything_ros.metric_depth.scale import State
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.pipeline import DepthPipeline, Outputs
from depth_anything_ros.world.render import render
from depth_anything_ros.world.scene import random_scene
from depth_anything_ros.world.trajectory import camera_path

FIRST_SEED = 30_000_000  # training draws its scenes from smaller seeds
CAMERA = Camera.from_calibration(640, 480, [[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])
NEAR_M = 15.0
FLAT = 0.03  # a pixel is ground where the true depth is the plane's to this share


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--checkpoint', default='bundled')
    parser.add_argument('--streets', type=int, default=12)
    options = parser.parse_args()
    predictor = load_predictor(ModelConfig(checkpoint=options.checkpoint), RuntimeConfig())
    u, v = np.meshgrid(np.arange(640.0), np.arange(480.0))
    errors: dict[float, list[float]] = {-0.5: [], 0.0: [], 0.5: []}
    refused = 0
    for seed in range(FIRST_SEED, FIRST_SEED + options.streets):
        scene = random_scene(seed, 'street')
        T_world_camera = camera_path(scene, seed)(4.0)
        picture = render(scene, T_world_camera, CAMERA.K, CAMERA.width, CAMERA.height)
        height_m, pitch_rad = T_world_camera[2, 3], np.arcsin(-T_world_camera[2, 2])
        truth = GroundPlane(tuple(-T_world_camera[2, :3]), height_m)
        plane_m = 1 / truth.inverse_depth(CAMERA, u, v)
        ground = np.abs(plane_m / picture.depth_m - 1) < FLAT
        ground &= picture.depth_m < NEAR_M
        for error_deg, found in errors.items():
            config = Config()
            config = replace(config, scale=replace(config.scale, method='camera_height'))
            frame = DepthPipeline(predictor, config).process(
                picture.image_rgb,
                CAMERA,
                ground=GroundPlane.from_pitch(height_m, pitch_rad + np.radians(error_deg)),
                outputs=Outputs(points=False),
            )
            if frame.fit.state is not State.FITTED or frame.depth is None:
                refused += 1
                continue
            found.append(float(np.nanmedian(np.abs(frame.depth / picture.depth_m - 1)[ground])))
    for error_deg, found in errors.items():
        listed = ' '.join(f'{error:.3f}' for error in found)
        print(f'pitch off by {error_deg:+.1f} deg: mean {np.mean(found):.3f} of {listed}')
    print(f'{refused} of {3 * options.streets} refused')


if __name__ == '__main__':
    main()
