# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""docs/adapt.md from end to end: a bag, shards, labels, a student, its scores, and the node."""

from __future__ import annotations

import json
from pathlib import Path

from adapted_robot import adapt, drive, EACH, held_out, Moment, node_scores, STREETS
import numpy as np
import pytest
import torch

from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.evaluation.paired import paired_difference
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.tools.evaluate import main as evaluate
from depth_anything_ros.training.augment import to_network
from depth_anything_ros.training.config import load_config
from depth_anything_ros.training.pretrained import start_network
from depth_anything_ros.training.state import read_weights

pytestmark = pytest.mark.timeout(400)  # a minute, but on a machine that is busy
WORLD = 61_000_000  # the settings were chosen in others, see benchmarks/adapt.py


@pytest.fixture(scope='module')
def moments() -> list[Moment]:
    return drive(WORLD)


@pytest.fixture(scope='module')
def folder(moments: list[Moment], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do what docs/adapt.md says; return where everything then lies."""
    folder = tmp_path_factory.mktemp('adapt')
    adapt(folder, moments)
    return folder


@pytest.mark.parametrize('align', ['node', 'line'])
def test_evaluate_calls_the_student_better_on_held_out_minutes(
    folder: Path, capsys: pytest.CaptureFixture[str], align: str
) -> None:
    """As the node comes, which is what evaluate does by itself, and by the network's own share."""
    student = str(folder / 'run/checkpoint')
    asked = [] if align == 'node' else ['--align', align]
    assert evaluate(['--dataset', 'own', '--root', str(folder / 'held_out'), '--checkpoint',
                     'bundled', '--against', student, '--device', 'cpu', '--json',
                     '--output', str(folder / 'scores'), *asked]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    assert (found['images'], found['align']) == (STREETS * EACH * 0.4, align)
    change = found['against']['abs_rel_difference']
    assert found['against']['coverage'] > found['coverage'] and change['mean'] < 0
    if align == 'node':  # by one line errors of the images differ more, and not every seed is sure
        assert change['high'] < 0
        assert any(line.startswith(f'{student} is better: AbsRel ') for line in lines)


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


def test_the_nodes_metres_are_better_too_against_the_truth_of_the_whole_image(
    folder: Path, moments: list[Moment]
) -> None:
    """What evaluate found by lidar pixels, pixels without a label bear out."""
    every_other = held_out(moments)[::2]
    before, after = (node_scores(checkpoint, every_other)
                     for checkpoint in ('bundled', str(folder / 'run/checkpoint')))
    for refine in (True, False):  # as the node comes, and by one scale and shift an image
        change = paired_difference(*([frame.abs_rel for frame in frames[refine]]
                                     for frames in (before, after)))
        assert change.mean < 0
