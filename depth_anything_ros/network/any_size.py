# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth Anything's head without whole numbers of Python, which a traced graph holds for constants.

transformers turns the size to which the head stretches its features into an `int`. Everything
else in its depth networks leaves sizes as they come.
"""

from __future__ import annotations

from typing import Any

from torch import nn, Tensor
import torch.nn.functional as F
from transformers.models.depth_anything.modeling_depth_anything import (
    DepthAnythingDepthEstimationHead,
)


class AnySizeHead(DepthAnythingDepthEstimationHead):  # type: ignore[misc]  # has no types
    """The head of V1, V2 and V2-metric; one traced graph of it serves every size."""

    def forward(self, maps: list[Tensor], patch_height: Any, patch_width: Any) -> Tensor:
        """Return 1xhxw from the neck's 1xCxhxw maps, of which head_in_index names one.

        Args:
            maps: features.
            patch_height: rows of patches in the image; a number, or a tensor while traced.
            patch_width: columns, likewise.
        """
        size = patch_height * self.patch_size, patch_width * self.patch_size
        features = self.conv1(maps[self.head_in_index])
        features = F.interpolate(features, size, mode='bilinear', align_corners=True)
        features = self.activation1(self.conv2(features))
        depth: Tensor = self.activation2(self.conv3(features)) * self.max_depth
        return depth.squeeze(dim=1)


def use_any_size(network: nn.Module) -> None:
    """Let a network be traced for all sizes; it computes the same."""
    for module in network.modules():
        if type(module) is DepthAnythingDepthEstimationHead:
            module.__class__ = AnySizeHead
