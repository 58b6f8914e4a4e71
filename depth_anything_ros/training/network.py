# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Building a small Depth Anything network that trains well from scratch, and saving it."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

from safetensors import SafetensorError
import torch
from torch import nn, Tensor
import torch.nn.functional as F
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

from depth_anything_ros.config import ModelConfig
from depth_anything_ros.errors import CheckpointError, reason
from depth_anything_ros.network.checkpoint import open_checkpoint
from depth_anything_ros.network.position_embeddings import use_authors_positions
from depth_anything_ros.network.self_check import test_image
from depth_anything_ros.training.augment import MEAN, STD, to_network
from depth_anything_ros.training.config import NetworkConfig, PATCH
from depth_anything_ros.world.primitives import Semantic

SCRATCH_INPUT_SIZE = 140  # pixels
_CELLS = 4  # coarse outputs a patch has along each side
_NEAREST_M = 1e-3  # what a metric network can say, for its inverse
_LARGEST_OUTPUT = 1000.0  # on a plain image; float16 holds 65 times more
_SAVED_ALIKE = 1e-4  # of the largest output
_SMALL = 0.25  # of the size that a layer's weights are drawn at


def build_network(config: NetworkConfig) -> DepthAnythingForDepthEstimation:
    """Make a network of relative inverse depth, as transformers builds it, from scratch.

    Args:
        config: sizes.

    Returns:
        The network; the patch embedding starts as a cosine basis and the positions as waves.
    """
    quarter = config.layers // 4
    input_size = config.input_size or SCRATCH_INPUT_SIZE
    backbone = Dinov2Config(
        hidden_size=config.hidden_size, num_hidden_layers=config.layers,
        num_attention_heads=config.heads, mlp_ratio=4, patch_size=PATCH,
        image_size=input_size, layerscale_value=1.0, apply_layernorm=True,
        reshape_hidden_states=False,
        out_features=[f'stage{quarter * i}' for i in (1, 2, 3)] + [f'stage{config.layers}'])
    network = DepthAnythingForDepthEstimation(DepthAnythingConfig(
        backbone_config=backbone, patch_size=PATCH, reassemble_hidden_size=config.hidden_size,
        neck_hidden_sizes=list(config.neck_sizes), fusion_hidden_size=config.fusion_size,
        **({'depth_estimation_type': 'metric', 'max_depth': config.max_depth_m}
           if config.max_depth_m > 0 else {'depth_estimation_type': 'relative'})))
    use_authors_positions(network)
    embeddings = network.backbone.embeddings
    with torch.no_grad():
        basis = _cosine_basis(config.hidden_size)
        embeddings.patch_embeddings.projection.weight[:len(basis)] = basis
        embeddings.patch_embeddings.projection.bias.zero_()
        side = input_size // PATCH
        embeddings.position_embeddings[0, 1:] = 0.5 * _waves(side, config.hidden_size)
        # The last ReLU dies under a shift-invariant loss; far from zero it starts alive.
        network.head.conv3.bias.fill_(0.0 if config.max_depth_m > 0 else 1.0)
    return network


def _cosine_basis(channels: int) -> Tensor:
    """First two-dimensional cosines of a patch: two thirds of light, one third of colour.

    Low frequencies hold most of a picture's energy and would rule the input, so each is divided
    by about the amplitude it has in pictures, which falls with its frequency. A patch has no more
    than PATCH^2 of each; what a wide network has beyond them is left as it was drawn.
    """
    k = torch.arange(PATCH)
    wave = torch.cos(math.pi * (k[None] + 0.5) * k[:, None] / PATCH)  # frequency x pixel
    wave = F.normalize(wave, dim=1)
    order = sorted(((i, j) for i in range(PATCH) for j in range(PATCH)),
                   key=lambda ij: (ij[0] ** 2 + ij[1] ** 2, ij))
    opponents = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [0.5, 0.5, -1.0]])
    opponents = F.normalize(opponents, dim=1)
    colour = channels // 6
    rows = []
    for axis, count in ((0, channels - 2 * colour), (1, colour), (2, colour)):
        for i, j in order[:count]:
            basis = torch.outer(wave[i], wave[j])
            frequency = math.hypot(i, j)
            gain = (0.1 if frequency == 0 else 0.25 * frequency) * (1.0 if axis == 0 else 2.5)
            rows.append(opponents[axis][:, None, None] * basis * min(gain, 2.5))
    return torch.stack(rows)


