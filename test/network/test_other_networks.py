# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth estimators of transformers that are no Depth Anything: each loads, or says why not."""

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path

import numpy as np
import pytest
from test_predictor import message, save, VIT
import torch
import torch.nn.functional as F
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES as KINDS

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig
from depth_anything_ros.errors import BackendError
from depth_anything_ros.metric_depth.scale import State
from depth_anything_ros.network.predictor import load_predictor, LoadedPredictor
from depth_anything_ros.network.spec import read_spec
from depth_anything_ros.pipeline import DepthPipeline, Outputs

SIDE = 256  # of the tiny Depth Pro's input


def randomised(network: torch.nn.Module) -> torch.nn.Module:
    """Give a network weights of a size that shows in its output."""
    torch.manual_seed(4)
    with torch.no_grad():
        for weight in (p for p in network.parameters() if p.ndim > 1):
            weight.copy_(torch.randn_like(weight) / weight[0].numel() ** 0.5)
    return network.eval()


def depth_pro(guesses: bool = True) -> torch.nn.Module:
    encoder = {'model_type': 'dinov2', **VIT, 'image_size': 64, 'patch_size': 16}
    network = randomised(transformers.DepthProForDepthEstimation(transformers.DepthProConfig(
        image_model_config=encoder, patch_model_config=encoder, fov_model_config=encoder,
        patch_size=64, fusion_hidden_size=8, intermediate_hook_ids=[3, 1],
        intermediate_feature_dims=[8, 8], scaled_images_feature_dims=[16, 16, 8],
        use_fov_model=guesses, num_fov_head_layers=1,
    )))
    network.head.layers[4].weight.data.abs_()  # above the final ReLU
    network.head.layers[4].bias.data.fill_(0.01)
    return network


def zoedepth(bins: int = 1) -> torch.nn.Module:
    configurations = [
        {'n_bins': 8, 'min_depth': 0.001, 'max_depth': far_m, 'name': name}
        for name, far_m in (('nyu', 10.0), ('kitti', 80.0))
    ]
    return randomised(transformers.ZoeDepthForDepthEstimation(transformers.ZoeDepthConfig(
        backbone_config=transformers.BeitConfig(
            **VIT, image_size=64, patch_size=16, intermediate_size=32, reshape_hidden_states=False,
            out_indices=[1, 2, 3, 4], use_relative_position_bias=True,
            use_absolute_position_embeddings=False,
        ),
        neck_hidden_sizes=[8] * 4, fusion_hidden_size=8, bottleneck_features=8,
        num_relative_features=8, bin_embedding_dim=8, num_attractors=[4, 4, 2, 2],
        bin_configurations=configurations[:bins], patch_transformer_hidden_size=128,
        num_patch_transformer_layers=4, patch_transformer_intermediate_size=16,
        patch_transformer_num_attention_heads=2,
    )))


def dpt() -> torch.nn.Module:
    return randomised(transformers.DPTForDepthEstimation(transformers.DPTConfig(
        **VIT, intermediate_size=32, image_size=64, patch_size=16, neck_hidden_sizes=[8] * 4,
        backbone_out_indices=[0, 1, 2, 3], fusion_hidden_size=8,
    )))


def glpn() -> torch.nn.Module:
    return randomised(transformers.GLPNForDepthEstimation(transformers.GLPNConfig(
        depths=[1] * 4, hidden_sizes=[8] * 4, num_attention_heads=[1] * 4, decoder_hidden_size=8,
    )))


def load(folder: str, backend: str = 'torch', **options: object) -> LoadedPredictor:
    runtime = RuntimeConfig(device='cpu', backend=backend, threads=1)
    return load_predictor(ModelConfig(checkpoint=folder, **options), runtime)


