# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Losses against hand-worked numbers; settings, scoring, resume and errors of the trainer."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
from pathlib import Path
import re
import sys

import cv2
import numpy as np
import pytest
import torch
from transformers import AutoModelForDepthEstimation, Dinov2Config, Dinov2Model
import yaml

from depth_anything_ros.errors import CheckpointError, DatasetError, DepthAnythingError
from depth_anything_ros.training.augment import random_crop
from depth_anything_ros.training.config import load_config, NetworkConfig, Phase, StudentConfig
from depth_anything_ros.training.loading import open_samples
from depth_anything_ros.training.losses import (
    cutmix_error,
    feature_alignment_loss,
    fit_affine,
    gradient_loss,
    normalise,
    relative_loss,
    silog_loss,
    ssi_loss,
    without_largest,
)
from depth_anything_ros.training.network import (
    build_network,
    save_network,
    Trainee,
    within_half,
)
from depth_anything_ros.training.sample import Sample
from depth_anything_ros.training.scoring import score_image, score_world
from depth_anything_ros.training.state import newest_state
from depth_anything_ros.training.train import main, train
from depth_anything_ros.training.world_data import (
    open_world,
    render_world,
    VIEWS_PER_SCENE,
    WorldImages,
)
from helpers import TINY, tiny_run

ROOT = Path(__file__).resolve().parents[2]


def row(*values):
    return torch.tensor([[values]], dtype=torch.float32)


ALL = torch.ones(1, 1, 5, dtype=torch.bool)


def test_normalise_takes_median_over_valid_pixels_only():
    # Valid are 2, 4, 9: median 4, mean |d - 4| = (2 + 0 + 5) / 3 = 7/3. Zeros under the mask must
    # not pull the median to 0.
    valid = torch.tensor([[[True, True, True, False, False]]])
    result = normalise(row(2, 4, 9, 0, 0), valid)[0, 0, :3]
    np.testing.assert_allclose(result, [-6 / 7, 0, 15 / 7], rtol=1e-6)


def test_ssi_loss_by_hand():
    # Prediction 1 3 5 6 10: median 5, mean deviation (4+2+0+1+5)/5 = 2.4.
    # Target 0 1 2 3 4: median 2, mean deviation 6/5.
    p = np.array([-4, -2, 0, 1, 5]) / 2.4
    d = np.array([-2, -1, 0, 1, 2]) / 1.2
    loss = ssi_loss(row(1, 3, 5, 6, 10), row(0, 1, 2, 3, 4), ALL)
    assert float(loss) == pytest.approx(np.abs(p - d).mean(), rel=1e-6)


def test_ssi_loss_knows_no_scale_and_no_shift():
    d = torch.rand(2, 6, 7, generator=torch.Generator().manual_seed(0))
    valid = d > 0.2
    assert float(ssi_loss(7 * d - 3, d, valid)) == pytest.approx(0.0, abs=1e-5)
    assert float(ssi_loss(-d, d, valid)) > 0.5


def test_gradient_loss_by_hand():
    # R = [0 1 0 0 0] - [0 ... ] once both are normalised is worked out on one scale: with the
    # target 0 1 2 3 4 normalised to (-2 -1 0 1 2)/1.2 and the prediction 0 1 2 3 9, median 2 and
    # mean deviation (2+1+0+1+7)/5 = 2.2, R = (-2 -1 0 1 7)/2.2 - (-2 -1 0 1 2)/1.2.
    R = np.array([-2, -1, 0, 1, 7]) / 2.2 - np.array([-2, -1, 0, 1, 2]) / 1.2
    loss = gradient_loss(row(0, 1, 2, 3, 9), row(0, 1, 2, 3, 4), ALL, scales=1)
    # Divided by the pixels, 5, not by their differences, 4.
    assert float(loss) == pytest.approx(np.abs(np.diff(R)).sum() / 5, rel=1e-5)
    two = gradient_loss(row(0, 1, 2, 3, 9), row(0, 1, 2, 3, 4), ALL, scales=2)
    coarse = np.abs(np.diff(R[::2])).sum() / 3
    assert float(two) == pytest.approx(np.abs(np.diff(R)).sum() / 5 + coarse, rel=1e-5)


