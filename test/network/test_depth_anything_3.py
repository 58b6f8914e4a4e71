# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth Anything 3's monocular networks: what they compute, mean and want, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.torch import save_file
from test_official_weights import official_shapes, TINY, WIDTH
import torch
from torch import Tensor

from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.errors import CheckpointError
from depth_anything_ros.evaluation.predictions import from_network
from depth_anything_ros.network import official_weights
from depth_anything_ros.network.predictor import load_predictor, LoadedPredictor

# What the authors' code (github.com/ByteDance-Seed/Depth-Anything-3, DinoVisionTransformer and DPT
# at the sizes of TINY) says of published_state() and noise, depth and sky: size -> every 7th pixel
# of every 7th row.
AUTHORS = np.load(Path(__file__).with_name('authors_da3.npz'))


def published_state() -> dict[str, Tensor]:
    """Random weights under the keys of DA3METRIC-LARGE's model.safetensors, at the sizes of TINY.

    Depth and sky both vary over their range: exp() of some units, and zero in places.
    """
    shapes = official_shapes(WIDTH, TINY)
    shapes = {
        key: shape for key, shape in shapes.items()
        if 'mask_token' not in key and 'refinenet4.resConfUnit1' not in key
    }
    for key in ('0.weight', '0.bias', '2.weight', '2.bias'):
        head = 'depth_head.scratch'
        shapes[f'{head}.sky_output_conv2.{key}'] = shapes[f'{head}.output_conv2.{key}']
    generator = torch.Generator().manual_seed(7)
    state = {}
    for key, shape in shapes.items():
        key = key.replace('pretrained.', 'model.backbone.pretrained.')
        key = key.replace('depth_head.', 'model.head.')
        fan_in = max(torch.Size(shape[1:]).numel(), 1)
        state[key] = torch.randn(shape, generator=generator) / fan_in**0.5
    state['model.head.scratch.output_conv2.2.weight'] *= 0.2
    state['model.head.scratch.sky_output_conv2.2.bias'] -= 2.5
    return state


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """A tiny network of the published shape, known under its own width."""
    monkeypatch.setitem(official_weights.ARCHITECTURES, WIDTH, TINY)
    return published_state()


def save(state: dict[str, Tensor], folder: Path, model_name: str = 'da3metric-large',
         **config: object) -> str:
    """Write a folder as the authors publish them."""
    folder.mkdir(exist_ok=True)
    (folder / 'config.json').write_text(json.dumps({'model_name': model_name, **config}))
    save_file(state, folder / 'model.safetensors')
    return str(folder)


def load(checkpoint: object, backend: str = 'torch', **options: object) -> LoadedPredictor:
    runtime = RuntimeConfig(device='cpu', backend=backend, threads=1)
    return load_predictor(ModelConfig(checkpoint=str(checkpoint), **options), runtime)


def message(checkpoint: object, **options: object) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(checkpoint, **options)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def noise(size: str) -> Tensor:
    generator = torch.Generator().manual_seed(6)
    return torch.randn(1, 3, *map(int, size.split('x')), generator=generator)


