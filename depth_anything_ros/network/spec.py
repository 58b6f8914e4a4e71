# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a network wants as input and what its output means."""

from __future__ import annotations

from dataclasses import dataclass
import math
from pathlib import Path
from typing import Any

from torch import Tensor
import torch.nn.functional as F

from depth_anything_ros.config import ModelConfig
from depth_anything_ros.errors import CheckpointError
from depth_anything_ros.network.untrusted import Fields, read_json

_Triple = tuple[float, float, float]

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# What files may ask for, lowest and highest.
_INPUT_SIZE, _MULTIPLE, _DEPTH_M = (1, 2048), (1, 256), (1e-3, 1e6)
_MEAN, _STD = (-1000.0, 1000.0), (1e-3, 1000.0)
_LARGEST = 1 << 16  # of all numbers in a config.json; the widest of these networks have 4096
_LONGEST, _DEEPEST = {list: 256, dict: 2048}, 6
_REPEATED = {'num_hidden_layers', 'num_encoder_blocks', 'num_patch_transformer_layers', 'depths'}
_MOST_LAYERS = 128

_HALF, _ZERO, _ONE = (0.5, 0.5, 0.5), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

# model_name in the config.json of Depth Anything 3's networks -> model.variant, and the blocks that
# are decoded: configs/*.yaml, out_layers.
_DEPTH_ANYTHING_3 = {
    'da3metric-large': ('da3-metric', [4, 11, 17, 23]),
    'da3mono-large': ('da3-mono', [4, 11, 17, 23]),
    'da3-small': ('da3-any-view', [5, 7, 9, 11]),
    'da3-base': ('da3-any-view', [5, 7, 9, 11]),
}
_DA3_CANONICAL_FOCAL_PX = 300.0  # alignment.py, apply_metric_scaling()
_DA3_LONGER_SIDE = 504  # api.py, process_res
SKY_FROM = 0.3  # alignment.py, compute_sky_mask(): what the sky plane says of sky, at least
_RESIZES = ('lower_bound', 'upper_bound', 'stretch')

# Depth estimators of transformers that are not run here, and why.
_NOT_RUN = {
    'chmv2': 'it says how high trees are in pictures from above, not depth',
    'prompt_depth_anything': 'its prompt is a dense depth image, which a lidar has not; take '
                             'depth-anything/Depth-Anything-V2-Small-hf with points',
    'tipsv2_dpt': 'nobody has compared its metres with its authors\' here',
}


@dataclass(frozen=True)
class ModelSpec:
    """What a network wants and what its output means.

    Attributes:
        name: hub id, folder or file name, for people.
        space: 'inverse_depth' (nearer is larger) or 'depth'.
        metric: whether the output is in metres (or 1/m), at the canonical focal length if any.
        max_depth_m: largest depth that the network can say, None where there is no limit.
        canonical_focal_px: focal length at network-input resolution for which metres are true;
            None where the network does not depend on one.
        input_size: recommended side of the input in pixels: the shorter one where resize is
            'lower_bound', the longer one where it is 'upper_bound', both where it is 'stretch'.
        multiple: both sides of the input must be multiples of this many pixels.
        mean: of RGB in [0, 1], subtracted first.
        std: of RGB in [0, 1], divided by after.
        resize: 'lower_bound', 'upper_bound' or 'stretch'; see preprocessing.network_size().
        has_sky: whether the prediction is 2xhxw, its second plane saying what is sky: from
            SKY_FROM on.
    """

    name: str
    space: str
    metric: bool
    max_depth_m: float | None = None
    canonical_focal_px: float | None = None
    input_size: int = 518
    multiple: int = 14
    mean: _Triple = _IMAGENET_MEAN
    std: _Triple = _IMAGENET_STD
    resize: str = 'lower_bound'
    has_sky: bool = False


def at_size_of(image: Tensor, prediction: Tensor) -> Tensor:
    """Stretch a prediction to its image's size: some networks answer at half of it.

    Args:
        image: 1x3xHxW, or Nx3xHxW.
        prediction: one or two planes of hxw for each image, with leading ones or without.

    Returns:
        HxW, or 2xHxW; of several images NxHxW, or Nx2xHxW.
    """
    planes = prediction.reshape(len(image), -1, *prediction.shape[-2:])
    if planes.shape[-2:] != image.shape[-2:]:
        planes = F.interpolate(planes, image.shape[-2:], mode='bilinear')
    return planes[0].squeeze(0) if len(image) == 1 else planes.squeeze(1)