def _waves(side: int, channels: int) -> Tensor:
    """Sine and cosine positions of a square grid, (side * side) x channels."""
    quarter = channels // 4
    rate = torch.exp(torch.linspace(math.log(math.pi / side), math.log(math.pi), quarter))
    along = torch.arange(side)[:, None] * rate  # side x quarter
    line = torch.cat([along.sin(), along.cos()], dim=1)
    grid = torch.cat([line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)], dim=2)
    return grid.reshape(side * side, -1)


def is_metric(network: DepthAnythingForDepthEstimation) -> bool:
    """Whether a network predicts metres; else relative inverse depth."""
    return bool(network.config.depth_estimation_type == 'metric')


def inverse_depth_of(network: DepthAnythingForDepthEstimation, output: Tensor) -> Tensor:
    """Return inverse depth, whichever of depth and inverse depth a network's output is."""
    return 1 / output.clamp(min=_NEAREST_M) if is_metric(network) else output


class Trainee(nn.Module):
    """A network with what only training needs: a leaky output and a coarse head on the encoder.

    The coarse head reads inverse depth and class from the encoder's last tokens, so the encoder
    learns what is where before the decoder is of any use.
    """

    def __init__(self, network: DepthAnythingForDepthEstimation) -> None:
        super().__init__()
        self.network = network
        outputs = (1 + len(Semantic)) * _CELLS * _CELLS
        self.coarse = nn.Linear(network.config.backbone_config.hidden_size, outputs)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predict.

        Args:
            image: Bx3xHxW float32 RGB, 0 to 1; sides are multiples of 14.

        Returns:
            prediction: BxHxW float32, relative inverse depth; negative where the network's own
                output is 0.
            coarse: BxhxW' float32, the same at 4 cells a patch.
            logits: BxKxhxW' float32 of the classes.
        """
        prediction, features = self.predict(image)
        rows, columns = image.shape[2] // PATCH, image.shape[3] // PATCH
        coarse = self.coarse(features).float().transpose(1, 2)
        coarse = F.pixel_shuffle(coarse.unflatten(2, (rows, columns)), _CELLS)
        return prediction, coarse[:, 0], coarse[:, 1:]

    def predict(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Predict, and return the encoder's last patch tokens too.

        Args:
            image: Bx3xHxW float32 RGB, 0 to 1; sides are multiples of 14.

        Returns:
            prediction: BxHxW float32, as from forward; metres for a metric network.
            features: BxNxC, after the encoder's last normalisation.
        """
        rows, columns = image.shape[2] // PATCH, image.shape[3] // PATCH
        features = self.network.backbone(to_network(image)).feature_maps
        head = self.network.head
        x = head.conv1(self.network.neck(list(features), rows, columns)[head.head_in_index])
        x = F.interpolate(x, image.shape[2:], mode='bilinear', align_corners=True)
        x = F.relu(head.conv2(x))
        with torch.autocast(image.device.type, enabled=False):
            prediction = head.conv3(x.float())[:, 0]
            if is_metric(self.network):
                prediction = head.activation2(prediction)
        return prediction * head.max_depth, features[-1][:, 1:]


def coarse_targets(target: Tensor, size: torch.Size) -> Tensor:
    """Nearest-pixel BxHxW at the coarse head's size (h, w)."""
    return F.interpolate(target[:, None].float(), tuple(size), mode='nearest-exact')[:, 0]


