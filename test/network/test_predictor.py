# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in Hugging Face format, devices, precision; official files have their own tests."""

from __future__ import annotations

import json
import os
from pathlib import Path
import subprocess
import sys

import pytest
import torch
import transformers

from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.errors import CheckpointError, DeviceError
from depth_anything_ros.network import hub
from depth_anything_ros.network.backends import TorchPredictor
from depth_anything_ros.network.devices import select_device, select_dtype
from depth_anything_ros.network.position_embeddings import use_authors_positions
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.network.spec import ModelSpec, read_spec
from depth_anything_ros.network.threads import torch_threads

VIT = {'hidden_size': 16, 'num_hidden_layers': 4, 'num_attention_heads': 2}
IMAGE = torch.randn(1, 3, 56, 98, generator=torch.Generator().manual_seed(1))


def depth_anything(kind: str = 'relative', max_depth: int = 1) -> torch.nn.Module:
    torch.manual_seed(2)
    network = transformers.DepthAnythingForDepthEstimation(
        transformers.DepthAnythingConfig(
            backbone_config={
                'model_type': 'dinov2', **VIT, 'image_size': 70, 'out_indices': [1, 2, 3, 4],
                'reshape_hidden_states': False,
            },
            reassemble_hidden_size=16,
            neck_hidden_sizes=[4, 8, 12, 16],
            fusion_hidden_size=8,
            depth_estimation_type=kind,
            max_depth=max_depth,
        )
    )
    with torch.no_grad():  # its own initialisation says next to nothing of the image
        for weight in (p for p in network.parameters() if p.ndim > 1):
            weight.copy_(torch.randn_like(weight) / weight[0].numel() ** 0.5)
        network.head.conv3.weight.abs_()  # above the final ReLU
    use_authors_positions(network)
    return network.eval()


def save(network: torch.nn.Module, folder: Path, preprocessor: dict | None = None) -> str:
    network.save_pretrained(folder)
    if preprocessor is not None:
        (folder / 'preprocessor_config.json').write_text(json.dumps(preprocessor))
    return str(folder)


def load(checkpoint: str, precision: str = 'auto', **options: object) -> TorchPredictor:
    runtime = RuntimeConfig(device='cpu', precision=precision, backend='torch')
    return load_predictor(ModelConfig(checkpoint=checkpoint, **options), runtime)


def message(checkpoint: str, **options: object) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(checkpoint, **options)
    text = str(caught.value)
    assert '\n' not in text
    return text


def test_a_relative_folder_predicts_what_the_saved_network_did(tmp_path: Path) -> None:
    network = depth_anything()
    predictor = load(save(network, tmp_path / 'tiny'))
    prediction = predictor(IMAGE)
    with torch.no_grad():
        expected = network(IMAGE).predicted_depth[0]
    torch.testing.assert_close(prediction, expected)
    assert prediction.shape == (56, 98) and prediction.dtype == torch.float32
    assert prediction.min() > 0 and prediction.std() > 0.01 * prediction.mean()
    assert not prediction.requires_grad
    assert not predictor.network.training
    assert not any(p.requires_grad for p in predictor.network.parameters())
    assert predictor.device == torch.device('cpu')
    assert predictor.spec == ModelSpec(str(tmp_path / 'tiny'), 'inverse_depth', False)


def test_a_metric_folder_says_its_range(tmp_path: Path) -> None:
    folder = save(depth_anything('metric', 80), tmp_path)
    spec = load(folder, canonical_focal=300.0).spec
    assert (spec.space, spec.metric, spec.max_depth_m) == ('depth', True, 80.0)
    assert spec.canonical_focal_px == 300.0
    assert load(folder).spec.canonical_focal_px is None


def test_the_preprocessor_file_is_obeyed(tmp_path: Path) -> None:
    folder = save(depth_anything(), tmp_path, {
        'image_mean': [0.1, 0.2, 0.3], 'image_std': [0.4, 0.5, 1], 'ensure_multiple_of': 4,
        'size': {'height': 280, 'width': 364},
    })
    spec = load(folder).spec
    assert (spec.mean, spec.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 1.0))
    assert (spec.input_size, spec.multiple) == (280, 28)  # 28: of the patch's 14 and of 4
    assert load(folder, input_size=392).spec.input_size == 392
    save(depth_anything(), tmp_path, {'do_normalize': False, 'size': {'shortest_edge': 140}})
    spec = load(folder).spec
    assert (spec.mean, spec.std, spec.input_size) == ((0, 0, 0), (1, 1, 1), 140)
    save(depth_anything(), tmp_path, {'image_mean': 0.5})
    assert 'image_mean must be three numbers' in message(folder)


def test_dpt_is_relative_and_square_inside(tmp_path: Path) -> None:
    vit = transformers.DPTConfig(
        **VIT, intermediate_size=32, image_size=64, patch_size=16, neck_hidden_sizes=[8] * 4,
        backbone_out_indices=[0, 1, 2, 3], fusion_hidden_size=8,
    )
    spec = load(save(transformers.DPTForDepthEstimation(vit), tmp_path), input_size=64).spec
    assert (spec.space, spec.metric, spec.resize) == ('inverse_depth', False, 'stretch')
    assert (spec.mean, spec.input_size, spec.multiple) == ((0.5, 0.5, 0.5), 64, 32)


