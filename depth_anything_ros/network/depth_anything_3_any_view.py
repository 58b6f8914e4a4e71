# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth Anything 3's small networks for any number of views, given one: its depth.

V2's encoder and neck once more, of transformers' modules. From block 4 on a camera token stands in
the class token's place, queries and keys are normalised and turned by their patch's place (RoPE, Su
et al. 2021), and every second block looks at all views, where all patches of one view have one
place. The neck reads two blocks side by side, and is told where in the image it is. Source:
github.com/ByteDance-Seed/Depth-Anything-3 (model/dinov2, model/dualdpt.py, configs/da3-small,
configs/da3-base).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn, Tensor
import torch.nn.functional as F
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation
from transformers.modeling_outputs import DepthEstimatorOutput
from transformers.models.dinov2.modeling_dinov2 import Dinov2Attention

from depth_anything_ros.network import depth_anything_3

Rotation = tuple[Tensor, Tensor]  # cosine and sine of an angle for each token and channel

_UNUSED = ('model.cam_enc.', 'model.cam_dec.')  # from camera poses, and to them
_UNUSED_RAYS = '_aux.'  # the second decoder
_CAMERA_TOKEN = 'model.backbone.pretrained.camera_token'
_FIRST = 4  # block from which on the camera token is there: alt_start, qknorm_start, rope_start
_DECODED = 4  # every second block up to the last one: out_layers
_BASE = 100.0  # of the frequencies, of rotations and of places alike
_PLACE_GAIN = 0.1


