# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What training promises, at other sizes and orders than where it was written, and at both ends."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
import pytest
import torch
from transformers import AutoModelForDepthEstimation
import yaml

from depth_anything_ros.errors import DatasetError, DepthAnythingError
from depth_anything_ros.network import official_weights
from depth_anything_ros.training.augment import MEAN, random_crop, STD
from depth_anything_ros.training.config import load_config, NetworkConfig, Phase, TrainConfig
from depth_anything_ros.training.folder_data import FolderSamples
from depth_anything_ros.training.network import build_network, save_network
from depth_anything_ros.training.sample import Sample
from depth_anything_ros.training.train import train
from depth_anything_ros.training.world_data import open_world, render_world
from helpers import TINY, tiny_run
import official_files
from official_files import official_state, WIDTH

ROOT = Path(__file__).resolve().parents[2]
IMAGE = torch.randn(1, 3, 42, 70, generator=torch.Generator().manual_seed(6))


@pytest.fixture(scope='module')
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('world')
    render_world(folder, 4, 7, 56, 42)
    return folder


def says(folder: Path) -> torch.Tensor:
    """Return what a saved network says of the image, by transformers alone."""
    loaded = AutoModelForDepthEstimation.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return loaded(IMAGE).predicted_depth


@pytest.mark.parametrize('max_depth_m', [1, 20, 80, 5000])
@pytest.mark.parametrize('logit', [-8.0, 0.0, 8.0])  # from near 0 to near the farthest
def test_metres_are_saved_as_they_are_wherever_they_lie(
    tmp_path: Path, max_depth_m: int, logit: float
) -> None:
    torch.manual_seed(0)
    network = build_network(dataclasses.replace(TINY, max_depth_m=max_depth_m)).eval()
    with torch.no_grad():
        network.head.conv3.bias.fill_(logit)
        expected = network(IMAGE).predicted_depth
    save_network(network, tmp_path, 28)
    torch.testing.assert_close(says(tmp_path), expected, rtol=1e-5, atol=0)
    middle_m = max_depth_m / (1 + np.exp(-logit))
    assert 0.3 * middle_m < float(expected.mean()) < 3 * middle_m


@pytest.mark.parametrize('bias', [1e-4, 1.0, 900.0, 1e5, 1e9])
def test_relative_networks_keep_all_but_their_scale(tmp_path: Path, bias: float) -> None:
    torch.manual_seed(0)
    network = build_network(TINY).eval()
    with torch.no_grad():
        network.head.conv3.weight.mul_(bias)
        network.head.conv3.bias.fill_(bias)
        expected = network(IMAGE).predicted_depth
    save_network(network, tmp_path, 28)
    saved = says(tmp_path)
    torch.testing.assert_close(saved / saved.max(), expected / expected.max(), rtol=1e-3, atol=1e-5)
    assert float(saved.max()) < 2000
    if bias < 1000:
        torch.testing.assert_close(saved, expected)


@pytest.mark.parametrize(('width', 'heads'), [(4, 1), (12, 3), (292, 1), (296, 2), (384, 6),
                                              (1024, 16)])
@pytest.mark.parametrize('input_size', [14, 140])
def test_networks_of_every_width_start_alive(width: int, heads: int, input_size: int) -> None:
    torch.manual_seed(0)
    network = build_network(NetworkConfig(
        hidden_size=width, layers=4, heads=heads, neck_sizes=(8, 8, 8, 8), fusion_size=8,
        input_size=input_size))
    with torch.no_grad():
        assert float(network(IMAGE).predicted_depth.min()) > 0  # no ReLU at its end is dead
        tokens = network.backbone(IMAGE).feature_maps[-1]
    assert tokens.shape == (1, 1 + 3 * 5, width)
    assert bool(tokens.isfinite().all()) and float(tokens.std(dim=1).min()) > 1e-3


def numbered(height: int, width: int, down: bool) -> Sample:
    """Return a picture whose inverse depth is the number of its row or column, from 1."""
    number = 1 + np.arange(height)[:, None] if down else 1 + np.arange(width)
    number = np.broadcast_to(number, (height, width)).astype(np.float32)
    gray = np.repeat((number * 255 / number.max()).astype(np.uint8)[..., None], 3, axis=2)
    return Sample(gray, number, np.zeros((height, width), np.uint8))