def test_fit_affine_and_relative_loss_by_hand():
    # Truth 1/z = 1 2 3; the prediction is 2 (1/z) + 1, so s = 0.5, t = -0.5 and nothing is left.
    valid = torch.ones(1, 1, 3, dtype=torch.bool)
    scale, shift = fit_affine(row(3, 5, 7), row(1, 2, 3), valid)
    assert (float(scale), float(shift)) == (pytest.approx(0.5), pytest.approx(-0.5))
    assert float(relative_loss(row(3, 5, 7), row(1, 2, 3), valid)) == pytest.approx(0, abs=1e-5)
    # Prediction 0 1 2 for 1/z = 1 4 1: the slope is 0, the fit 2 everywhere (scale is held
    # at 1e-6): mean of |log 2|, |log 1/2|, |log 2|.
    loss = relative_loss(row(0, 1, 2), row(1, 4, 1), valid)
    assert float(loss) == pytest.approx(math.log(2), rel=1e-4)


def test_relative_loss_pulls_a_far_pixel_that_ssi_hardly_sees():
    target = row(1.0, 0.5, 0.25, 0.02, 0.01)
    prediction = target.clone()
    prediction[..., -1] += 0.01  # 100 m taken for 50 m
    assert float(ssi_loss(prediction, target, ALL)) < 0.02
    assert float(relative_loss(prediction, target, ALL)) > 0.1


def test_cutmix_loss_by_hand():
    # Inside: prediction 0 1 5 against a = 0 1 2; outside: 3 3 7 against b = 2 4 6.
    prediction = row(0, 1, 5, 3, 3, 7)
    a, b = row(0, 1, 2, 9, 9, 9), row(9, 9, 9, 2, 4, 6)
    inside = torch.tensor([[[True, True, True, False, False, False]]])
    # Inside: median 1, deviation 5/3 -> (-.6 0 2.4); a: median 1, deviation 2/3 -> (-1.5 0 1.5).
    # Outside: median 3, deviation 4/3 -> (0 0 3); b: median 4, deviation 4/3 -> (-1.5 0 1.5).
    expected = ((0.9 + 0 + 0.9) + (1.5 + 0 + 1.5)) / 6
    error = cutmix_error(prediction, a, b, inside)
    np.testing.assert_allclose(error, row(0.9, 0, 0.9, 1.5, 0, 1.5), rtol=1e-5, atol=1e-6)
    assert float(error.mean()) == pytest.approx(expected, rel=1e-5)
    loss, kept = without_largest(error, 1 / 3)  # the two of 1.5
    assert kept.tolist() == [[[True, True, True, False, True, False]]]
    assert float(loss) == pytest.approx(1.8 / 4, rel=1e-5)
    whole = torch.ones_like(inside)
    assert float(cutmix_error(prediction, b, a, whole).mean()) == pytest.approx(
        float(ssi_loss(prediction, b, whole)), rel=1e-6)


def test_feature_alignment_by_hand():
    # Cosines 1, 0.6, 0 and -1; the first exceeds the margin: mean of 0.4, 1 and 2.
    frozen = torch.tensor([[[1.0, 0], [1, 0], [1, 0], [1, 0]]])
    features = torch.tensor([[[2.0, 0], [3, 4], [0, 1], [-5, 0]]])
    assert float(feature_alignment_loss(features, frozen)) == pytest.approx(3.4 / 3, rel=1e-6)
    assert float(feature_alignment_loss(features, frozen, 1.0)) == pytest.approx(3.4 / 4, rel=1e-6)
    assert float(feature_alignment_loss(frozen, frozen)) == 0.0


def test_silog_by_hand():
    # g = log 2, 0, -log 2: mean 0, unbiased variance (log 2)^2; then g = log 2 four times.
    valid = torch.tensor([[[True, True, True, False]]])
    loss = silog_loss(row(2, 3, 2, 7), row(1, 3, 4, 1), valid)
    assert float(loss) == pytest.approx(10 * math.log(2), rel=1e-5)
    same = silog_loss(row(2, 4, 6, 8), row(1, 2, 3, 4), torch.ones_like(valid))
    assert float(same) == pytest.approx(10 * math.sqrt(0.15) * math.log(2), rel=1e-5)


