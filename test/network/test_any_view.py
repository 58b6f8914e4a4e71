# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth Anything 3's small networks for several views, given one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file
from test_depth_anything_3 import load, message, noise, save
from test_official_weights import official_shapes, WIDTH
import torch
from torch import Tensor

from depth_anything_ros.network import official_weights

TINY = official_weights.Architecture('tiny', 12, 2, (4, 8, 12, 16), 8, (2, 5, 8, 11))
# What the authors' code (github.com/ByteDance-Seed/Depth-Anything-3, DinoVisionTransformer and
# DualDPT at the sizes of TINY) says of published_state() and noise: size -> every 7th pixel of
# every 7th row of its depth.
AUTHORS = np.load(Path(__file__).with_name('authors_any_view.npz'))


def published_state() -> dict[str, Tensor]:
    """Random weights under the keys of DA3-SMALL's model.safetensors, at the sizes of TINY.

    Of what serves several views alone there is one tensor each.
    """
    shapes = {
        key.replace('pretrained.', 'backbone.pretrained.').replace('depth_head.', 'head.'): shape
        for key, shape in official_shapes(WIDTH, TINY).items()
        if 'mask_token' not in key and 'refinenet4.resConfUnit1' not in key
    }
    shapes['backbone.pretrained.camera_token'] = (1, 2, WIDTH)
    for part in ('weight', 'bias'):
        shapes[f'head.norm.{part}'] = (2 * WIDTH,)
        for i in range(4, TINY.layers):
            for kind in ('q', 'k'):
                key = f'backbone.pretrained.blocks.{i}.attn.{kind}_norm.{part}'
                shapes[key] = (WIDTH // TINY.heads,)
    for i, channels in enumerate(TINY.neck):
        shapes[f'head.projects.{i}.weight'] = (channels, 2 * WIDTH, 1, 1)
    shapes['head.scratch.output_conv2.2.weight'] = (2, 32, 1, 1)
    shapes['head.scratch.output_conv2.2.bias'] = (2,)
    shapes |= {
        'cam_enc.trunk.0.norm1.weight': (3,), 'cam_dec.fc_t.weight': (3, 5),
        'head.scratch.refinenet1_aux.out_conv.weight': (8, 8, 1, 1),
        'head.scratch.output_conv2_aux.3.2.bias': (7,),
    }
    generator = torch.Generator().manual_seed(8)
    state = {}
    for key, shape in shapes.items():
        fan_in = max(torch.Size(shape[1:]).numel(), 1)
        state[f'model.{key}'] = torch.randn(shape, generator=generator) / fan_in**0.5
    state['model.head.scratch.output_conv2.2.weight'] *= 0.2
    return state


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """A tiny network of the published shape, known under its own width."""
    monkeypatch.setitem(official_weights.ARCHITECTURES, WIDTH, TINY)
    return published_state()


@pytest.mark.parametrize('backend', ['torch', 'onnxruntime'])
def test_the_authors_code_agrees_at_every_size(
    backend: str, tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    predictor = load(save(state, tmp_path / 'da3', 'da3-small'), backend)
    for size in AUTHORS.files:
        expected = torch.from_numpy(AUTHORS[size])
        assert expected.std() > 0.05 * expected.mean()
        prediction = predictor(noise(size))
        assert prediction.shape == tuple(map(int, size.split('x')))
        torch.testing.assert_close(prediction[::7, ::7], expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize('name', ['da3-small', 'da3-base'])
def test_it_is_depth_up_to_scale_without_sky(
    name: str, tmp_path: Path, state: dict[str, Tensor]
) -> None:
    net = {'net': {'out_layers': [5, 7, 9, 11]}}
    predictor = load(save(state, tmp_path, name, config=net))
    spec = predictor.spec
    assert (spec.space, spec.metric, spec.canonical_focal_px) == ('depth', False, None)
    assert (spec.input_size, spec.multiple, spec.resize) == (504, 14, 'upper_bound')
    assert not spec.has_sky
    names = [key for key, _ in predictor.network.named_parameters()]
    assert not any('aux' in key or 'cam_' in key for key in names)


def test_weights_alone_are_told_by_name_or_variant(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    expected = torch.from_numpy(AUTHORS['70x98'])
    for name, options in (('DA3-BASE', {}), ('mine', {'variant': 'da3-any-view'})):
        save_file(state, tmp_path / f'{name}.safetensors')
        predictor = load(tmp_path / f'{name}.safetensors', **options)
        torch.testing.assert_close(predictor(noise('70x98'))[::7, ::7], expected)


def test_what_does_not_fit_is_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    norm = 'model.backbone.pretrained.blocks.4.attn.q_norm.bias'
    without = {key: tensor for key, tensor in state.items() if key != norm}
    assert f'1 keys are missing ({norm})' in message(save(without, tmp_path, 'da3-small'))
    extra = {**state, 'model.gs_head.bias': torch.zeros(1)}
    assert '1 keys are unknown (model.gs_head.bias)' in message(save(extra, tmp_path, 'da3-small'))
    token = 'model.backbone.pretrained.camera_token'
    wrong = {**state, token: torch.zeros(1, 1, WIDTH)}
    assert '(1, 1, 24) instead of (1, 2, 24)' in message(save(wrong, tmp_path, 'da3-small'))
    net = {'net': {'out_layers': [4, 11, 17, 23]}}
    text = message(save(state, tmp_path, 'da3-base', config=net))
    assert 'decodes blocks [5, 7, 9, 11]' in text
    # The monocular ones have other keys.
    assert 'keys are missing' in message(save(state, tmp_path, 'da3mono-large'))