@pytest.mark.parametrize('source', [(720, 1280), (1280, 720), (375, 1242), (481, 641), (90, 120)])
@pytest.mark.parametrize('size', [(70, 98), (98, 70), (140, 308), (518, 686)])
@pytest.mark.parametrize('down', [False, True])
def test_labels_lie_on_the_picture_at_every_size(
    source: tuple[int, int], size: tuple[int, int], down: bool
) -> None:
    _, label, _ = random_crop(numbered(*source, down), size, torch.Generator(), centre=True)
    scale = min(source[0] / size[0], source[1] / size[1])  # source pixels in one of the crop
    number = label * scale * min(size) / min(source) - 1
    side, whole = (size[0], source[0]) if down else (size[1], source[1])
    middle = (torch.arange(side) + 0.5 - side / 2) * scale + whole / 2 - 0.5
    off_px = number - (middle[:, None] if down else middle)
    assert float(off_px.abs().max()) <= 0.51
    assert abs(float(off_px.mean())) < 0.2 if scale > 1.5 else True


@pytest.mark.parametrize(('source', 'down'), [((1242, 375), True), ((375, 1242), False),
                                              ((3000, 40), True)])
def test_crops_reach_both_ends_of_long_pictures(source: tuple[int, int], down: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    sample, seen = numbered(*source, down), []
    for _ in range(150):
        image, _, _ = random_crop(sample, (28, 42), generator)
        seen += [float(image.min()) / 255, float(image.max()) / 255]
    assert min(seen) < 0.06 and max(seen) > 0.97


@pytest.mark.parametrize('layers', [(1, 2, 3, 6), (3, 4, 5, 6), (1, 4, 5, 6)])
def test_whatever_layers_a_checkpoint_decodes_it_goes_on_decoding(
    world: Path, tmp_path: Path, layers: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    network = build_network(dataclasses.replace(TINY, layers=6))
    network.config.backbone_config.out_features = [f'stage{i}' for i in layers]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
        network.head.conv3.weight *= 50
    network.save_pretrained(tmp_path / 'init')
    save_network(AutoModelForDepthEstimation.from_pretrained(tmp_path / 'init'), tmp_path / 'init',
                 28)
    phases = (Phase(1, 1, ((28, 42),), 0.0, 0.0),)
    train(tiny_run(world, tmp_path / 'run', init=str(tmp_path / 'init'), network=NetworkConfig(),
                   phases=phases, eval_every=1))
    told = json.loads((tmp_path / 'run/checkpoint/config.json').read_text())['backbone_config']
    assert tuple(told['out_indices']) == layers
    mine, its = says(tmp_path / 'run/checkpoint'), says(tmp_path / 'init')
    assert float(its.std()) > 1e-3 * float(its.mean())
    torch.testing.assert_close(mine / mine.max(), its / its.max(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(('max_depth_m', 'bias'), [(20, 0.0), (80, -3.0), (20, 3.0)])
def test_the_score_of_a_metric_run_is_of_its_metres(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_depth_m: int, bias: float
) -> None:
    """By hand, from the checkpoint and the pictures: no fit hides a wrong scale."""
    monkeypatch.setitem(official_weights.ARCHITECTURES, WIDTH, official_files.TINY)
    state = official_state(WIDTH, official_files.TINY)
    state['depth_head.scratch.output_conv2.2.weight'] *= 0.02
    state['depth_head.scratch.output_conv2.2.bias'].fill_(bias)
    kind = {20: 'hypersim', 80: 'vkitti'}[max_depth_m]
    file = tmp_path / f'depth_anything_v2_metric_{kind}_vits.pth'
    torch.save(state, file)
    train(tiny_run(world, tmp_path / 'run', init=str(file), eval_every=1, eval_count=3,
                   network=NetworkConfig(max_depth_m=max_depth_m),
                   phases=(Phase(1, 1, ((42, 56),), 0.0, 0.0),)))
    logged = json.loads((tmp_path / 'run/log.jsonl').read_text().splitlines()[-1])['held_out']
    loaded = AutoModelForDepthEstimation.from_pretrained(tmp_path / 'run/checkpoint')
    errors = []
    for i in range(3):
        picture = open_world(world)[i]
        image = (torch.from_numpy(picture.image_rgb).float() / 255 - torch.tensor(MEAN)
                 ) / torch.tensor(STD)
        with torch.no_grad():
            depth_m = loaded(image.permute(2, 0, 1)[None]).predicted_depth[0].numpy()
        with np.errstate(divide='ignore'):
            true_m = 1 / picture.inverse_depth.astype(float)
        used = (true_m >= 0.3) & (true_m <= 80)
        errors.append(np.mean(np.abs(depth_m[used] - true_m[used]) / true_m[used]))
    assert logged['abs_rel'] == pytest.approx(np.mean(errors), rel=2e-3)


def test_held_out_pictures_that_cannot_be_scored_are_one_line(world: Path, tmp_path: Path) -> None:
    for kind in ('images', 'depth'):
        (tmp_path / 'few' / kind).mkdir(parents=True)
    depth_mm = np.zeros((60, 80), np.uint16)
    depth_mm[30, :80] = 4000  # as many as a laser scanner sees
    cv2.imwrite(str(tmp_path / 'few/images/a.png'), np.zeros((60, 80, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'few/depth/a.png'), depth_mm)
    with pytest.raises(DatasetError, match='^no held-out picture has depth between 0.3 and 80 m at '
                                           '100 pixels or more: hold out others$'):
        train(tiny_run(world, tmp_path / 'run', held_out=tmp_path / 'few'))
    cv2.imwrite(str(tmp_path / 'few/images/a.png'), np.zeros((2, 9000, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'few/depth/a.png'), np.full((2, 9000), 4000, np.uint16))
    with pytest.raises(DatasetError, match='^a held-out picture is 9000x2 pixels, which at a '):
        train(tiny_run(world, tmp_path / 'run', held_out=tmp_path / 'few'))


@pytest.mark.parametrize('progressive', [False, True])
@pytest.mark.parametrize('thumbnail', [False, True])
def test_a_jpeg_cut_anywhere_is_whole_or_refused(
    tmp_path: Path, progressive: bool, thumbnail: bool
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    picture = Image.fromarray(cv2.GaussianBlur(noise, (0, 0), 3))
    exif = Image.Exif()
    exif[0x0112] = 3
    inside = io.BytesIO()
    picture.resize((15, 10)).save(inside, 'jpeg')
    if thumbnail:  # a JPEG within the JPEG, with an end of its own
        exif[0x927c] = inside.getvalue()
    whole = io.BytesIO()
    picture.save(whole, 'jpeg', progressive=progressive, exif=exif)
    data, file = whole.getvalue(), tmp_path / 'a.jpg'
    file.write_bytes(data)
    expected, read = FolderSamples(tmp_path, with_depth=False)[0].image_rgb, 0
    for length in range(len(data)):
        file.write_bytes(data[:length])
        try:
            image = FolderSamples(tmp_path, with_depth=False)[0].image_rgb
        except DatasetError as error:
            assert str(error).isprintable()
            continue
        read += 1
        np.testing.assert_array_equal(image, expected)
    assert read <= 1


JUNK = [None, True, -1, 0, 1.5, 2**70, float('nan'), float('inf'), '', 'x', '\0', [], {}, [[]],
        [None], {'a': 1}, {1: 2}, [[1, 2], 3]]


def test_no_setting_whatever_it_is_ends_in_a_traceback(tmp_path: Path) -> None:
    values = yaml.safe_load((ROOT / 'config/train_world.yaml').read_text())
    values['student'] = {'teacher': 'bundled', 'unlabelled': ['a']}
    file, taken = tmp_path / 'run.yaml', []

    def check(changed: object, what: str) -> None:
        file.write_text(yaml.safe_dump(changed))
        try:
            load_config(file)
        except DepthAnythingError as error:
            lines = str(error).split('\n')
            assert all(line.startswith(f'{file}') and line.isprintable() for line in lines), lines
        else:
            taken.append(what)

    for junk in JUNK:
        check(junk, f'{junk!r}')
        for name in [field.name for field in dataclasses.fields(TrainConfig)]:
            check({**values, name: junk}, f'{name}: {junk!r}')
        for name in ('steps', 'batch_size', 'sizes', 'lr_from', 'colours', 'crop'):
            phase = {**values['phases'][0], name: junk}
            check({**values, 'phases': [phase]}, f'phases.{name}: {junk!r}')
        for section in ('network', 'loss', 'student'):
            for name in ('hidden_size', 'neck_sizes', 'silog', 'ratio', 'margin', 'pseudo'):
                check({**values, section: {**values.get(section, {}), name: junk}},
                      f'{section}.{name}: {junk!r}')
    for text in ('', '- a', '{', '\t', 'a: b: c', '&a [*a]', '!!python/object:x {}', '\x00', 'a'):
        file.write_text(text)
        with pytest.raises(DepthAnythingError):
            load_config(file)
    wrong = [what for what in taken if what.split(': ')[1] in ('True', '-1', 'nan', 'inf')]
    assert sorted(wrong) == ['bf16: True', 'student.margin: -1', 'tensorboard: True']