def test_losses_pass_gradients_and_survive_a_constant():
    prediction = torch.full((1, 8, 8), 0.5, requires_grad=True)
    target = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(1))
    valid = torch.ones(1, 8, 8, dtype=torch.bool)
    total = ssi_loss(prediction, target, valid) + gradient_loss(prediction, target, valid)
    (total + relative_loss(prediction, target, valid)).backward()
    assert prediction.grad is not None and bool(prediction.grad.isfinite().all())


def test_score_by_hand():
    # 1/z = 1 and 0.5, and a sky pixel that must not count; p is affine in 1/z: no error.
    depth_m = np.array([[1.0, 2.0, np.inf]])
    assert score_image(np.array([[5.0, 3.0, 0.0]]), depth_m) == (pytest.approx(0, abs=1e-9), 1.0)
    # A constant is fitted by the mean of 1/z, 0.75: depth 4/3, errors 1/3 and 1/3.
    error, share = score_image(np.zeros((1, 3)), depth_m)
    assert error == pytest.approx(1 / 3) and share == 0.0


def test_score_world_averages_over_pictures():
    inverse = np.tile(np.linspace(0.1, 1, 200, dtype=np.float16), (3, 2, 1))
    pictures = WorldImages(np.zeros((3, 2, 200, 3), np.uint8), inverse, np.zeros((3, 2, 200)))
    exact = score_world(lambda image: inverse[0].astype(np.float32), pictures, 3)
    assert exact['abs_rel'] < 1e-3 and exact['delta1'] == 1.0
    z = 1 / np.linspace(0.1, 1, 200)
    constant = np.mean(np.abs(1 / 0.55 - z) / z)
    assert exact['constant_abs_rel'] == pytest.approx(constant, abs=2e-3)


def test_random_crop_moves_all_targets_alike():
    generator = torch.Generator().manual_seed(3)
    ramp = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32), (48, 64))
    sample = Sample(np.repeat((ramp * 252).round().astype(np.uint8)[..., None], 3, axis=2), ramp,
                    (ramp * 9).round().astype(np.uint8))
    parts = zip(*(random_crop(sample, (28, 42), generator) for _ in range(8)))
    cut, inverse, semantic = (torch.stack(part) for part in parts)
    assert cut.shape == (8, 3, 28, 42) and cut.dtype == torch.uint8
    assert semantic.dtype == torch.int64
    cut = cut.float() / 252
    inner = (slice(None), slice(6, -6), slice(6, -6))
    # A crop's pixel is source_px of the ramp, which rises by 1 / 63 each; all of the picture would
    # be 28 rows high instead of 48, so that depth is nearer by source_px 28 / 48.
    source_px = (cut[:, 0, 14, 30] - cut[:, 0, 14, 12]).abs()[:, None, None] / 18 * 63
    assert float(source_px.min()) < 1.35 < 1.45 < float(source_px.max()) <= 64 / 42 + 0.03
    ramp_seen = inverse * source_px * 28 / 48
    assert float((cut[:, 0] - ramp_seen)[inner].abs().max()) < 0.03  # bilinear against nearest
    assert float((ramp_seen * 9 - semantic)[inner].abs().max()) < 0.6


def test_same_seed_renders_same_files(tmp_path):
    for name in ('a', 'b'):
        render_world(tmp_path / name, VIEWS_PER_SCENE + 1, 42, 56, 42)
    render_world(tmp_path / 'c', 1, 43, 56, 42)
    a, b, c = (open_world(tmp_path / name) for name in 'abc')
    assert np.array_equal(a.image_rgb, b.image_rgb)
    assert np.array_equal(a.inverse_depth, b.inverse_depth)
    assert np.array_equal(a.image_rgb[VIEWS_PER_SCENE], c.image_rgb[0])  # the next seed's scene
    assert len(open_samples([tmp_path / 'a', tmp_path / 'c'])) == VIEWS_PER_SCENE + 2


def test_unfinished_world_is_named(tmp_path):
    with pytest.raises(DatasetError, match='holds no finished world images'):
        open_world(tmp_path)