class _RotaryAttention(Dinov2Attention):  # type: ignore[misc]  # transformers has no types
    """Attention whose queries and keys are normalised and then turned by their tokens' places."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.q_norm = nn.LayerNorm(self.head_dim, eps=depth_anything_3.LAST_NORM_EPS)
        self.k_norm = nn.LayerNorm(self.head_dim, eps=depth_anything_3.LAST_NORM_EPS)

    def forward(
        self, hidden_states: Tensor, attention_mask: None = None, *, rotation: Rotation
    ) -> tuple[Tensor, None]:
        query, key, value = (
            project(hidden_states).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = _turned(self.q_norm(query), rotation), _turned(self.k_norm(key), rotation)
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.o_proj(attended.transpose(1, 2).flatten(2)), None


class DepthAnything3AnyView(DepthAnythingForDepthEstimation):  # type: ignore[misc]
    """Depth up to scale of one view; predicted_depth is 1xhxw."""

    def __init__(self, config: DepthAnythingConfig) -> None:
        """Build the network of a configuration from transformers_config()."""
        super().__init__(config)
        width = config.backbone_config.hidden_size
        self.backbone.layernorm.eps = depth_anything_3.LAST_NORM_EPS
        for block in self.backbone.encoder.layer[_FIRST:]:
            block.attention = _RotaryAttention(config.backbone_config)
        self.camera_token = nn.Parameter(torch.zeros(1, 2, width))  # of the first view, of others
        self.norm = nn.LayerNorm(2 * width)
        self.head.conv3 = nn.Conv2d(config.head_hidden_size, 2, 1)  # depth and confidence

    def forward(self, pixel_values: Tensor) -> DepthEstimatorOutput:
        """Predict from a normalised 1x3xhxw; see Predictor."""
        _, _, height, width = pixel_values.shape  # a slice would be constant in a graph
        patch = self.config.patch_size
        rows, columns = height // patch, width // patch
        aspect = width / height

        maps = []
        for tokens, layer, convolution in zip(
            self._tokens(pixel_values, rows, columns),
            self.neck.reassemble_stage.layers,
            self.neck.convs,
        ):
            patches = self.norm(tokens)[:, 1:].transpose(1, 2)
            grid = patches.reshape(1, -1, rows, columns)
            maps.append(convolution(layer.resize(_placed(layer.projection(grid), aspect))))
        fused = self.head.conv1(self.neck.fusion_stage(maps)[-1])
        whole = F.interpolate(fused, (height, width), mode='bilinear', align_corners=True)
        hidden = self.head.conv2(_placed(whole, aspect)).relu()
        return DepthEstimatorOutput(predicted_depth=self.head.conv3(hidden)[:, 0].exp())

    def _tokens(self, image: Tensor, rows: Any, columns: Any) -> list[Tensor]:
        """Return what the neck reads: two blocks side by side, 1x(N+1)x2C each."""
        backbone = self.backbone
        blocks = backbone.encoder.layer
        head = backbone.config.hidden_size // backbone.config.num_attention_heads
        # In the view each patch has a place, among the views all have one; the camera has none.
        patches = torch.arange(rows * columns, device=image.device)
        own = torch.stack([patches // columns, patches % columns], dim=-1) + 1
        rotations = [_rotation(places, head) for places in (own, torch.ones_like(own))]

        tokens = before = backbone.embeddings(image)
        decoded = range(len(blocks) - 2 * _DECODED + 1, len(blocks), 2)
        maps = []
        for i, block in enumerate(blocks):
            if i == _FIRST:
                tokens = torch.cat([self.camera_token[:, :1], tokens[:, 1:]], dim=1)
            before = tokens
            tokens = block(tokens) if i < _FIRST else block(tokens, rotation=rotations[i % 2])
            if i in decoded:
                maps.append(torch.cat([before, backbone.layernorm(tokens)], dim=-1))
        return maps


def _rotation(places: Tensor, channels: int) -> Rotation:
    """Return how tokens turn: half of a head's channels with the row, half with the column.

    Args:
        places: Nx2, row and column of each patch; the token before them is not turned.
        channels: of a head.
    """
    half = channels // 2
    frequency = _BASE ** (-torch.arange(0, half, 2, device=places.device) / half)
    angles = F.pad(places, (0, 0, 1, 0))[..., None] * frequency
    angles = torch.cat([angles, angles], dim=-1).flatten(-2)
    return angles.cos(), angles.sin()


def _turned(channels: Tensor, rotation: Rotation) -> Tensor:
    """Turn 1 x heads x N x C by pairs: channel k of each half with channel k + C / 4."""
    rows, row_pairs, columns, column_pairs = channels.chunk(4, dim=-1)
    other = torch.cat([-row_pairs, rows, -column_pairs, columns], dim=-1)
    cosine, sine = (part.to(channels.dtype) for part in rotation)
    return channels * cosine + other * sine


def _placed(planes: Tensor, aspect: Any) -> Tensor:
    """Add to 1xCxHxW where in the image each place is: waves along columns, then along rows.

    Args:
        planes: features.
        aspect: width / height of the image.
    """
    _, channels, rows, columns = planes.shape
    channels = channels // 4
    frequency = _BASE ** (-torch.arange(channels, device=planes.device)[:, None] / channels)
    diagonal = (aspect**2 + 1) ** 0.5
    waves = []
    for count, span in ((columns, aspect / diagonal), (rows, 1 / diagonal)):
        where = (2 * torch.arange(count, device=planes.device) + 1 - count) * (span / count)
        phase = where * frequency
        waves.append(_PLACE_GAIN * torch.cat([phase.sin(), phase.cos()]).to(planes.dtype))
    first, second = planes.chunk(2, dim=1)
    return torch.cat([first + waves[0][:, None], second + waves[1][..., None]], dim=1)


def used(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what a published file holds for several views."""
    return {
        key: tensor
        for key, tensor in state.items()
        if not key.startswith(_UNUSED) and _UNUSED_RAYS not in key
    }


def renamed_keys(layers: int) -> dict[str, tuple[str, ...]]:
    """List every key that used() leaves with its name here; see depth_anything_3."""
    table = {
        official: ours
        for official, ours in depth_anything_3.renamed_keys(layers).items()
        if 'sky_output' not in official
    }
    table[_CAMERA_TOKEN] = ('camera_token',)
    for part in ('weight', 'bias'):
        table[f'model.head.norm.{part}'] = (f'norm.{part}',)
        for i in range(_FIRST, layers):
            for kind in 'qk':
                official = f'model.backbone.pretrained.blocks.{i}.attn.{kind}_norm.{part}'
                table[official] = (f'backbone.encoder.layer.{i}.attention.{kind}_norm.{part}',)
    return table
