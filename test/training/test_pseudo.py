# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A student that learns from stored labels, as from the teacher that made them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.tools.label import main as label
from depth_anything_ros.training import student as students
from depth_anything_ros.training.augment import random_crop
from depth_anything_ros.training.config import StudentConfig
from depth_anything_ros.training.loading import open_pseudo
from depth_anything_ros.training.losses import cutmix_error, without_largest
from depth_anything_ros.training.network import build_network, Trainee
from depth_anything_ros.training.student import Unlabelled
from depth_anything_ros.training.train import train
from depth_anything_ros.training.world_data import render_world
from helpers import TINY, tiny_run

NAN = float('nan')


def row(*values: float) -> torch.Tensor:
    return torch.tensor([[values]])


def test_what_is_not_known_takes_no_part_nor_do_its_gradients() -> None:
    # Known inside: prediction 0 1 5 against 0 1 2, as without the unknown column; see
    # test_cutmix_loss_by_hand. Outside: 3 3 7 against 2 4 6.
    prediction = row(0.0, 1, 50, 5, 3, 3, 7, -8).requires_grad_()
    a, b = row(0, 1, NAN, 2, 9, 9, 9, 9), row(9, 9, 9, 9, 2, 4, 6, NAN)
    inside = torch.tensor([[[True] * 4 + [False] * 4]])
    error = cutmix_error(prediction, a, b, inside)
    expected = row(0.9, 0, NAN, 0.9, 1.5, 0, 1.5, NAN)
    torch.testing.assert_close(error, expected, equal_nan=True, rtol=1e-5, atol=1e-6)
    loss, kept = without_largest(error, 1 / 3)  # of six that are known
    assert kept.tolist() == [[[True, True, False, True, False, True, False, False]]]
    assert float(loss.detach()) == pytest.approx(1.8 / 4, rel=1e-5)
    loss.backward()
    assert prediction.grad.isfinite().all()
    assert prediction.grad[0, 0, [2, 7]].tolist() == [0, 0] and prediction.grad.any()
    loss, kept = without_largest(row(NAN, NAN), 0.1)
    assert float(loss) == 0 and not kept.any()


@pytest.fixture(scope='module')
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('world')
    render_world(folder, 8, 0, 56, 42)
    return folder


@pytest.fixture(scope='module')
def labels(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('labels')
    words = [world, out, '--teacher', 'bundled', '--device', 'cpu', '--input-size', 42, '--jpeg', 0,
             '--per-shard', 3, '--most-disagreement', 99, '--most-sky', 1, '--least-spread', 0]
    assert label([str(word) for word in words]) == 0
    return out


def test_stored_labels_are_what_the_teacher_says_of_the_same_picture(labels: Path) -> None:
    torch.manual_seed(0)
    trainee = Trainee(build_network(TINY))
    samples = open_pseudo([labels], 0)
    assert len(samples) == 8
    crops = [random_crop(samples[i], (42, 56), torch.Generator(), centre=True) for i in range(4)]
    image = torch.stack([crop[0] for crop in crops]).float() / 255
    stored = torch.stack([crop[1] for crop in crops])
    common = {'labelled': False, 'gradient': True, 'ignored': 0.1, 'cutmix': 1.0}
    ways = (StudentConfig('bundled', (labels,), **common),
            StudentConfig(pseudo=(labels,), **common))
    asked, read = (Unlabelled(config, 'cpu')(
        trainee, image, torch.Generator().manual_seed(1), None if config.teacher else stored)
        for config in ways)
    assert asked.keys() == read.keys() == {'unlabelled', 'pseudo_gradient'}
    for name, term in asked.items():
        assert float(read[name].detach()) == pytest.approx(float(term.detach()), rel=0.01)


@pytest.mark.parametrize('labelled', [True, False])
def test_no_teacher_runs_where_labels_are_stored(
    world: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labelled: bool
) -> None:
    monkeypatch.delattr(students, 'Teacher')
    student = StudentConfig(pseudo=(labels,), confidence=0.5, gradient=True, ignored=0.1,
                            labelled=labelled)
    train(tiny_run(world, tmp_path / 'run', student=student, eval_every=3))
    train(tiny_run(world, tmp_path / 'run', student=student, eval_every=3))  # goes on: it is done
    terms = json.loads((tmp_path / 'run/log.jsonl').read_text().splitlines()[-1])
    assert {'unlabelled', 'pseudo_gradient'} <= set(terms) and ('ssi' in terms) == labelled
    assert 0 < terms['unlabelled'] < 10
    assert (tmp_path / 'run/checkpoint/model.safetensors').is_file()


def test_shards_of_true_depth_are_no_pseudo_labels(world: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match='holds no labels of a teacher: make them by label'):
        train(tiny_run(world, tmp_path / 'run', student=StudentConfig(pseudo=(world,))))
