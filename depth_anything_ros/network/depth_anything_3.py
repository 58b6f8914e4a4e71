# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth Anything 3's monocular networks: depth and sky of one image.

They are V2's encoder and neck, as transformers ships them, under other keys: both heads read the
same features at full size, each a 3x3 and a 1x1 convolution, and depth is the exponential of the
first. Source: github.com/ByteDance-Seed/Depth-Anything-3 (model/dpt.py, configs/da3metric-large,
configs/da3mono-large).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn, Tensor
import torch.nn.functional as F
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation

from depth_anything_ros.network import official_weights

_PREFIXES = {'pretrained.': 'model.backbone.pretrained.', 'depth_head.': 'model.head.'}
LAST_NORM_EPS = 1e-5  # PyTorch's default, where V1 and V2 have 1e-6 throughout
_ABSENT = ('pretrained.mask_token', 'depth_head.scratch.refinenet4.resConfUnit1.')
CLASS_TOKEN = 'model.backbone.pretrained.cls_token'


class _DepthAndSkyHead(nn.Module):
    """From the neck's features to 1x2xhxw: depth, and how much like sky it looks."""

    def __init__(self, config: DepthAnythingConfig) -> None:
        super().__init__()
        features, hidden = config.fusion_hidden_size, config.head_hidden_size
        self.patch_size = config.patch_size
        self.conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        self.conv2 = nn.Conv2d(features // 2, hidden, 3, padding=1)
        self.conv3 = nn.Conv2d(hidden, 1, 1)
        self.sky_conv2 = nn.Conv2d(features // 2, hidden, 3, padding=1)
        self.sky_conv3 = nn.Conv2d(hidden, 1, 1)

    def forward(self, maps: list[Tensor], patch_height: Any, patch_width: Any) -> Tensor:
        size = patch_height * self.patch_size, patch_width * self.patch_size
        shared = F.interpolate(self.conv1(maps[-1]), size, mode='bilinear', align_corners=True)
        depth = self.conv3(self.conv2(shared).relu()).exp()
        sky = self.sky_conv3(self.sky_conv2(shared).relu()).relu()
        return torch.cat([depth, sky.to(depth.dtype)], dim=1)


class DepthAnything3(DepthAnythingForDepthEstimation):  # type: ignore[misc]  # has no types
    """A monocular network of Depth Anything 3; its predicted_depth is 1x2xhxw, depth and sky."""

    def __init__(self, config: DepthAnythingConfig) -> None:
        """Build the network of a configuration from transformers_config()."""
        super().__init__(config)
        self.backbone.layernorm.eps = LAST_NORM_EPS
        self.head = _DepthAndSkyHead(config)


def renamed_keys(layers: int) -> dict[str, tuple[str, ...]]:
    """List every key of a published file with its name here; see official_weights.renamed_keys."""
    table = {
        official: ours
        for official, ours in official_weights.renamed_keys(layers).items()
        if not official.startswith(_ABSENT)
    }
    for i, ours in ((0, 'sky_conv2'), (2, 'sky_conv3')):
        for part in ('weight', 'bias'):
            name = f'depth_head.scratch.sky_output_conv2.{i}.{part}'
            table[name] = (f'head.{ours}.{part}',)
    return {
        f'{theirs}{official.removeprefix(v2)}': ours
        for official, ours in table.items()
        for v2, theirs in _PREFIXES.items()
        if official.startswith(v2)
    }