@pytest.mark.parametrize('backend', ['torch', 'onnxruntime', 'openvino'])
def test_the_authors_code_agrees_at_every_size(
    backend: str, tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    predictor = load(save(state, tmp_path / 'da3'), backend)
    for size in AUTHORS.files:
        expected = torch.from_numpy(AUTHORS[size])
        assert 0.2 < (expected[1] >= 0.3).float().mean() < 0.8  # both sky and none
        prediction = predictor(noise(size))
        assert prediction.shape == (2, *map(int, size.split('x')))
        # Sky passes through zero: held to 1e-4 of its largest value.
        torch.testing.assert_close(prediction[0, ::7, ::7], expected[0], rtol=1e-4, atol=0)
        torch.testing.assert_close(prediction[1, ::7, ::7], expected[1], rtol=1e-4, atol=2e-4)


def test_the_two_kinds_differ_in_what_the_same_output_means(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    metric = load(save(state, tmp_path / 'a', 'da3metric-large')).spec
    mono = load(save(state, tmp_path / 'b', 'da3mono-large')).spec
    assert (metric.space, metric.metric, metric.canonical_focal_px) == ('depth', True, 300.0)
    assert (mono.space, mono.metric, mono.canonical_focal_px) == ('depth', False, None)
    for spec in (metric, mono):
        assert (spec.input_size, spec.multiple, spec.resize) == (504, 14, 'upper_bound')
        assert spec.has_sky and spec.max_depth_m is None
        assert spec.mean == (0.485, 0.456, 0.406) and spec.std == (0.229, 0.224, 0.225)
    changed = load(tmp_path / 'a', canonical_focal=250.0, input_size=252).spec
    assert (changed.canonical_focal_px, changed.input_size) == (250.0, 252)


def test_weights_alone_are_told_apart_by_name_or_variant(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    save_file(state, tmp_path / 'DA3MONO-LARGE.safetensors')
    save_file(state, tmp_path / 'model.safetensors')
    assert not load(tmp_path / 'DA3MONO-LARGE.safetensors').spec.metric
    assert 'set model.variant to' in message(tmp_path / 'model.safetensors')
    predictor = load(tmp_path / 'model.safetensors', variant='da3-metric')
    assert predictor.spec.metric
    expected = torch.from_numpy(AUTHORS['70x98'][0])
    torch.testing.assert_close(predictor(noise('70x98'))[0, ::7, ::7], expected)


@pytest.mark.parametrize(
    'name', ['da3-giant', 'da3nested-giant-large', 'da3-large', 'da3-large-1.1', 'da4']
)
def test_networks_for_several_views_are_refused_by_name(
    tmp_path: Path, state: dict[str, Tensor], name: str
) -> None:
    text = message(save(state, tmp_path, name))
    assert f'"{name}" is not run here' in text and 'da3metric-large or da3mono-large' in text


def test_what_does_not_fit_is_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    camera_token = {'model.backbone.pretrained.camera_token': torch.zeros(1, 2, WIDTH)}
    assert '1 keys are unknown' in message(save({**state, **camera_token}, tmp_path))
    sky = 'model.head.scratch.sky_output_conv2.0.weight'
    without = {key: tensor for key, tensor in state.items() if key != sky}
    assert f'1 keys are missing ({sky})' in message(save(without, tmp_path))
    folder = save({**state, sky: torch.zeros(32, 5, 3, 3)}, tmp_path)
    assert '(32, 5, 3, 3) instead of (32, 4, 3, 3)' in message(folder)
    assert 'width 48' in message(
        save({**state, 'model.backbone.pretrained.cls_token': torch.zeros(1, 1, 48)}, tmp_path)
    )
    nested = {key.replace('model.', 'model.da3.', 1): tensor for key, tensor in state.items()}
    assert 'no model.backbone.pretrained.cls_token' in message(save(nested, tmp_path))
    net = {'net': {'name': 'vitl', 'out_layers': [5, 11, 17, 23]}}
    assert 'decodes blocks [4, 11, 17, 23]' in message(save(state, tmp_path, config=net))
    weights = Path(save(state, tmp_path)) / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert 'download or save it again' in message(tmp_path)


def test_another_sky_than_pytorchs_is_refused(
    tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip('onnx')
    from depth_anything_ros.errors import BackendError

    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    folder = save(state, tmp_path / 'da3')
    load(folder, 'onnxruntime')
    (exported,) = (tmp_path / 'cache').rglob('*.onnx')
    model = onnx.load(exported)
    bias = next(t for t in model.graph.initializer if t.name.endswith('sky_conv3.bias'))
    values = onnx.numpy_helper.to_array(bias) + np.float32(0.05)
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(model, tmp_path / 'changed.onnx')
    with pytest.raises(BackendError, match='deviates from float32 PyTorch'):
        load(tmp_path / 'changed.onnx', 'onnxruntime')


def test_evaluation_scores_the_depth_of_a_network_with_sky(
    tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    image = np.random.default_rng(1).integers(0, 256, (378, 504, 3), np.uint8)
    sample = SimpleNamespace(name='noise', image=lambda: image)
    whole = SimpleNamespace(cropped=lambda pixels: pixels)
    predict, space, *_ = from_network(save(state, tmp_path / 'da3'), 'cpu', whole)
    prediction = predict(sample, (378, 504))
    assert space == 'depth' and prediction.shape == (378, 504)
    assert np.isfinite(prediction).all() and (prediction > 0).all()  # exp(); sky is zero in places