def read_spec(folder: Path, model: ModelConfig) -> ModelSpec:
    """Read what a network in Hugging Face format wants and predicts.

    Args:
        folder: holds config.json and, mostly, preprocessor_config.json.
        model: model.input_size and model.canonical_focal overrule the files.

    Raises:
        CheckpointError: a file cannot be read, or what this kind of network predicts is not known.
    """
    config = read_config(folder)
    kind, model_name = config.text('model_type'), config.text('model_name')
    if model_name and not kind:
        return _read_depth_anything_3(model_name, config, model)
    space, max_depth_m, resize, focal_px = 'inverse_depth', None, 'lower_bound', None
    metric = kind not in ('depth_anything', 'dpt')
    size, multiple, mean, std = 518, 14, _IMAGENET_MEAN, _IMAGENET_STD
    if kind == 'depth_anything':
        metric = config.text('depth_estimation_type', 'relative') == 'metric'
        space = 'depth' if metric else space
        max_depth_m = config.number('max_depth', 1.0, *_DEPTH_M) if metric else None
        multiple = config.integer('patch_size', multiple, 1, 64)
    elif kind == 'dpt' and config.section('backbone_config').text('model_type') != 'dinov2':
        # MiDaS 3 and 3.1. (DINOv2's own DPT heads predict depth on a scale they do not state.)
        size, multiple, mean, std = 384, 32, _HALF, _HALF
        is_hybrid = config.flag('is_hybrid', False)
        if config.content.get('backbone_config') is None or is_hybrid:  # for squares only
            resize = 'stretch'
    elif kind == 'depth_pro':
        resize, multiple, mean, std = 'stretch', 1, _HALF, _HALF
        size = _tiled_side(config)
        if model.input_size not in (0, size):
            raise CheckpointError(f'{folder} takes {size}x{size} only: set model.input_size to 0')
        focal_px = float(size)  # 1 / Z = out * width / f
    elif kind == 'zoedepth':
        space = 'depth'
        bins = [b for b in config.sections('bin_configurations') if 'max_depth' in b.content]
        max_depth_m = max((b.number('max_depth', 1.0, *_DEPTH_M) for b in bins), default=None)
        size, multiple, mean, std = 384, 32, _HALF, _HALF
    elif kind == 'glpn':
        space, max_depth_m = 'depth', config.number('max_depth', 10.0, *_DEPTH_M)
        size, multiple, mean, std = 480, 32, _ZERO, _ONE
    else:
        if kind in _NOT_RUN:
            raise CheckpointError(
                f'{folder}: {kind} is not run here: {_NOT_RUN[kind]}; docs/networks.md lists what '
                'is'
            )
        raise CheckpointError(
            f'{folder}: what a "{kind[:40]}" network predicts (depth or inverse depth, in which '
            'unit) is not known here: use a depth_anything, dpt (MiDaS), depth_pro, zoedepth or '
            'glpn checkpoint'
        )
    path = folder / 'preprocessor_config.json'
    wants = read_json(path) if path.exists() else Fields({}, str(path))
    if wants.flag('do_normalize', True):
        mean = wants.three('image_mean', mean, *_MEAN)
        std = wants.three('image_std', std, *_STD)
    else:
        mean, std = _ZERO, _ONE
    multiple = math.lcm(multiple, wants.integer('ensure_multiple_of', 1, 1, _MULTIPLE[1]))
    if multiple > _MULTIPLE[1]:
        raise wants.wrong('ensure_multiple_of', f'such that sides need no more than {_MULTIPLE[1]}')
    return ModelSpec(
        name=model.checkpoint,
        space=space,
        metric=metric,
        max_depth_m=max_depth_m,
        canonical_focal_px=(model.canonical_focal or focal_px) if metric else None,
        input_size=size if focal_px else model.input_size or _shorter_side(wants, size),
        multiple=multiple,
        mean=mean,
        std=std,
        resize=resize,
    )


def _tiled_side(config: Fields) -> int:
    """Return the side in pixels of Depth Pro's input: the smallest copy of it is one tile."""
    ratios = config.content.get('scaled_images_ratios', [0.25, 0.5, 1])
    if not isinstance(ratios, list) or not ratios or ratios[0] not in (1, 0.5, 0.25, 0.125):
        raise config.wrong('scaled_images_ratios', 'a list that begins with 1, 1/2, 1/4 or 1/8')
    tile = config.integer('patch_size', 384, 1, 512)
    return tile * round(1 / float(ratios[0]))


