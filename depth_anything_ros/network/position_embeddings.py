# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""DINOv2's position embeddings at the size of an image, stretched as Depth Anything's authors do.

Transformers stretches the trained grid of m x m positions by n / m for n patches. The authors of
DINOv2 and of all Depth Anything networks give bicubic interpolation the factor (n + 0.1) / m, and
trained with it (interpolate_offset in dinov2's vision_transformer.py). Written as two matrix
products it is exported as such, and each backend computes the same.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn, Tensor
from transformers.models.dinov2.modeling_dinov2 import Dinov2Embeddings

from depth_anything_ros.network.resampling import bicubic_matrix

_EXCESS = 0.1  # patches


class AuthorsEmbeddings(Dinov2Embeddings):  # type: ignore[misc]  # transformers has no types
    """Patch, class and position embeddings of DINOv2, by its authors' rule for other sizes."""

    def interpolate_pos_encoding(self, embeddings: Tensor, height: Any, width: Any) -> Tensor:
        """Return the position embeddings of an image.

        Args:
            embeddings: 1x(N+1)xC, of the image's patches; only their type is used.
            height: of the image in pixels; a number, or a tensor while a graph is traced.
            width: likewise.

        Returns:
            1x(N+1)xC, the class token's first.
        """
        positions = self.position_embeddings.float()
        side = math.isqrt(self.patch_embeddings.num_patches)
        rows, columns = (
            pixels // patch
            for pixels, patch in zip((height, width), self.patch_embeddings.patch_size)
        )
        # At the trained size they are taken as they are; arithmetic, so that graphs hold the case.
        excess = _EXCESS - _EXCESS * ((rows == side) * (columns == side))
        down, along = (
            bicubic_matrix(patches, side, positions.device, excess) for patches in (rows, columns)
        )
        grid = (down @ positions[0, 1:].view(side, -1)).unflatten(1, (side, -1))
        grid = along @ grid  # rows x columns x C
        stretched: Tensor = torch.cat([positions[:, :1], grid.flatten(0, 1)[None]], dim=1)
        return stretched.to(embeddings.dtype)


def use_authors_positions(network: nn.Module) -> None:
    """Let all DINOv2 encoders of a network stretch their position embeddings as the authors do."""
    for module in network.modules():
        if type(module) is Dinov2Embeddings:
            module.__class__ = AuthorsEmbeddings
