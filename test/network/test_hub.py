# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Names of checkpoints: what a misspelt one is told."""

from __future__ import annotations

import huggingface_hub.constants
import pytest

from depth_anything_ros.errors import CheckpointError
from depth_anything_ros.network import hub


def message(checkpoint: str) -> str:
    with pytest.raises(CheckpointError) as caught:
        hub.locate(checkpoint)
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Let the hub's client ask nobody, and find nothing."""
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)


@pytest.mark.parametrize(('given', 'meant'), [
    ('depth-anything/Depth-Anything-V2-Smal-hf', 'depth-anything/Depth-Anything-V2-Small-hf'),
    ('depth-anything/Depth-Anything-V2-Large', 'depth-anything/Depth-Anything-V2-Large-hf'),
    ('depth_anything/depth_anything_v2_base_hf', 'depth-anything/Depth-Anything-V2-Base-hf'),
    ('DA3METRIC-LARGE', 'depth-anything/DA3METRIC-LARGE'),
    ('da3mono-large', 'depth-anything/DA3MONO-LARGE'),
    ('Intel/dpt-larg', 'Intel/dpt-large'),
    ('glpn-kitti', 'vinvino02/glpn-kitti'),
    ('bundeld', 'bundled'),
])
def test_a_misspelt_name_is_told_the_nearest(given: str, meant: str) -> None:
    assert f'did you mean {meant}? Else ' in message(given)


@pytest.mark.parametrize('given', [
    'depth-anything/Depth-Anything-V2-Small-hf', 'somebody/tiny', 'nowhere', 'models/my_v2.pth',
    '/opt/models/indoor', 'x' * 5000,
])
def test_others_are_told_nothing(given: str) -> None:
    assert 'did you mean' not in message(given)
