# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""DINOv2 by itself, for training: a folder in Hugging Face format or its authors' .pth file."""

from __future__ import annotations

import math
from pathlib import Path

from transformers import Dinov2Config, Dinov2Model

from depth_anything_ros.errors import CheckpointError
from depth_anything_ros.network import official_weights, weights
from depth_anything_ros.network.checkpoint import (
    check_size,
    from_pretrained,
    known_config,
    quiet,
    refused,
)
from depth_anything_ros.network.spec import read_config

_OFFICIAL, _OURS = 'pretrained.', 'backbone.'  # where a depth network's file has its encoder


def is_encoder(path: Path) -> bool:
    """Tell DINOv2 from a depth network by its config.json, or by the keys of its file."""
    if path.is_dir():
        return read_config(path).text('model_type') == 'dinov2'
    return 'cls_token' in weights.read(path)


def load_encoder(path: Path) -> Dinov2Model:
    """Load a DINOv2 encoder without registers.

    Args:
        path: a folder, or a file such as dinov2_vits14_pretrain.pth.

    Returns:
        The encoder, float32 on the CPU.

    Raises:
        CheckpointError: it cannot be read, or is something else.
    """
    if not is_encoder(path):
        raise CheckpointError(f'{path} is no DINOv2 encoder: give facebook/dinov2-small, -base or '
                              '-large, such a folder, or dinov2_vits14_pretrain.pth')
    if not path.is_dir():
        return _load_official(path)
    files = weights.files_in(path)
    with refused(path), quiet():
        config = known_config('dinov2', read_config(path))
    check_size(Dinov2Model, config, files, path)
    state = {name: tensor for file in files for name, tensor in weights.read(file).items()}
    return from_pretrained(Dinov2Model, path, config=config, state_dict=state)


def _load_official(path: Path) -> Dinov2Model:
    state = {_OFFICIAL + name: tensor for name, tensor in weights.read(path).items()}
    architecture = official_weights.architecture_of(state, path)
    table = {theirs: ours
             for theirs, ours in official_weights.renamed_keys(architecture.layers).items()
             if theirs.startswith(_OFFICIAL)}
    renamed = official_weights.convert(state, table, f'DINOv2 {architecture.name}', path)
    converted = {name.removeprefix(_OURS): tensor for name, tensor in renamed.items()}
    width = converted['embeddings.cls_token'].numel()
    positions = converted['embeddings.position_embeddings'].numel() // width
    side = math.isqrt(max(positions - 1, 0)) * official_weights.PATCH_SIZE
    words = official_weights.transformers_config(width, architecture, 'v2', side)
    config = Dinov2Config(**words['backbone_config'])
    check_size(Dinov2Model, config, [path], path)
    return from_pretrained(Dinov2Model, path, config=config, state_dict=converted)
