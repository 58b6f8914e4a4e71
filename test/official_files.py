# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random weights in the shape of the authors' .pth files."""

from __future__ import annotations

import torch
from torch import Tensor

from depth_anything_ros.network import official_weights

WIDTH = 24
TINY = official_weights.Architecture('tiny', 6, 2, (4, 8, 12, 16), 8, (0, 2, 3, 5))
GRID = 5  # patches per side of the image that the position embeddings are made for


def official_shapes(width: int, architecture: official_weights.Architecture) -> dict[str, tuple]:
    """Shapes of an official file, read off the authors' network definition."""
    shapes: dict[str, tuple] = {
        'pretrained.cls_token': (1, 1, width),
        'pretrained.mask_token': (1, width),
        'pretrained.pos_embed': (1, GRID * GRID + 1, width),
    }

    def layer(name: str, *shape: int, outputs: int = 0) -> None:
        shapes[f'{name}.weight'] = shape
        shapes[f'{name}.bias'] = (outputs or shape[0],)

    layer('pretrained.patch_embed.proj', width, 3, 14, 14)
    layer('pretrained.norm', width)
    for i in range(architecture.layers):
        block = f'pretrained.blocks.{i}'
        layer(f'{block}.norm1', width)
        layer(f'{block}.attn.qkv', 3 * width, width)
        layer(f'{block}.attn.proj', width, width)
        shapes[f'{block}.ls1.gamma'] = (width,)
        layer(f'{block}.norm2', width)
        layer(f'{block}.mlp.fc1', 4 * width, width)
        layer(f'{block}.mlp.fc2', width, 4 * width)
        shapes[f'{block}.ls2.gamma'] = (width,)
    neck, fusion = architecture.neck, architecture.fusion
    for i in range(4):
        layer(f'depth_head.projects.{i}', neck[i], width, 1, 1)
        shapes[f'depth_head.scratch.layer{i + 1}_rn.weight'] = (fusion, neck[i], 3, 3)
        layer(f'depth_head.scratch.refinenet{i + 1}.out_conv', fusion, fusion, 1, 1)
        for unit in ('resConfUnit1', 'resConfUnit2'):
            for conv in ('conv1', 'conv2'):
                layer(
                    f'depth_head.scratch.refinenet{i + 1}.{unit}.{conv}', fusion, fusion, 3, 3
                )
    layer('depth_head.resize_layers.0', neck[0], neck[0], 4, 4)
    layer('depth_head.resize_layers.1', neck[1], neck[1], 2, 2)
    layer('depth_head.resize_layers.3', neck[3], neck[3], 3, 3)
    layer('depth_head.scratch.output_conv1', fusion // 2, fusion, 3, 3)
    layer('depth_head.scratch.output_conv2.0', 32, fusion // 2, 3, 3)
    layer('depth_head.scratch.output_conv2.2', 1, 32, 1, 1)
    return shapes


def official_state(width: int, architecture: official_weights.Architecture) -> dict[str, Tensor]:
    """Random weights large enough to show in the output, which the last layer keeps positive."""
    generator = torch.Generator().manual_seed(5)

    def random(shape: tuple) -> Tensor:
        fan_in = max(torch.Size(shape[1:]).numel(), 1)
        return torch.randn(shape, generator=generator) / fan_in**0.5

    state = {name: random(shape) for name, shape in official_shapes(width, architecture).items()}
    state['depth_head.scratch.output_conv2.2.weight'].abs_()
    return state
