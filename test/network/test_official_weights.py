# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Official .pth files, against a forward pass written here straight from their keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.errors import CheckpointError
from depth_anything_ros.network import official_weights
from depth_anything_ros.network.backends import TorchPredictor
from depth_anything_ros.network.predictor import load_predictor
from official_files import GRID, official_shapes, official_state, TINY, WIDTH

CPU = RuntimeConfig(device='cpu', backend='torch')


def official_forward(
    state: dict[str, Tensor], image: Tensor, blocks: tuple[int, ...], heads: int, max_depth: float
) -> Tensor:
    """Compute what the authors' network computes, on its own keys.

    Works at the size of the position embeddings only; max_depth 0 means a relative network.
    """
    def linear(name: str, x: Tensor) -> Tensor:
        return functional.linear(x, state[f'{name}.weight'], state[f'{name}.bias'])

    def norm(name: str, x: Tensor) -> Tensor:
        return functional.layer_norm(
            x, x.shape[-1:], state[f'{name}.weight'], state[f'{name}.bias'], eps=1e-6
        )

    def conv(name: str, x: Tensor, **options: int) -> Tensor:
        return functional.conv2d(x, state[f'{name}.weight'], state.get(f'{name}.bias'), **options)

    x = conv('pretrained.patch_embed.proj', image, stride=14)
    rows, columns = x.shape[-2:]
    x = torch.cat([state['pretrained.cls_token'], x.flatten(2).mT], dim=1)
    x = x + state['pretrained.pos_embed']
    maps = []
    for i in range(max(blocks) + 1):
        block = f'pretrained.blocks.{i}'
        qkv = linear(f'{block}.attn.qkv', norm(f'{block}.norm1', x))
        q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # 1 x heads x N x d
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)
        attended = linear(f'{block}.attn.proj', (weights @ v).transpose(1, 2).flatten(2))
        x = x + state[f'{block}.ls1.gamma'] * attended
        hidden = functional.gelu(linear(f'{block}.mlp.fc1', norm(f'{block}.norm2', x)))
        x = x + state[f'{block}.ls2.gamma'] * linear(f'{block}.mlp.fc2', hidden)
        if i in blocks:
            tokens = norm('pretrained.norm', x)[:, 1:]
            maps.append(tokens.mT.unflatten(-1, (rows, columns)))

    maps = [conv(f'depth_head.projects.{i}', m) for i, m in enumerate(maps)]
    for i, factor in ((0, 4), (1, 2)):
        name = f'depth_head.resize_layers.{i}'
        maps[i] = functional.conv_transpose2d(
            maps[i], state[f'{name}.weight'], state[f'{name}.bias'], stride=factor
        )
    maps[3] = conv('depth_head.resize_layers.3', maps[3], stride=2, padding=1)
    maps = [conv(f'depth_head.scratch.layer{i + 1}_rn', m, padding=1) for i, m in enumerate(maps)]

    def residual(name: str, x: Tensor) -> Tensor:
        return x + conv(
            f'{name}.conv2', conv(f'{name}.conv1', x.relu(), padding=1).relu(), padding=1
        )

    def resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
        return functional.interpolate(x, size, mode='bilinear', align_corners=True)

    path = maps[3]
    for i in (4, 3, 2, 1):
        name = f'depth_head.scratch.refinenet{i}'
        if i < 4:
            path = path + residual(f'{name}.resConfUnit1', maps[i - 1])
        path = residual(f'{name}.resConfUnit2', path)
        size = maps[i - 2].shape[-2:] if i > 1 else tuple(2 * side for side in path.shape[-2:])
        path = conv(f'{name}.out_conv', resize(path, size))
    out = resize(conv('depth_head.scratch.output_conv1', path, padding=1), image.shape[-2:])
    out = conv('depth_head.scratch.output_conv2.0', out, padding=1).relu()
    out = conv('depth_head.scratch.output_conv2.2', out)
    return (out.sigmoid() * max_depth if max_depth else out.relu())[0, 0]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """A tiny network of the official shape, known under its own width."""
    monkeypatch.setitem(official_weights.ARCHITECTURES, WIDTH, TINY)
    return official_state(WIDTH, TINY)