def test_train_resume_and_load(data, tmp_path):
    train(tiny_run(data, tmp_path / 'whole'))
    # Killed after step 4: the state is that of step 3, and the run goes on from there.
    cut = tiny_run(data, tmp_path / 'cut')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('depth_anything_ros.training.lesson.labelled_loss', _stop_at(5))
        with pytest.raises(KeyboardInterrupt):
            train(cut)
    assert newest_state(tmp_path / 'cut').name == '3'
    train(cut)
    whole, resumed = (
        AutoModelForDepthEstimation.from_pretrained(tmp_path / name / 'checkpoint').state_dict()
        for name in ('whole', 'cut'))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    log = [json.loads(line) for line in (tmp_path / 'whole/log.jsonl').read_text().splitlines()]
    assert [entry['step'] for entry in log] == [3, 6]
    assert set(log[-1]['held_out']) == {'abs_rel', 'delta1', 'constant_abs_rel',
                                        'constant_delta1'}


def test_tensorboard_shows_losses_and_the_learning_curve(data, tmp_path):
    reason = 'tensorboard: true needs the package tensorboard'
    reader = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator',
                                 reason=reason)
    train(tiny_run(data, tmp_path / 'run', tensorboard=True))
    log = [json.loads(line) for line in (tmp_path / 'run/log.jsonl').read_text().splitlines()]
    events = reader.EventAccumulator(str(tmp_path / 'run')).Reload()
    scores = set(log[0].pop('held_out'))
    losses = {'ssi', 'gradient', 'relative', 'coarse', 'semantic', 'negative'}
    assert set(events.Tags()['scalars']) == losses | scores | {'lr', 'seconds'}
    for name in losses:
        shown = [(point.step, point.value) for point in events.Scalars(name)]
        assert shown == [(entry['step'], pytest.approx(entry[name])) for entry in log], name
    curve = [point.value for point in events.Scalars('abs_rel')]
    assert curve[-1] == pytest.approx(log[-1]['held_out']['abs_rel']) and len(curve) == 2