def test_glpn_is_metric(tmp_path: Path) -> None:
    config = transformers.GLPNConfig(
        depths=[1] * 4, hidden_sizes=[8] * 4, num_attention_heads=[1] * 4, decoder_hidden_size=8,
        max_depth=80,
    )
    predictor = load(save(transformers.GLPNForDepthEstimation(config), tmp_path))
    assert (predictor.spec.space, predictor.spec.max_depth_m) == ('depth', 80.0)
    assert (predictor.spec.mean, predictor.spec.multiple) == ((0.0, 0.0, 0.0), 32)
    assert predictor(torch.randn(1, 3, 64, 96)).shape == (64, 96)


def test_zoedepth_is_metric_to_its_farthest_bin(tmp_path: Path) -> None:
    config = {
        'model_type': 'zoedepth',
        'bin_configurations': [
            {'n_bins': 64, 'min_depth': 0.001, 'max_depth': 10.0, 'name': 'nyu'},
            {'n_bins': 64, 'min_depth': 0.001, 'max_depth': 80.0, 'name': 'kitti'},
        ],
    }
    (tmp_path / 'config.json').write_text(json.dumps(config))
    spec = read_spec(tmp_path, ModelConfig())
    assert (spec.space, spec.metric, spec.max_depth_m) == ('depth', True, 80.0)


def test_half_precision_stays_close_and_writes_float32(tmp_path: Path) -> None:
    folder = save(depth_anything(), tmp_path)
    exact, half = load(folder)(IMAGE), load(folder, 'bfloat16')(IMAGE)
    assert half.dtype == torch.float32
    assert not torch.equal(half, exact)
    assert (half - exact).abs().max() < 0.03 * exact.max()
    # Written in bfloat16 there would be steps of 2^-8 of the value.
    assert len(half.unique()) > 10 * len(half.bfloat16().unique())


def test_unknown_networks_are_refused_before_their_weights_are_read(tmp_path: Path) -> None:
    for config in (
        {'model_type': 'swin'}, {}, {'model_type': 'dpt', 'backbone_config': {
            'model_type': 'dinov2'}},
    ):
        (tmp_path / 'config.json').write_text(json.dumps(config))
        assert 'is not known here: use a depth_anything' in message(str(tmp_path))


@pytest.mark.parametrize('kind, why', [
    ('chmv2', 'trees'), ('prompt_depth_anything', 'prompt'),
])
def test_known_networks_that_are_not_run_say_why(tmp_path: Path, kind: str, why: str) -> None:
    (tmp_path / 'config.json').write_text(json.dumps({'model_type': kind}))
    text = message(str(tmp_path))
    assert f'{kind} is not run here' in text and why in text and 'docs/networks.md' in text


def test_broken_folders_say_what_is_wrong(tmp_path: Path) -> None:
    assert 'has no config.json' in message(str(tmp_path))
    (tmp_path / 'config.json').write_text('{"model_type": ')
    assert 'cannot be read as JSON' in message(str(tmp_path))
    (tmp_path / 'config.json').write_text('[]')
    assert 'not a JSON object' in message(str(tmp_path))
    save(depth_anything(), tmp_path)
    weights = tmp_path / 'model.safetensors'
    whole = weights.read_bytes()
    for content in (whole[:1000], whole[:-100], b'', b'version https://git-lfs.github.com/spec'):
        weights.write_bytes(content)
        assert 'download or save it again' in message(str(tmp_path))
    weights.unlink()
    assert 'download or save it again' in message(str(tmp_path))


def test_weights_of_another_configuration_are_refused(tmp_path: Path) -> None:
    folder = save(depth_anything(), tmp_path)
    config = json.loads((tmp_path / 'config.json').read_text())
    for key, value, complaint in (
        ('fusion_hidden_size', 10, 'have the wrong size'),
        ('head_hidden_size', 16, 'have the wrong size (head.conv2.bias (32,) instead of (16,)'),
    ):
        (tmp_path / 'config.json').write_text(json.dumps({**config, key: value}))
        assert complaint in message(folder)
    deeper = {**config, 'backbone_config': {**config['backbone_config'], 'num_hidden_layers': 5}}
    deeper['backbone_config'].pop('stage_names')
    (tmp_path / 'config.json').write_text(json.dumps(deeper))
    assert 'tensors are missing (backbone.encoder.layer.4.' in message(folder)
    shallower = {
        **config,
        'backbone_config': {
            **config['backbone_config'], 'num_hidden_layers': 3, 'out_indices': [0, 1, 2, 3],
            'out_features': ['stem', 'stage1', 'stage2', 'stage3'],
        },
    }
    shallower['backbone_config'].pop('stage_names')
    (tmp_path / 'config.json').write_text(json.dumps(shallower))
    assert 'tensors are unknown (backbone.encoder.layer.3.' in message(folder)