def save(state: dict[str, Tensor], folder: Path, name: str) -> str:
    path = folder / name
    torch.save(state, path)
    return str(path)


def load(checkpoint: str, **options: object) -> TorchPredictor:
    return load_predictor(ModelConfig(checkpoint=checkpoint, **options), CPU)


IMAGE = torch.randn(1, 3, 14 * GRID, 14 * GRID, generator=torch.Generator().manual_seed(6))


@pytest.mark.parametrize(('name', 'blocks', 'max_depth'), [
    ('depth_anything_vits14.pth', (2, 3, 4, 5), 0.0),
    ('depth_anything_v2_vitb.pth', (0, 2, 3, 5), 0.0),
    ('depth_anything_v2_metric_hypersim_vitl.pth', (0, 2, 3, 5), 20.0),
    ('depth_anything_v2_metric_vkitti_vits.pth', (0, 2, 3, 5), 80.0),
])
def test_the_file_name_decides_what_the_same_weights_compute(
    tmp_path: Path, tiny: dict[str, Tensor], name: str, blocks: tuple[int, ...], max_depth: float
) -> None:
    predictor = load(save(tiny, tmp_path, name))
    expected = official_forward(tiny, IMAGE, blocks, TINY.heads, max_depth)
    assert (expected > 0).all()  # else the final ReLU would hide differences
    assert expected.std() > 1e-2 * expected.mean()
    torch.testing.assert_close(predictor(IMAGE), expected, rtol=1e-4, atol=1e-5)
    spec = predictor.spec
    assert (spec.space, spec.metric, spec.max_depth_m) == (
        ('depth', True, max_depth) if max_depth else ('inverse_depth', False, None)
    )
    assert (spec.input_size, spec.multiple) == (518, 14)
    assert spec.name == name.removesuffix('.pth')


# What the authors' code (github.com/DepthAnything/Depth-Anything-V2, DinoVisionTransformer and
# DPTHead at the sizes of TINY) says of official_state() and noise: family and size -> every 7th
# pixel of every 7th row.
AUTHORS = np.load(Path(__file__).with_name('authors_v2.npz'))


@pytest.mark.parametrize('case', AUTHORS.files)
def test_the_authors_code_agrees_at_every_size(
    tmp_path: Path, tiny: dict[str, Tensor], case: str
) -> None:
    variant, size = case.split()
    height, width = map(int, size.split('x'))
    image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(6))
    predictor = load(save(tiny, tmp_path, 'tiny.pth'), variant=variant)
    expected = torch.from_numpy(AUTHORS[case])
    torch.testing.assert_close(predictor(image)[::7, ::7], expected, rtol=1e-4, atol=0)


def test_both_formats_of_the_same_weights_agree(tmp_path: Path, tiny: dict[str, Tensor]) -> None:
    official = load(save(tiny, tmp_path, 'depth_anything_v2_vits.pth'))
    official.network.save_pretrained(tmp_path / 'hf')
    folder = load(str(tmp_path / 'hf'))
    wide = torch.randn(1, 3, 56, 98)
    torch.testing.assert_close(folder(wide), official(wide), rtol=1e-4, atol=1e-6)


def test_parameters_overrule_the_file_name(tmp_path: Path, tiny: dict[str, Tensor]) -> None:
    path = save(tiny, tmp_path, 'my_finetuned.pth')
    predictor = load(path, variant='v2-metric', max_depth=12.5, canonical_focal=300.0)
    expected = official_forward(tiny, IMAGE, TINY.decoded_v2, TINY.heads, 12.5)
    torch.testing.assert_close(predictor(IMAGE), expected, rtol=1e-4, atol=1e-5)
    assert predictor.spec.max_depth_m == 12.5
    assert predictor.spec.canonical_focal_px == 300.0
    assert load(path, variant='v1', input_size=392).spec.input_size == 392