def test_tensorboard_that_is_not_installed_is_named(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    with pytest.raises(DepthAnythingError, match='pip install tensorboard'):
        train(tiny_run(data, tmp_path / 'run', tensorboard=True))


def _stop_at(call):
    from depth_anything_ros.training.lesson import labelled_loss
    calls = []

    def stopping(*args):
        calls.append(args)
        if len(calls) == call:
            raise KeyboardInterrupt
        return labelled_loss(*args)

    return stopping


def test_loss_that_is_no_number_keeps_the_last_state(data, tmp_path):
    config = tiny_run(data, tmp_path / 'run')
    calls = []

    def broken(trainee, *args):
        calls.append(args)
        loss = trainee(args[0])[0].mean()
        return {'ssi': loss * torch.nan if len(calls) == 5 else loss}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('depth_anything_ros.training.lesson.labelled_loss', broken)
        with pytest.raises(DepthAnythingError, match='the loss is nan at step 5: lower'):
            train(config)
    assert newest_state(tmp_path / 'run').name == '3'


@pytest.fixture(scope='module')
def teacher(data, tmp_path_factory):
    out = tmp_path_factory.mktemp('teacher')
    train(tiny_run(data, out))
    return out / 'checkpoint'


def save_encoder(folder, hidden_size):
    config = Dinov2Config(hidden_size=hidden_size, num_hidden_layers=2, num_attention_heads=2,
                          patch_size=14, image_size=28)
    Dinov2Model(config).save_pretrained(folder)
    return folder


def test_student_learns_from_pseudo_labels_and_features(data, teacher, tmp_path):
    student = StudentConfig(teacher, (data,), encoder=save_encoder(tmp_path / 'encoder', 24))
    train(tiny_run(data, tmp_path / 'v1', student=student, eval_every=10))
    terms = json.loads((tmp_path / 'v1/log.jsonl').read_text().splitlines()[-1])
    assert {'ssi', 'unlabelled', 'alignment'} <= set(terms)
    second = StudentConfig(teacher, (data,), labelled=False, gradient=True)
    train(tiny_run(data, tmp_path / 'v2', student=second, eval_every=10))
    terms = json.loads((tmp_path / 'v2/log.jsonl').read_text().splitlines()[-1])
    assert {'unlabelled', 'pseudo_gradient'} <= set(terms) and 'ssi' not in terms


def test_encoder_of_another_size_is_named(data, teacher, tmp_path):
    student = StudentConfig(teacher, (data,), encoder=save_encoder(tmp_path / 'encoder', 32))
    with pytest.raises(CheckpointError, match='32 channels and the student of 24'):
        train(tiny_run(data, tmp_path / 'run', student=student))


def test_missing_teacher_is_named(data, tmp_path):
    student = StudentConfig(tmp_path / 'none', (data,))
    with pytest.raises(CheckpointError, match='cannot load the teacher .*none.* is no file'):
        train(tiny_run(data, tmp_path / 'run', student=student))


def test_metric_fine_tuning_starts_from_a_relative_network(data, teacher, tmp_path):
    metric = NetworkConfig(max_depth_m=20)
    train(tiny_run(data, tmp_path / 'run', network=metric, init=teacher, encoder_lr=0.1,
                   fresh_decoder=True))
    loaded = AutoModelForDepthEstimation.from_pretrained(tmp_path / 'run/checkpoint')
    assert loaded.config.depth_estimation_type == 'metric' and loaded.config.max_depth == 20.0
    assert 'silog' in json.loads((tmp_path / 'run/log.jsonl').read_text().splitlines()[-1])
    with pytest.raises(CheckpointError, match='predicts relative inverse depth and the run is for '
                                              'depth up to 20 m: set fresh_decoder: true'):
        train(tiny_run(data, tmp_path / 'other', network=metric, init=teacher))


def write_folder(folder, count=2):
    for kind in ('images', 'depth', 'mask'):
        (folder / kind).mkdir(parents=True)
    for i in range(count):
        picture = np.full((60, 100, 3), 40 * i, np.uint8)
        picture[..., 2] = 200  # red, as OpenCV writes BGR
        cv2.imwrite(str(folder / f'images/{i}.png'), picture)
        np.save(folder / f'depth/{i}.npy', np.full((60, 100), 2.0 + i, np.float32))
    mask = np.full((60, 100), 255, np.uint8)
    mask[:30] = 0
    cv2.imwrite(str(folder / 'mask/1.png'), mask)


def test_folder_of_own_pictures(tmp_path, data):
    write_folder(tmp_path)
    (tmp_path / 'depth/0.npy').unlink()
    cv2.imwrite(str(tmp_path / 'depth/0.png'), np.full((60, 100), 4000, np.uint16))
    both = open_samples([data, tmp_path])
    assert len(both) == 10 and both[0].image_rgb.shape == (42, 56, 3)
    first, second = both[8], both[9]
    assert first.image_rgb.shape == (60, 100, 3) and (second.image_rgb[..., 0] == 200).all()
    np.testing.assert_allclose(first.inverse_depth, 0.25, rtol=1e-6)  # 4000 mm
    np.testing.assert_allclose(second.inverse_depth[30:], 1 / 3, rtol=1e-6)
    assert np.isnan(second.inverse_depth[:30]).all()  # masked
    out = tmp_path / 'run'
    train(dataclasses.replace(tiny_run(data, out), data=(data, tmp_path)))
    assert (out / 'checkpoint/model.safetensors').is_file()


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda f: (f / 'images/1.png').write_bytes(b'no picture'), '1.png is corrupt or no pict'),
        (lambda f: cut_short(f / 'images/1.png'), '1.png is corrupt or no picture, or is cut sho'),
        (lambda f: (f / 'depth/1.npy').write_bytes(b'no array'), '1.npy is corrupt'),
        (lambda f: (f / 'depth/1.npy').unlink(), 'depth of 1 is missing or corrupt'),
        (lambda f: np.save(f / 'depth/1.npy', np.ones((3, 4))), r'depth of 1 is \(3, 4\)'),
        (lambda f: (f / 'mask/1.png').write_bytes(b'?'), '1.png is corrupt or not of'),
    ],
)
def test_broken_pictures_are_named(tmp_path, spoil, message):
    write_folder(tmp_path)
    spoil(tmp_path)
    samples = open_samples([tmp_path])  # one of two is enough to begin with
    with pytest.raises(DatasetError, match=message) as error:
        samples[1]
    assert '\n' not in str(error.value)
    for file in tmp_path.glob('*/0.*'):
        file.unlink()
    with pytest.raises(DatasetError, match=message):
        open_samples([tmp_path])