def depth_anything_3_spec(name: str, variant: str, model: ModelConfig) -> ModelSpec:
    """Return what a network of Depth Anything 3 wants and predicts.

    The metric one says Z * 300 px / f with f = (fx + fy) / 2 of its input, the others depth up to
    scale and shift.
    """
    metric = variant == 'da3-metric'
    return ModelSpec(
        name=name,
        space='depth',
        metric=metric,
        canonical_focal_px=(model.canonical_focal or _DA3_CANONICAL_FOCAL_PX) if metric else None,
        input_size=model.input_size or _DA3_LONGER_SIDE,
        resize='upper_bound',
        has_sky=variant != 'da3-any-view',
    )


def _read_depth_anything_3(model_name: str, config: Fields, model: ModelConfig) -> ModelSpec:
    """Understand the config.json that Depth Anything 3's authors publish."""
    if model_name not in _DEPTH_ANYTHING_3:
        raise CheckpointError(
            f'{config.where}: "{model_name[:40]}" is not run here (a large network for several '
            f'views, or unknown): of Depth Anything 3 use {" or ".join(_DEPTH_ANYTHING_3)}'
        )
    variant, blocks = _DEPTH_ANYTHING_3[model_name]
    decoded = config.section('config').section('net').content.get('out_layers', blocks)
    if decoded != blocks:
        raise CheckpointError(
            f'{config.where}: {model_name} decodes blocks {blocks}, not {str(decoded)[:40]}: '
            'download it again'
        )
    return depth_anything_3_spec(model.checkpoint, variant, model)


def decode_spec(facts: Fields) -> ModelSpec:
    """Read a ModelSpec that asdict() and JSON wrote.

    Raises:
        CheckpointError: it is not what was written.
    """
    space = facts.text('space')
    if space not in ('depth', 'inverse_depth'):
        raise facts.wrong('space', 'depth or inverse_depth')
    resize = facts.text('resize')
    if resize not in _RESIZES:
        raise facts.wrong('resize', ' or '.join(_RESIZES))

    def positive(key: str) -> float | None:
        is_there = facts.content.get(key) is not None
        return facts.number(key, 1.0, *_DEPTH_M) if is_there else None

    return ModelSpec(
        name=facts.text('name'),
        space=space,
        metric=facts.flag('metric', False),
        max_depth_m=positive('max_depth_m'),
        canonical_focal_px=positive('canonical_focal_px'),
        input_size=facts.integer('input_size', 518, *_INPUT_SIZE),
        multiple=facts.integer('multiple', 14, *_MULTIPLE),
        mean=facts.three('mean', _IMAGENET_MEAN, *_MEAN),
        std=facts.three('std', _IMAGENET_STD, *_STD),
        resize=resize,
        has_sky=facts.flag('has_sky', False),
    )


def read_config(folder: Path) -> Fields:
    """Read config.json with everything in it bounded, before a library builds anything of it.

    Raises:
        CheckpointError: it cannot be read, is nested or sized like no network, or is quantised.
    """
    config = read_json(folder / 'config.json')
    _bound(config, '', config.content, 0)
    if config.content.get('quantization_config') is not None:
        raise config.wrong('quantization_config', 'absent: use the weights before quantisation')
    return config


def _bound(config: Fields, key: str, value: Any, depth: int) -> None:
    """Hold all that lies in a value to what networks have: sizes, counts, lengths, nesting."""
    if isinstance(value, (dict, list)):
        if depth > _DEEPEST or len(value) > _LONGEST[type(value)]:
            raise CheckpointError(
                f'{config.where}: {key or "it"} is nested or long like no network: download it '
                'again'
            )
        for name, inside in value.items() if isinstance(value, dict) else enumerate(value):
            _bound(config, name if isinstance(name, str) else key, inside, depth + 1)
        if isinstance(value, list) and key in _REPEATED:
            _bound(config, key, sum(x for x in value if isinstance(x, int)), depth)
    elif isinstance(value, (int, float)):
        most = _MOST_LAYERS if key in _REPEATED else _LARGEST
        if not abs(value) <= most:
            raise CheckpointError(
                f'{config.where}: {key} must be a number up to {most}, got {value:g}: no network '
                'is so large, download it again'
            )


def _shorter_side(wants: Fields, default: int) -> int:
    """Read the ways in which image processors write their size."""
    if not isinstance(wants.content.get('size'), dict):
        return wants.integer('size', default, *_INPUT_SIZE)
    size = wants.section('size')
    keys = [key for key in ('height', 'width', 'shortest_edge') if size.content.get(key)]
    return min((size.integer(key, default, *_INPUT_SIZE) for key in keys), default=default)
