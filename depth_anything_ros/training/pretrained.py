# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Networks to start from and to learn from: a name -> a network of its own sizes, and its sense."""

from __future__ import annotations

import copy
import os
from pathlib import Path
import sys
from typing import Any

import torch
from torch import nn, Tensor
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Model

from depth_anything_ros.config import ModelConfig
from depth_anything_ros.errors import CheckpointError
from depth_anything_ros.network import encoder, official_weights
from depth_anything_ros.network.checkpoint import open_checkpoint
from depth_anything_ros.network.hub import locate
from depth_anything_ros.network.position_embeddings import use_authors_positions
from depth_anything_ros.network.spec import ModelSpec
from depth_anything_ros.training.augment import MEAN, STD, to_network
from depth_anything_ros.training.config import PATCH, TrainConfig
from depth_anything_ros.training.network import (
    build_network,
    grow_small_layers,
    inverse_depth_of,
    SCRATCH_INPUT_SIZE,
)


def start_network(config: TrainConfig) -> tuple[DepthAnythingForDepthEstimation, int]:
    """Build the network that a run trains; one that will run at another size is said so.

    Args:
        config: its init, fresh_decoder, network and last phase are looked at.

    Returns:
        The network, float32 on the CPU, and the shorter side of its input in pixels.

    Raises:
        CheckpointError: init cannot be loaded, or its decoder says something else than the run is
            for.
    """
    network, input_size = _built(config)
    sides = sorted({min(size) for size in config.phases[-1].sizes})
    if input_size not in sides and os.environ.get('RANK', '0') == '0':
        said = ', '.join(map(str, sides))
        print(f'the last phase trains at a shorter side of {said} pixels and the node will run at '
              f'{input_size}, where such a network is worse: set network.input_size to '
              f'{sides[-1]}, or end with sizes of {input_size}', file=sys.stderr)
    return network, input_size


def _built(config: TrainConfig) -> tuple[DepthAnythingForDepthEstimation, int]:
    wanted = config.network
    if config.init is None:
        return build_network(wanted), wanted.input_size or SCRATCH_INPUT_SIZE
    try:
        path = locate(config.init)
        if encoder.is_encoder(path):
            dinov2 = encoder.load_encoder(path)
            side = int(dinov2.config.image_size)
            decoder = _decoder_for(dinov2)
            return _fresh_decoder(dinov2, decoder, wanted.max_depth_m), wanted.input_size or side
        network, spec = _depth_network(config.init, path)
    except CheckpointError as error:
        raise CheckpointError(f'cannot start from {config.init}: {error}') from error
    if config.fresh_decoder:
        network = _fresh_decoder(network.backbone, network.config, wanted.max_depth_m)
    elif (spec.max_depth_m or 0) != wanted.max_depth_m:
        says, asked = _sense(spec.max_depth_m or 0), _sense(wanted.max_depth_m)
        raise CheckpointError(
            f'{config.init} predicts {says} and the run is for {asked}: set fresh_decoder: true to '
            f'keep its encoder alone, or network.max_depth_m to {spec.max_depth_m or 0:g}')
    grow_small_layers(network)
    return network, wanted.input_size or spec.input_size


class Teacher(nn.Module):
    """A frozen depth network, asked for inverse depth in full precision."""

    def __init__(self, name: str, device: str) -> None:
        """Load it.

        Raises:
            CheckpointError: it cannot be loaded, or is another kind of network.
        """
        super().__init__()
        try:
            network, _ = _depth_network(name, locate(name))
        except CheckpointError as error:
            raise CheckpointError(f'cannot load the teacher {name}: {error}') from error
        self.network = network.eval().requires_grad_(False).to(device)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Predict, also within autocast in float32: bfloat16 has some 90 values in a picture.

        Args:
            image: Bx3xHxW float32 RGB, 0 to 1; sides are multiples of 14.

        Returns:
            BxHxW float32, inverse depth up to scale, from a relative network to shift too.
        """
        with torch.autocast(image.device.type, enabled=False):
            answer = self.network(to_network(image)).predicted_depth
            return inverse_depth_of(self.network, answer)


def frozen_encoder(name: str, device: str) -> Dinov2Model:
    """Load the DINOv2 encoder to align features with.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    try:
        loaded = encoder.load_encoder(locate(name))
    except CheckpointError as error:
        raise CheckpointError(f'cannot load the encoder {name}: {error}') from error
    return loaded.eval().requires_grad_(False).to(device)


def _depth_network(name: str, path: Path) -> tuple[DepthAnythingForDepthEstimation, ModelSpec]:
    """Load a Depth Anything V1, V2 or V2-metric network, with what its output means."""
    if path.is_file():
        try:
            official_weights.family_of(path, 'auto', 0.0)
        except CheckpointError as error:
            raise CheckpointError(f'the name of {path} must say which network it holds: rename it '
                                  'to the official one, such as depth_anything_v2_vits.pth'
                                  ) from error
    checkpoint = open_checkpoint(path, ModelConfig(checkpoint=name))
    spec = checkpoint.spec
    network: Any = checkpoint.load()
    normalised = spec.multiple == PATCH and (spec.mean, spec.std) == (MEAN, STD)
    if type(network) is not DepthAnythingForDepthEstimation or not normalised:
        raise CheckpointError(f'training knows the networks of Depth Anything V1, V2 and V2-metric '
                              f'only, which {path} is not')
    if spec.max_depth_m:  # of an official file only its name says it
        network.config.max_depth = round(spec.max_depth_m)
    return network, spec


def _decoder_for(dinov2: Dinov2Model) -> DepthAnythingConfig:
    """Describe Depth Anything V2's decoder for an encoder's width."""
    width = dinov2.config.hidden_size
    if width not in official_weights.ARCHITECTURES:
        known = ', '.join(str(size) for size in official_weights.ARCHITECTURES)
        raise CheckpointError(f'an encoder of {width} channels has no decoder here: take one of '
                              f'{known}')
    architecture = official_weights.ARCHITECTURES[width]
    return DepthAnythingConfig(**official_weights.transformers_config(
        width, architecture, 'v2', dinov2.config.image_size))


def _fresh_decoder(
    encoder_only: nn.Module, config: DepthAnythingConfig, max_depth_m: int
) -> DepthAnythingForDepthEstimation:
    """Build a network of an encoder's weights and a decoder that knows nothing yet."""
    config = copy.deepcopy(config)
    config.depth_estimation_type = 'metric' if max_depth_m > 0 else 'relative'
    config.max_depth = max_depth_m or 1
    network = DepthAnythingForDepthEstimation(config)
    use_authors_positions(network)
    network.backbone.load_state_dict(encoder_only.state_dict())
    # As the authors' decoders begin; transformers' much smaller weights let the image fade out.
    for module in (*network.neck.modules(), *network.head.modules()):
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.reset_parameters()
    if not max_depth_m:
        nn.init.constant_(network.head.conv3.bias, 1.0)  # as from scratch: the ReLU starts alive
    return network


def _sense(max_depth_m: float) -> str:
    return f'depth up to {max_depth_m:g} m' if max_depth_m else 'relative inverse depth'