def cut_short(file):
    file.write_bytes(file.read_bytes()[:-20])


def test_empty_folder_is_named(tmp_path):
    (tmp_path / 'images').mkdir()
    with pytest.raises(DatasetError, match='holds no images/NAME.png or .jpg to train on'):
        open_samples([tmp_path])


def test_fewer_pictures_than_a_batch_is_one_line(data, tmp_path):
    few = tiny_run(data, tmp_path / 'run', phases=(Phase(1, 9, ((28, 42),), 0.0, 0.0),))
    with pytest.raises(DatasetError, match='data hold 8 pictures and a batch_size is 9: add'):
        train(few)


@pytest.mark.parametrize('what', ['state.save', 'record.save_network'])
def test_full_disk_keeps_the_last_checkpoint(data, tmp_path, monkeypatch, what):
    config = tiny_run(data, tmp_path / 'run')
    module, name = what.split('.')
    save = getattr(importlib.import_module(f'depth_anything_ros.training.{module}'), name)
    saved = []

    def full(*args, **kwargs):
        if saved:
            raise OSError(28, 'No space left on device')
        saved.append(args)
        return save(*args, **kwargs)

    monkeypatch.setattr(f'depth_anything_ros.training.{what}', full)
    with pytest.raises(DepthAnythingError, match='No space left on device.*: make room'):
        train(config)
    assert newest_state(tmp_path / 'run').name == '3'
    AutoModelForDepthEstimation.from_pretrained(tmp_path / 'run/checkpoint')
    assert cv2.imread(str(tmp_path / 'run/samples.png')).shape == (3 * 42, 6 * 56, 3)
    monkeypatch.undo()
    train(config)
    assert [path.name for path in (tmp_path / 'run/state').iterdir()] == ['6']


