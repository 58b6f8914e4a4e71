# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A small robot to which a network is adapted, as docs/adapt.md has it: its drive, bag and student.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
import math
from pathlib import Path

import numpy as np
import recorded_drive as robot
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig, ScaleConfig
from depth_anything_ros.evaluation.demo_score import FrameScore, score
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.pipeline import DepthPipeline
from depth_anything_ros.tools.label import main as label
from depth_anything_ros.training.config import load_config
from depth_anything_ros.training.packing import main as pack
from depth_anything_ros.training.train import train
from depth_anything_ros.world.lidar import spinning_lidar
from depth_anything_ros.world.render import render
from depth_anything_ros.world.scene import random_scene
from depth_anything_ros.world.trajectory import camera_path

STREETS, EACH, APART_S = 15, 10, 3.0
LEARNT = 0.6  # share of the streets, the first ones; the others are held out
# A night camera, 96 degrees across, grey and noisy, with a seventh of the light: as no picture that
# the network was trained on.
CAMERA = Camera.from_calibration(168, 126, [[75.0, 0, 83.5], [0, 75.0, 62.5], [0, 0, 1]])
NIGHT = (0.15, 0.02, 0.03)  # gain, offset and noise of grey values from 0 to 1
ELEVATION = math.radians(-40), math.radians(30)  # of the lidar's 16 rings
STEPS = 60
SETTINGS = """
init: bundled
data: [{folder}/train]
held_out: {folder}/held_out
out: {folder}/run
seed: {seed}
network: {{input_size: 98}}
encoder_lr: 0.1
loss: {{coarse: 0, semantic: 0, gradient: 0, relative: 4, unlabelled: 0.2}}
student: {{pseudo: [{folder}/pseudo], confidence: 0.8, ratio: 1, strong: false, cutmix: 0}}
phases: [{{steps: {steps}, batch_size: 4, sizes: [[98, 126]], lr_from: 1.5e-3, lr_to: 0.0,
          colours: 0.0}}]
ema: 0.9
bf16: false
workers: 0
eval_every: {steps}
eval_count: 8
"""


@dataclass(frozen=True)
class Moment:
    """What the robot saw at one instant, and what is true."""

    stamp_ns: int
    image_rgb: np.ndarray
    points: SensorPoints
    depth_m: np.ndarray


def drive(seed: int) -> list[Moment]:
    """Drive through one street after another; none is seen twice.

    Args:
        seed: of the first street and of all noise; STREETS seeds are taken.
    """
    moments = []
    gain, offset, noise = NIGHT
    for street in range(STREETS):
        scene = random_scene(seed + street, 'street')
        path = camera_path(scene, seed + street)
        for i in range(EACH):
            number = len(moments)
            pose = path(4 + APART_S * i)
            seen = render(scene, pose, CAMERA.K, CAMERA.width, CAMERA.height)
            rng = np.random.default_rng([seed, number])
            grey = seen.image_rgb.mean(axis=2, keepdims=True) / 255
            image = gain * grey + offset + rng.normal(0, noise, seen.image_rgb.shape)
            scan = spinning_lidar(scene, pose @ robot.T_CAMERA_LIDAR, 16, math.radians(1),
                                  ELEVATION, noise_m=0.02, seed=seed + number)
            stamp_ns = robot.START_NS + number * robot.SECOND
            points = SensorPoints(scan.points_lidar, stamp_ns, 'lidar',
                                  ring=scan.ring.astype(np.int64))
            moments.append(Moment(stamp_ns, (image.clip(0, 1) * 255).astype(np.uint8), points,
                                  seen.depth_m))
    return moments


def held_out(moments: list[Moment]) -> list[Moment]:
    """Return the moments in streets that nothing is learnt from."""
    return moments[round(LEARNT * len(moments)):]


def record(path: Path, moments: list[Moment], camera: Camera = CAMERA) -> None:
    """Write the bag of a drive."""
    messages = [('/tf_static', robot.START_NS, robot.transforms_message(
        (0, 'camera', 'lidar', robot.T_CAMERA_LIDAR)))]
    for moment in moments:
        at = moment.stamp_ns
        messages += [('/front/image_raw', at, robot.image_message(moment.image_rgb, at)),
                     ('/front/camera_info', at, robot.info_message(at, camera)),
                     ('/lidar/points', at, robot.cloud_message(moment.points, at))]
    robot.write_bag(path, messages)


def adapt(folder: Path, moments: list[Moment], seed: int = 0, steps: int = STEPS) -> None:
    """Do in a folder what docs/adapt.md says: bag, shards, labels, student in run/checkpoint."""
    record(folder / 'bag', moments)
    for name, share in (('train', f'0:{LEARNT}'), ('held_out', f'{LEARNT}:1')):
        assert pack([str(folder / 'bag'), str(folder / name), '--share', share]) == 0
    (folder / 'adapt.yaml').write_text(SETTINGS.format(folder=folder, seed=seed, steps=steps))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert label([str(folder / 'train'), str(folder / 'pseudo'), '--teacher', 'bundled',
                  '--device', 'cpu']) == 0
    train(load_config(folder / 'adapt.yaml'))
    torch.set_num_threads(threads)


def node_scores(checkpoint: str, moments: list[Moment]) -> dict[bool, list[FrameScore]]:
    """Score what the node makes of each moment, taken alone, against the truth of the whole image.

    A pixel without metres counts as an error of 1, as a depth of 0 would.

    Returns:
        False -> by one scale and shift an image (`scale.refine: false`), where the network's own
        share shows; True -> of the node as it comes, whose lidar mends the rest.
    """
    network = load_predictor(ModelConfig(checkpoint=checkpoint),
                             RuntimeConfig(device='cpu', precision='float32', backend='torch'))
    found: dict[bool, list[FrameScore]] = {False: [], True: []}
    for moment in moments:
        for refine, scores in found.items():
            pipeline = DepthPipeline(network, Config(scale=ScaleConfig(refine=refine)))
            if not refine:
                prediction = pipeline.predict(moment.image_rgb, CAMERA)
            frame = pipeline.measure(prediction, moment.points, robot.T_CAMERA_LIDAR,
                                     stamp_ns=moment.stamp_ns)
            depth_m = np.full_like(moment.depth_m, np.nan) if frame.depth is None else frame.depth
            there = score(depth_m, moment.depth_m).coverage
            filled = score(np.nan_to_num(depth_m), moment.depth_m)
            scores.append(replace(filled, coverage=there))
    return found
