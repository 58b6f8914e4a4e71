# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a weights file is whole, told without reading its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import save_file
import torch

from depth_anything_ros.errors import CheckpointError
from depth_anything_ros.network.weights import check_whole

TENSORS = {'a': torch.arange(1000.0), 'b': torch.ones(3, 5)}


@pytest.fixture(params=['safetensors', 'pth', 'bin'])
def whole(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a file of each kind."""
    path = tmp_path / f'weights.{request.param}'
    save_file(TENSORS, path) if request.param == 'safetensors' else torch.save(TENSORS, path)
    return path


def test_a_whole_file_is(whole: Path) -> None:
    check_whole(whole)


@pytest.mark.parametrize('left', [0.99, 0.5, 0.01, 0.0])
def test_a_truncated_one_is_not(whole: Path, left: float) -> None:
    data = whole.read_bytes()
    whole.write_bytes(data[: int(left * len(data))])
    with pytest.raises(CheckpointError, match='download it again'):
        check_whole(whole)


@pytest.mark.parametrize('data', [
    b'version https://git-lfs.github.com/spec/v1',
    b'\x02\0\0\0\0\0\0\0[]',
    b'\x08\0\0\0\0\0\0\0{"a": 1}',
    b'\x02\0\0\0\0\0\0\0\xff\xff',
])
def test_something_else_is_not(whole: Path, data: bytes) -> None:
    whole.write_bytes(data)
    with pytest.raises(CheckpointError, match='download it again'):
        check_whole(whole)