def test_saved_network_predicts_as_the_trained_one(tmp_path):
    torch.manual_seed(0)
    network = build_network(TINY).eval()
    save_network(network, tmp_path, 28)
    loaded = AutoModelForDepthEstimation.from_pretrained(tmp_path, dtype=torch.float32).eval()
    image = torch.rand(1, 3, 42, 56, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = Trainee(network)(image)[0].clamp(min=0)
        from depth_anything_ros.training.augment import to_network
        result = loaded(to_network(image)).predicted_depth
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
    size = json.loads((tmp_path / 'preprocessor_config.json').read_text())['size']
    assert size == {'height': 28, 'width': 28}


def test_trained_configuration_of_the_repository_is_valid():
    config = load_config(ROOT / 'config/train_world.yaml')
    assert config.network.hidden_size == 192 and config.phases[-1].lr_to == 0.0


PHASE = {'steps': 1, 'batch_size': 1, 'sizes': [[70, 98]], 'lr_from': 0, 'lr_to': 0}
STUDENT = {'teacher': 'a', 'unlabelled': ['b']}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'lerning_rate': 1}, 'unknown setting lerning_rate: '),
        ({'phases': None}, 'phases: must be a list, not None'),
        ({'phases': []}, 'phases: at least one is needed, not []'),
        ({'seed': 1.5}, 'seed: must be a valid integer, not 1.5'),
        ({'seed': -1}, 'seed: must be greater than or equal to 0, not -1'),
        ({'seed': 2**63}, 'seed: must be less than 9223372036854775808, not 9223372036854775808'),
        ({'seed': True}, 'seed: must be a valid integer, not True'),
        ({'network': {'layers': 'many'}}, "network.layers: must be a valid integer, not 'many'"),
        ({'network': {'hidden_size': 48, 'heads': 5}}, 'network: hidden_size 48 must be a multiple '
                                                       'of 4 and of its 5 heads'),
        ({'phases': [{**PHASE, 'sizes': [[70, 99]]}]},
         'phases[0].sizes[0][1]: a multiple of 14 is needed, not 99'),
        ({'phases': [{**PHASE, 'sizes': 70}]}, 'phases[0].sizes: must be a list, not 70'),
        ({'phases': [{**PHASE, 'sizes': []}]}, 'phases[0].sizes: at least one is needed, not []'),
        ({'phases': [{**PHASE, 'sizes': [[70]]}]}, 'phases[0].sizes[0][1] is missing'),
        ({'phases': [{**PHASE, 'steps': 0}]}, 'phases[0].steps: must be greater than or equal to '
                                              '1, not 0'),
        ({'phases': [{**PHASE, 'lr_to': -1}]}, 'phases[0].lr_to: must be greater than or equal to '
                                               '0, not -1'),
        ({'eval_every': 0}, 'eval_every: must be greater than or equal to 1, not 0'),
        ({'ema': 1.5}, 'ema: must be less than 1, not 1.5'),
        ({'device': 'foo'}, "device: must be cpu, cuda or cuda:N, not 'foo'"),
        ({'student': {**STUDENT, 'ratio': 0}}, 'student.ratio: must be greater than or equal to 1, '
                                               'not 0'),
        ({'student': {'unlabelled': ['a']}},
         'student: teacher and unlabelled are both needed, or pseudo'),
        ({'student': {**STUDENT, 'pseudo': ['c']}}, 'student: pseudo labels are there already'),
        ({'student': {**STUDENT, 'confidence': 0.5}}, 'student: confidence is of pseudo labels'),
        ({'data': []}, 'data is empty: '),
        ({'network': {'max_depth_m': 20}, 'student': {**STUDENT, 'labelled': False}},
         'pseudo labels know no metres: '),
        ({'init': 'a'}, 'network: leave out fusion_size, heads, hidden_size, layers: init brings '),
        ({'fresh_decoder': True}, 'fresh_decoder keeps the encoder of init, and there is no init'),
    ],
)
def test_wrong_settings_are_named(tmp_path, change, message):
    values = yaml.safe_load((ROOT / 'config/train_world.yaml').read_text())
    (file := tmp_path / 'run.yaml').write_text(yaml.safe_dump({**values, **change}))
    with pytest.raises(DepthAnythingError) as caught:
        load_config(file)
    text = str(caught.value)
    assert text.startswith(f'{file}: {message}') and '\n' not in text


def test_each_wrong_setting_has_its_line(tmp_path):
    values = yaml.safe_load((ROOT / 'config/train_world.yaml').read_text())
    wrong = {'phases': [{'steps': 1, 'batch_size': 0}], 'ema': 2}
    (file := tmp_path / 'run.yaml').write_text(yaml.safe_dump({**values, **wrong}))
    with pytest.raises(DepthAnythingError) as caught:
        load_config(file)
    named = [line.removeprefix(f'{file}: ').split()[0] for line in str(caught.value).split('\n')]
    assert named == ['phases[0].batch_size:', 'phases[0].sizes', 'phases[0].lr_from',
                     'phases[0].lr_to', 'ema:']
    file.write_text('- a list')
    with pytest.raises(DepthAnythingError, match='a mapping of settings is needed'):
        load_config(file)


def test_command_says_what_is_missing(tmp_path, capfd):
    assert main([str(tmp_path / 'none.yaml')]) == 2
    text, = capfd.readouterr().err.splitlines()
    assert re.match('train: cannot read .*none.yaml: No such file', text)


def test_output_beyond_float16_is_brought_to_unit_size_and_nothing_else():
    torch.manual_seed(0)
    network = build_network(NetworkConfig(hidden_size=48, layers=4, heads=3, fusion_size=16))
    image = torch.randn(1, 3, 70, 98)
    with torch.no_grad():
        network.head.conv3.weight.mul_(1e5)
        network.head.conv3.bias.fill_(3e5)
        before = network(image).predicted_depth
        smaller, factor = within_half(network)
        after = smaller(image).predicted_depth
        network.head.conv3.bias.fill_(0.0)
        network.head.conv3.weight.mul_(1e-5)
        assert within_half(network) == (network, 1.0)
    assert before.max() > 65504  # beyond float16
    torch.testing.assert_close(after, factor * before, rtol=1e-4, atol=1e-6)
    assert 0.1 < after.max() < 10