def test_official_sizes_are_those_of_the_authors_networks() -> None:
    described = {
        a.name: (width, a.layers, a.heads, a.neck, a.fusion, a.decoded_v1, a.decoded_v2)
        for width, a in official_weights.ARCHITECTURES.items()
    }
    assert described == {
        'ViT-S': (384, 12, 6, (48, 96, 192, 384), 64, (8, 9, 10, 11), (2, 5, 8, 11)),
        'ViT-B': (768, 12, 12, (96, 192, 384, 768), 128, (8, 9, 10, 11), (2, 5, 8, 11)),
        'ViT-L': (1024, 24, 16, (256, 512, 1024, 1024), 256, (20, 21, 22, 23), (4, 11, 17, 23)),
    }


def test_every_key_of_the_real_small_network_is_mapped(tmp_path: Path) -> None:
    small = official_weights.ARCHITECTURES[384]
    shapes = official_shapes(384, small)
    assert set(official_weights.renamed_keys(12)) == set(shapes)
    state = {name: torch.full(shape, 0.01) for name, shape in shapes.items()}
    predictor = load(save(state, tmp_path, 'depth_anything_v2_vits.pth'))
    own = sum(p.numel() for p in predictor.network.parameters())
    assert own == sum(tensor.numel() for tensor in state.values())


def message(checkpoint: str, **options: object) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(checkpoint, **options)
    text = str(caught.value)
    assert '\n' not in text
    return text


def test_an_unofficial_name_asks_for_the_variant(tmp_path: Path, tiny: dict[str, Tensor]) -> None:
    path = save(tiny, tmp_path, 'latest.pth')
    variants = 'v1, v2, v2-metric, da3-metric, da3-mono or da3-any-view'
    assert f'set model.variant to {variants}' in message(path)
    assert 'set model.max_depth' in message(path, variant='v2-metric')


def test_a_truncated_file_says_so(tmp_path: Path, tiny: dict[str, Tensor]) -> None:
    path = Path(save(tiny, tmp_path, 'depth_anything_v2_vits.pth'))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b'', b'version https://git-lfs.github.com/spec/v1'):
        path.write_bytes(content)
        assert 'download it again' in message(str(path))


def test_code_inside_a_file_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return Path.write_text, (tmp_path / 'bang', 'boom')

    path = save({'pretrained.cls_token': Bomb()}, tmp_path, 'depth_anything_v2_vits.pth')
    assert 'cannot be read' in message(path)
    assert not (tmp_path / 'bang').exists()


def test_missing_and_unknown_keys_are_listed(tmp_path: Path, tiny: dict[str, Tensor]) -> None:
    tiny['pretrained.extra'] = tiny.pop('pretrained.blocks.3.attn.qkv.bias')
    text = message(save(tiny, tmp_path, 'depth_anything_v2_vits.pth'))
    assert '1 keys are missing (pretrained.blocks.3.attn.qkv.bias)' in text
    assert '1 keys are unknown (pretrained.extra)' in text


def test_a_tensor_of_the_wrong_size_is_named(tmp_path: Path, tiny: dict[str, Tensor]) -> None:
    tiny['depth_head.projects.2.weight'] = torch.zeros(13, WIDTH, 1, 1)
    text = message(save(tiny, tmp_path, 'depth_anything_v2_vits.pth'))
    assert 'neck.reassemble_stage.layers.2.projection.weight' in text
    assert '(13, 24, 1, 1) instead of (12, 24, 1, 1)' in text


def test_other_networks_are_refused(tmp_path: Path, tiny: dict[str, Tensor]) -> None:
    name = 'depth_anything_v2_vits.pth'
    assert 'no pretrained.cls_token' in message(save({'a': torch.zeros(1)}, tmp_path, name))
    assert 'model.state_dict()' in message(save({'model': tiny, 'epoch': 3}, tmp_path, name))
    tiny['pretrained.cls_token'] = torch.zeros(1, 1, 1536)
    assert 'width 1536' in message(save(tiny, tmp_path, name))