def test_the_unused_residual_of_published_dpts_may_be_missing(tmp_path: Path) -> None:
    network = depth_anything()
    folder = save(network, tmp_path)
    state = {
        key: tensor
        for key, tensor in network.state_dict().items()
        if 'fusion_stage.layers.0.residual_layer1' not in key
    }
    network.save_pretrained(folder, state_dict=state)
    torch.testing.assert_close(load(folder)(IMAGE), network(IMAGE).predicted_depth[0].detach())


def test_paths_expand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(depth_anything(), tmp_path / 'models' / 'tiny')
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for checkpoint in ('~/models/tiny', 'models/tiny', './models/tiny'):
        assert load(checkpoint).spec.input_size == 518


def test_what_is_nowhere_is_named(tmp_path: Path) -> None:
    for checkpoint in ('nowhere', '/no/such/model.pth', 'a/b/c', 'weights/v2.pth'):
        assert 'is no file or folder' in message(checkpoint)
    other = tmp_path / 'network.tflite'
    other.write_bytes(b'tflite')
    assert 'is a .tflite file' in message(str(other))


def test_an_empty_checkpoint_is_not_the_working_folder() -> None:
    assert 'model.checkpoint is empty' in message('')


def test_a_hub_id_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    text = message('depth-anything/Depth-Anything-V2-Small-hf')
    assert 'the hub cannot be reached' in text and 'give its path' in text


def test_a_download_without_a_home_is_told_where_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    # As the hub's client has it where HOME is unset and the user has no entry.
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', '~/.cache/huggingface/hub')
    assert 'set HOME or HF_HOME to a folder that can be written' in message('somebody/tiny')


def test_a_cached_hub_id_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[bool] = []

    def snapshot_download(hub_id: str, *, local_files_only: bool, **_: object) -> str:
        assert hub_id == 'somebody/tiny'
        asked.append(local_files_only)
        return folder

    folder = save(depth_anything(), tmp_path)
    monkeypatch.setattr(huggingface_hub, 'snapshot_download', snapshot_download)
    assert load('somebody/tiny').spec.name == 'somebody/tiny'
    assert asked == [True]
    (tmp_path / 'config.json').unlink()
    assert 'its name ends in -hf' in message('somebody/tiny')


def test_bundled_is_looked_for_where_packages_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('AMENT_PREFIX_PATH', raising=False)
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    module = tmp_path / 'source' / 'package' / 'network' / 'x'
    monkeypatch.setattr(hub, '__file__', str(module))
    assert 'bundled checkpoint is not installed' in message('bundled')
    inside = 'checkpoints/depth_anything_world_tiny'
    for root in ('source', 'share/depth_anything_ros'):  # the installed one is preferred
        save(depth_anything(), tmp_path / root / inside, {'size': len(root)})
        assert load('bundled').spec.input_size == len(root)


def test_without_cuda_only_auto_and_cpu_give_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert select_device('cpu') == select_device('auto') == torch.device('cpu')
    for name in ('cuda', 'cuda:0'):
        with pytest.raises(DeviceError, match=f'runtime.device is {name} but'):
            select_device(name)
    with pytest.raises(DeviceError, match='"gpu" is unknown: use auto, cpu, cuda or cuda:N'):
        select_device('gpu')


def test_with_two_cards_each_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert select_device('auto') == select_device('cuda') == torch.device('cuda', 0)
    assert select_device('cuda:1') == torch.device('cuda', 1)
    assert select_device('cpu') == torch.device('cpu')
    with pytest.raises(DeviceError, match='there are only 2 CUDA devices'):
        select_device('cuda:2')


@pytest.mark.parametrize(('capability', 'expected'), [
    ((6, 1), torch.float32), ((7, 2), torch.float16), ((9, 0), torch.float16),
])
def test_precision_follows_the_card(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda _: capability)
    assert select_dtype('auto', torch.device('cuda', 0)) == expected
    assert select_dtype('bfloat16', torch.device('cuda', 0)) == torch.bfloat16
    assert select_dtype('auto', torch.device('cpu')) == torch.float32


def test_import_is_light_and_loading_is_silent(tmp_path: Path) -> None:
    folder = save(depth_anything(), tmp_path)
    program = f"""
import sys
from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.network.predictor import load_predictor
assert 'transformers' not in sys.modules
load_predictor(ModelConfig(checkpoint={folder!r}), RuntimeConfig(device='cpu'))
assert 'torchvision' not in sys.modules
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=False, cwd=root,
        env={**os.environ, 'PYTHONPATH': str(root)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


def test_the_network_alone_has_threads(tmp_path: Path) -> None:
    folder = save(depth_anything(), tmp_path / 'tiny')
    runtime = RuntimeConfig(device='cpu', backend='torch', threads=3)
    predictor = load_predictor(ModelConfig(checkpoint=folder), runtime)
    seen: list[int] = []
    predictor.network.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    with torch_threads(1):
        predictor(IMAGE)
        assert torch.get_num_threads() == 1
    assert seen == [3] and torch.get_num_threads() == before