@torch.no_grad()
def within_half(
    network: DepthAnythingForDepthEstimation
) -> tuple[DepthAnythingForDepthEstimation, float]:
    """Return a network that float16 holds, and the factor on its output; mostly itself and 1.

    A scale-invariant loss lets the output drift, to a million and beyond what float16 holds: what
    exceeds 1000 on a plain image is brought to 1 in a copy. From
    the neck's convolutions on the decoder is positively homogeneous (convolutions, ReLU, bilinear
    resizing), so scaling weights there and biases after them scales the output; it is spread over
    four layers, so that neither weights nor activations leave float16's range. A metric network
    ends in a sigmoid, and is neither homogeneous nor drifts.
    """
    plain = torch.zeros(1, 3, 10 * PATCH, 10 * PATCH, device=network.device)
    largest = float(network(plain).predicted_depth.max())
    if is_metric(network) or largest <= _LARGEST_OUTPUT:
        return network, 1.0
    scaled = copy.deepcopy(network)
    step = largest ** (-2 / 9)
    _scale_decoder(scaled, largest ** (-1 / 3), (step, step, step))
    return scaled, 1 / largest


@torch.no_grad()
def grow_small_layers(network: DepthAnythingForDepthEstimation) -> None:
    """Bring layers that within_half() made small back to the size that they are drawn at.

    A step of Adam moves every weight by about the learning rate, however small it is: a decoder of
    tiny weights is forgotten within a few. In place; of a relative network only the scale of the
    output changes, a metric one stays as it is.
    """
    if is_metric(network):
        return

    def factor(*layers: nn.Conv2d) -> float:
        drawn = [(3 * layer.weight[0].numel()) ** -0.5 for layer in layers]  # PyTorch's own
        sizes = [float(layer.weight.square().mean().sqrt()) / rms
                 for layer, rms in zip(layers, drawn)]
        size = sum(sizes) / len(sizes)
        return 1 / size if 0 < size < _SMALL else 1.0

    head = network.head
    _scale_decoder(network, factor(*network.neck.convs),
                   (factor(head.conv1), factor(head.conv2), factor(head.conv3)))


def _scale_decoder(network: DepthAnythingForDepthEstimation, features: float,
                   steps: tuple[float, float, float]) -> None:
    """Multiply the neck's features and the head's layers, and with them the output, in place."""
    for convolution in network.neck.convs:
        convolution.weight *= features
    for name, parameter in network.neck.fusion_stage.named_parameters():
        if name.endswith('bias'):
            parameter *= features
    head, bias = network.head, features
    for layer, step in zip((head.conv1, head.conv2, head.conv3), steps):
        bias *= step
        layer.weight *= step
        layer.bias *= bias


@torch.no_grad()
def save_network(network: DepthAnythingForDepthEstimation, folder: Path, input_size: int) -> None:
    """Write a folder in Hugging Face format: config, safetensors, preprocessing.

    Args:
        network: float32; left as it is.
        folder: made when absent.
        input_size: shorter side of the network's input in pixels.

    Raises:
        OSError: the disk is full or not writable.
        CheckpointError: what was written does not answer as the network does.
    """
    written, factor = within_half(network)
    try:
        written.save_pretrained(folder)
    except SafetensorError as error:  # what the disk says, as a kind of its own
        raise OSError(reason(error)) from error
    preprocessing = {
        'image_processor_type': 'DPTImageProcessor', 'do_rescale': True,
        'rescale_factor': 1 / 255, 'do_normalize': True, 'image_mean': list(MEAN),
        'image_std': list(STD), 'do_resize': True, 'resample': 3, 'keep_aspect_ratio': True,
        'ensure_multiple_of': PATCH, 'size': {'height': input_size, 'width': input_size},
    }
    (folder / 'preprocessor_config.json').write_text(json.dumps(preprocessing, indent=2) + '\n')
    loaded = open_checkpoint(folder, ModelConfig(checkpoint=str(folder))).load().to(network.device)
    image = test_image(5 * PATCH, 7 * PATCH).to(network.device)
    expected = factor * network(image).predicted_depth
    off = float((loaded(image).predicted_depth - expected).abs().max() / expected.abs().max())
    if not off <= _SAVED_ALIKE and bool(expected.any()):
        raise CheckpointError(f'what was written to {folder} answers otherwise than the trained '
                              f'network, by {off:.2g} of the largest output: check the disk; where '
                              'that is sound, report it as a bug')
