# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a network wants as input and what its output means."""

from __future__ import annotations

from dataclasses import dataclass
import json
import math
from pathlib import Path
from typing import Any

from torch import Tensor
import torch.nn.functional as F

from depth_anything_ros.config import ModelConfig
from depth_anything_ros.errors import CheckpointError

_Triple = tuple[float, float, float]

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HALF, _ZERO, _ONE = (0.5, 0.5, 0.5), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class ModelSpec:
    """What a network wants and what its output means.

    Attributes:
        name: hub id, folder or file name, for people.
        space: 'inverse_depth' (nearer is larger) or 'depth'.
        metric: whether the output is in metres (or 1/m) as it is.
        max_depth_m: largest depth that the network can say, None where there is no limit.
        canonical_focal_px: focal length at network-input resolution for which metres are true;
            None where the network does not depend on one.
        input_size: recommended shorter side of the input in pixels.
        multiple: both sides of the input must be multiples of this many pixels.
        mean: of RGB in [0, 1], subtracted first.
        std: of RGB in [0, 1], divided by after.
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


def at_size_of(image: Tensor, prediction: Tensor) -> Tensor:
    """Stretch a prediction 1xhxw or hxw to its image's size: some networks answer at half of it."""
    prediction = prediction.reshape(1, 1, *prediction.shape[-2:])
    if prediction.shape[-2:] != image.shape[-2:]:
        prediction = F.interpolate(prediction, image.shape[-2:], mode='bilinear')
    return prediction[0, 0]


def read_spec(folder: Path, model: ModelConfig) -> ModelSpec:
    """Read what a network in Hugging Face format wants and predicts.

    Args:
        folder: holds config.json and, mostly, preprocessor_config.json.
        model: model.input_size and model.canonical_focal overrule the files.

    Raises:
        CheckpointError: a file cannot be read, or what this kind of network predicts is not known.
    """
    config = _read_json(folder / 'config.json')
    kind = config.get('model_type')
    metric, max_depth_m = False, None
    size, multiple, mean, std = 518, 14, _IMAGENET_MEAN, _IMAGENET_STD
    if kind == 'depth_anything':
        metric = config.get('depth_estimation_type', 'relative') == 'metric'
        max_depth_m = float(config.get('max_depth') or 1) if metric else None
    elif kind == 'dpt' and (config.get('backbone_config') or {}).get('model_type') != 'dinov2':
        # MiDaS 3 and 3.1. (DINOv2's own DPT heads predict depth on a scale they do not state.)
        size, multiple, mean, std = 384, 32, _HALF, _HALF
    elif kind == 'zoedepth':
        metric = True
        bins = config.get('bin_configurations') or [{}]
        max_depth_m = max((float(b['max_depth']) for b in bins if 'max_depth' in b), default=None)
        size, multiple, mean, std = 384, 32, _HALF, _HALF
    elif kind == 'glpn':
        metric, max_depth_m = True, float(config.get('max_depth') or 10)
        size, multiple, mean, std = 480, 32, _ZERO, _ONE
    else:
        raise CheckpointError(
            f'{folder}: what a "{kind}" network predicts (depth or inverse depth, in which unit) '
            'is not known here: use a depth_anything, dpt (MiDaS), zoedepth or glpn checkpoint'
        )
    path = folder / 'preprocessor_config.json'
    wants = _read_json(path) if path.is_file() else {}
    if wants.get('do_normalize', True):
        mean = _triple(wants, 'image_mean', mean, path)
        std = _triple(wants, 'image_std', std, path)
    else:
        mean, std = _ZERO, _ONE
    return ModelSpec(
        name=model.checkpoint,
        space='depth' if metric else 'inverse_depth',
        metric=metric,
        max_depth_m=max_depth_m,
        canonical_focal_px=(model.canonical_focal or None) if metric else None,
        input_size=model.input_size or _shorter_side(wants.get('size'), size),
        multiple=math.lcm(multiple, max(int(wants.get('ensure_multiple_of') or 1), 1)),
        mean=mean,
        std=std,
    )


def _triple(wants: dict[str, Any], key: str, default: _Triple, path: Path) -> _Triple:
    value = wants.get(key, default)
    if not (
        isinstance(value, (list, tuple))
        and len(value) == 3
        and all(isinstance(x, (int, float)) for x in value)
    ):
        raise CheckpointError(f'{path}: {key} must be three numbers, got {value!r}')
    return float(value[0]), float(value[1]), float(value[2])


def _shorter_side(size: Any, default: int) -> int:
    """Read the ways in which image processors write their size."""
    if isinstance(size, dict):
        sides = [size[key] for key in ('height', 'width', 'shortest_edge') if size.get(key)]
        return int(min(sides)) if sides else default
    return int(size) if isinstance(size, (int, float)) and size else default


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f'{path} cannot be read as JSON ({error}): download it again'
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f'{path} is not a JSON object: download it again')
    return content
