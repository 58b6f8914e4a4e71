# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The head that can be traced computes what transformers' own does, at every size."""

from __future__ import annotations

import pytest
from test_predictor import depth_anything
import torch

from depth_anything_ros.network.any_size import AnySizeHead, use_any_size


@pytest.mark.parametrize(('kind', 'max_depth'), [('relative', 1), ('metric', 20)])
def test_the_head_says_what_transformers_does(kind: str, max_depth: int) -> None:
    network = depth_anything(kind, max_depth)
    images = [torch.randn(1, 3, *size) for size in ((42, 56), (98, 70))]
    with torch.no_grad():
        expected = [network(image).predicted_depth for image in images]
        use_any_size(network)
        assert type(network.head) is AnySizeHead
        for image, wanted in zip(images, expected):
            assert torch.equal(network(image).predicted_depth, wanted)
            assert wanted.std() > 0 and wanted.max() <= (max_depth if kind == 'metric' else 1e9)