@pytest.mark.parametrize(('network', 'size', 'backend'), [
    (depth_pro, (SIDE, SIDE), 'torch'), (depth_pro, (SIDE, SIDE), 'onnxruntime'),
    (dpt, (64, 64), 'torch'), (dpt, (64, 64), 'openvino'),
    (zoedepth, (64, 96), 'torch'), (zoedepth, (64, 96), 'onnxruntime'),
    (glpn, (64, 96), 'torch'),
])
def test_each_backend_predicts_what_the_saved_network_did(
    network: Callable[[], torch.nn.Module], size: tuple[int, int], backend: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    saved = network()
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = saved(image).predicted_depth[0]
    predictor = load(save(saved, tmp_path / 'tiny', {'size': 64}), backend)
    prediction = predictor(image)
    assert prediction.std() > 0.01 * prediction.mean()
    if expected.shape != size:  # glpn and zoedepth may answer at another size
        expected = F.interpolate(expected[None, None], size, mode='bilinear')[0, 0]
    torch.testing.assert_close(prediction, expected, rtol=1e-3, atol=1e-3 * float(expected.max()))


def test_depth_pro_follows_the_focal_length_and_never_guesses_it(tmp_path: Path) -> None:
    saved = depth_pro()
    predictor = load(save(saved, tmp_path))
    spec = predictor.spec
    assert (spec.space, spec.metric, spec.canonical_focal_px) == ('inverse_depth', True, SIDE)
    assert (spec.resize, spec.input_size, spec.mean) == ('stretch', SIDE, (0.5, 0.5, 0.5))
    assert not any('fov_model' in name for name, _ in predictor.network.named_parameters())
    # Twice as wide as high: what does not vary along a row is stretched to itself.
    rows = np.random.default_rng(0).integers(0, 256, (SIDE, 1, 3), np.uint8)
    image = np.repeat(rows, 2 * SIDE, axis=1)
    stretched = torch.from_numpy(rows.repeat(SIDE, axis=1) / 127.5 - 1).float()
    with torch.no_grad():
        output = saved(stretched.permute(2, 0, 1)[None]).predicted_depth[0]
    width = 2 * SIDE
    for fx in (100.0, 200.0):
        K = np.array([[fx, 0, 255.5], [0, 3 * fx, 127.5], [0, 0, 1]])  # fy does not count
        frame = DepthPipeline(predictor, Config()).process(
            image, Camera(width, SIDE, K), outputs=Outputs(relative=True)
        )
        assert frame.fit.state is State.METRIC
        inverse = F.interpolate(output[None, None], (SIDE, width), mode='bilinear')
        expected_m = fx / (inverse[0, 0].numpy() * width)
        known = np.isfinite(frame.depth)
        assert known.mean() > 0.5
        np.testing.assert_allclose(frame.depth[known], expected_m[known], rtol=1e-3)


def test_a_square_of_another_size_is_another_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    folder = save(dpt(), tmp_path / 'tiny', {'size': 64})
    for side in (64, 96):
        image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
        predictor = load(folder, 'onnxruntime', input_size=side)
        assert predictor.spec.input_size == side
        expected = load(folder, input_size=side)(image)
        torch.testing.assert_close(predictor(image), expected, rtol=1e-3, atol=1e-4)


def test_depth_pro_takes_its_own_size_only(tmp_path: Path) -> None:
    folder = save(depth_pro(guesses=False), tmp_path, {'size': {'height': 32, 'width': 32}})
    assert load(folder).spec.input_size == load(folder, input_size=SIDE).spec.input_size == SIDE
    assert f'takes {SIDE}x{SIDE} only: set model.input_size to 0' in message(folder, input_size=96)
    config = json.loads((tmp_path / 'config.json').read_text())
    for ratios in ([], [0.3, 1], 'x', [0, 1]):
        config['scaled_images_ratios'] = ratios
        (tmp_path / 'config.json').write_text(json.dumps(config))
        assert 'scaled_images_ratios must be' in message(folder)


def test_a_zoedepth_for_rooms_and_streets_chooses_by_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    saved = zoedepth(bins=2)
    images = torch.randn(6, 1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():  # between the two for these images
        saved.metric_head.mlp_classifier.linear2.bias -= torch.cat(
            [saved(image).domain_logits for image in images]
        ).mean(dim=0)
    folder = save(saved, tmp_path / 'tiny')
    predictor = load(folder)
    assert (predictor.spec.space, predictor.spec.metric) == ('depth', True)
    assert predictor.spec.max_depth_m == 80.0
    choices = set()
    for image in images:
        with torch.no_grad():
            said = saved(image)
        choices.add(int(said.domain_logits.argmax()))
        torch.testing.assert_close(predictor(image), said.predicted_depth[0])
    assert choices == {0, 1}
    # A graph would keep the choice of the image that it was traced with.
    with pytest.raises(BackendError, match='chooses its heads by the image'):
        load(folder, 'onnxruntime')
    assert load(folder, 'auto').backend.startswith('PyTorch')


@pytest.mark.parametrize('kind', KINDS)
def test_every_depth_estimator_of_transformers_loads_or_says_why_not(
    kind: str, tmp_path: Path
) -> None:
    (tmp_path / 'config.json').write_text(json.dumps({'model_type': kind}))
    if kind in ('depth_anything', 'depth_pro', 'dpt', 'glpn', 'zoedepth'):
        read_spec(tmp_path, ModelConfig())
    else:
        text = message(str(tmp_path))
        assert f'{kind} is not run here: ' in text and 'docs/networks.md' in text
