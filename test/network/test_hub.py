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


def test_what_is_not_here_is_not_asked_for_where_that_is_not_wanted(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked = []
    real = huggingface_hub.snapshot_download

    def snapshot_download(hub_id: str, *, local_files_only: bool, **more: object) -> str:
        asked.append(local_files_only)
        return real(hub_id, local_files_only=local_files_only, **more)

    monkeypatch.setattr(huggingface_hub, 'snapshot_download', snapshot_download)
    with pytest.raises(CheckpointError, match='not in the local cache: did you mean Intel/dpt-lar'):
        hub.locate('Intel/dpt-larg', download=False)
    assert asked and all(asked)
    assert hub.locate('bundled', download=False).is_dir()
