# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""docs/adapt.md from end to end: a bag, shards, a student, its scores, and the node's pipeline."""

from __future__ import annotations

from dataclasses import dataclass
import json
import math
from pathlib import Path

import numpy as np
import pytest
import recorded_drive as robot
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig, ScaleConfig
from depth_anything_ros.evaluation.demo_score import score
from depth_anything_ros.evaluation.paired import paired_difference
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.pipeline import DepthPipeline
from depth_anything_ros.tools.evaluate import main as evaluate
from depth_anything_ros.training.augment import to_network
from depth_anything_ros.training.config import load_config
from depth_anything_ros.training.packing import main as pack
from depth_anything_ros.training.pretrained import start_network
from depth_anything_ros.training.state import read_weights
from depth_anything_ros.training.train import train
from depth_anything_ros.world.lidar import spinning_lidar
from depth_anything_ros.world.render import render
from depth_anything_ros.world.scene import random_scene
from depth_anything_ros.world.trajectory import camera_path

pytestmark = pytest.mark.timeout(400)  # half a minute, but on a machine that is busy
STREETS, EACH, APART_S = 15, 10, 3.0
# A thermal camera, 96 degrees across, noisy, that shows dark what others show bright: as no picture
# that the network was trained on.
CAMERA = Camera.from_calibration(168, 126, [[75.0, 0, 83.5], [0, 75.0, 62.5], [0, 0, 1]])
GAIN, OFFSET, NOISE = -0.7, 0.8, 0.03
SETTINGS = """
init: bundled
data: [{folder}/train]
held_out: {folder}/held_out
out: {folder}/run
network: {{input_size: 98}}
loss: {{coarse: 0, semantic: 0, gradient: 0}}
phases: [{{steps: 60, batch_size: 8, sizes: [[98, 126]], lr_from: 5.0e-4, lr_to: 0.0,
          colours: 0.0}}]
ema: 0.9
bf16: false
workers: 0
eval_every: 60
eval_count: 8
"""


@dataclass(frozen=True)
class Moment:
    """What the robot saw at one instant, and what is true."""

    stamp_ns: int
    image_rgb: np.ndarray
    points: SensorPoints
    depth_m: np.ndarray


def drive() -> list[Moment]:
    """Drive through one street after another; none is seen twice."""
    moments = []
    for street in range(STREETS):
        scene = random_scene(900 + street, 'street')
        path = camera_path(scene, 900 + street)
        for i in range(EACH):
            number = len(moments)
            stamp_ns = robot.START_NS + number * robot.SECOND
            pose = path(4 + APART_S * i)
            seen = render(scene, pose, CAMERA.K, CAMERA.width, CAMERA.height)
            rng = np.random.default_rng(number)
            grey = seen.image_rgb.mean(axis=2, keepdims=True) / 255
            image = GAIN * grey + OFFSET + rng.normal(0, NOISE, seen.image_rgb.shape)
            scan = spinning_lidar(scene, pose @ robot.T_CAMERA_LIDAR, 16, math.radians(1),
                                  (math.radians(-40), math.radians(30)), noise_m=0.02, seed=number)
            points = SensorPoints(scan.points_lidar, stamp_ns, 'lidar',
                                  ring=scan.ring.astype(np.int64))
            moments.append(Moment(stamp_ns, (image.clip(0, 1) * 255).astype(np.uint8), points,
                                  seen.depth_m))
    return moments


def record(path: Path, moments: list[Moment]) -> None:
    messages = [('/tf_static', robot.START_NS, robot.transforms_message(
        (0, 'camera', 'lidar', robot.T_CAMERA_LIDAR)))]
    for moment in moments:
        at = moment.stamp_ns
        messages += [('/front/image_raw', at, robot.image_message(moment.image_rgb, at)),
                     ('/front/camera_info', at, robot.info_message(at, CAMERA)),
                     ('/lidar/points', at, robot.cloud_message(moment.points, at))]
    robot.write_bag(path, messages)


@pytest.fixture(scope='module')
def moments() -> list[Moment]:
    return drive()


@pytest.fixture(scope='module')
def folder(moments: list[Moment], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do what docs/adapt.md says; return where everything then lies."""
    folder = tmp_path_factory.mktemp('adapt')
    record(folder / 'bag', moments)
    for name, share in (('train', '0:0.6'), ('held_out', '0.6:1')):
        assert pack([str(folder / 'bag'), str(folder / name), '--share', share]) == 0
    (folder / 'adapt.yaml').write_text(SETTINGS.format(folder=folder))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(load_config(folder / 'adapt.yaml'))
    torch.set_num_threads(threads)
    return folder


def test_evaluate_scores_both_networks_on_held_out_minutes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = str(folder / 'run/checkpoint')
    assert evaluate(['--dataset', 'own', '--root', str(folder / 'held_out'), '--checkpoint',
                     'bundled', '--against', student, '--device', 'cpu', '--json',
                     '--output', str(folder / 'scores')]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    assert found['images'] == STREETS * EACH * 0.4
    # Which is better here its fit decides, plain least squares, ruled by the nearest points; metres
    # of the node's own fit are below.
    difference = found['against']['abs_rel_difference']
    assert difference['low'] < difference['mean'] < difference['high']
    assert any(line.startswith(f'{student} is ') for line in lines)


def test_the_node_loads_the_student_and_answers_as_the_trained_network(
    folder: Path, moments: list[Moment]
) -> None:
    trained, side = start_network(load_config(folder / 'adapt.yaml'))
    read_weights(folder / 'run', 'ema', trained)
    node = load_predictor(ModelConfig(checkpoint=str(folder / 'run/checkpoint')),
                          RuntimeConfig(device='cpu', precision='float32'))
    assert side == node.spec.input_size == 98
    image = torch.from_numpy(moments[-1].image_rgb[:, :154] / np.float32(255)).permute(2, 0, 1)
    image = image[None]
    with torch.no_grad():
        expected = trained.eval()(to_network(image)).predicted_depth[0]
    answer = node(to_network(image)).float()
    scale = expected.max() / answer.max()  # saving may change the scale, and nothing else
    assert float((scale * answer - expected).abs().max() / expected.max()) < 1e-4


def test_the_students_metres_are_better_on_held_out_minutes_beyond_chance(
    folder: Path, moments: list[Moment]
) -> None:
    held_out = moments[round(0.6 * len(moments)):]
    student = str(folder / 'run/checkpoint')
    # By one scale and shift an image the network's own share shows; then the lidar mends the rest.
    for refine in (False, True):
        before, after = (metric_abs_rel(checkpoint, held_out, refine)
                         for checkpoint in ('bundled', student))
        difference = paired_difference(before, after)
        assert difference.high < 0 if not refine else difference.mean < 0


def metric_abs_rel(checkpoint: str, moments: list[Moment], refine: bool) -> list[float]:
    """Return AbsRel to the truth, in metres, of what the node makes of each moment alone."""
    network = load_predictor(ModelConfig(checkpoint=checkpoint),
                             RuntimeConfig(device='cpu', precision='float32', backend='torch'))
    config = Config(scale=ScaleConfig(refine=refine))
    found = []
    for moment in moments:
        frame = DepthPipeline(network, config).process(
            moment.image_rgb, CAMERA, moment.points, robot.T_CAMERA_LIDAR,
            stamp_ns=moment.stamp_ns)
        assert frame.depth is not None
        found.append(score(frame.depth, moment.depth_m).abs_rel)
    return found
