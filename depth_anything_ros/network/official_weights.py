# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The authors' .pth files, key by key, as the network that transformers ships.

With the authors' position embeddings (position_embeddings.py) the two networks agree at every size.

Sources: the network definitions in github.com/LiheYoung/Depth-Anything (depth_anything/dpt.py) and
github.com/DepthAnything/Depth-Anything-V2 (depth_anything_v2/dpt.py, metric_depth/).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import re
from typing import Any

from torch import Tensor

from depth_anything_ros.config import ModelConfig
from depth_anything_ros.errors import CheckpointError
from depth_anything_ros.network.spec import depth_anything_3_spec, ModelSpec


@dataclass(frozen=True)
class Architecture:
    """Sizes of one official network."""

    name: str
    layers: int
    heads: int
    neck: tuple[int, int, int, int]
    fusion: int
    decoded_v2: tuple[int, int, int, int]  # blocks, counted from 0, whose tokens V2 decodes
    decoder_hidden: int = 32

    @property
    def decoded_v1(self) -> tuple[int, ...]:
        """Blocks, counted from 0, whose tokens V1 decodes: the last four."""
        return tuple(range(self.layers - 4, self.layers))


# Embedding width -> network. The width tells S, B and L apart.
ARCHITECTURES = {
    384: Architecture('ViT-S', 12, 6, (48, 96, 192, 384), 64, (2, 5, 8, 11)),
    768: Architecture('ViT-B', 12, 12, (96, 192, 384, 768), 128, (2, 5, 8, 11)),
    1024: Architecture('ViT-L', 24, 16, (256, 512, 1024, 1024), 256, (4, 11, 17, 23)),
}

PATCH_SIZE = 14
CLASS_TOKEN = 'pretrained.cls_token'

# The files' published names; V1, V2 and V2-metric hold the same keys, as do the two monocular
# networks of Depth Anything 3, so only the name tells.
_FILE_NAMES = (
    (r'da3metric-large', 'da3-metric', 0.0),
    (r'da3mono-large', 'da3-mono', 0.0),
    (r'da3-(small|base)', 'da3-any-view', 0.0),
    (r'depth_anything_v2_metric_hypersim_vit[sbl]', 'v2-metric', 20.0),
    (r'depth_anything_v2_metric_vkitti_vit[sbl]', 'v2-metric', 80.0),
    (r'depth_anything_v2_vit[sbl]', 'v2', 0.0),
    (r'depth_anything_vit[sbl]14', 'v1', 0.0),
)


def family_of(path: Path, variant: str, max_depth: float) -> tuple[str, float]:
    """Tell which family an official file belongs to.

    Args:
        path: the .pth file; its name is compared with the published ones.
        variant: model.variant.
        max_depth: model.max_depth in metres, 0 for what the file name says.

    Returns:
        The variant, never 'auto', and the range in metres of a metric one (0 for a relative one).

    Raises:
        CheckpointError: neither the parameters nor the file name tell.
    """
    named, named_depth = next(
        ((v, d) for pattern, v, d in _FILE_NAMES if re.fullmatch(pattern, path.stem, re.I)),
        ('', 0.0),
    )
    family = named if variant == 'auto' else variant
    if not family:
        raise CheckpointError(
            f'{path}: the weights of Depth Anything V1, V2 and V2-metric look alike, as do those '
            'of Depth Anything 3, and this is not one of the official file names: set '
            'model.variant to v1, v2, v2-metric, da3-metric, da3-mono or da3-any-view'
        )
    if family != 'v2-metric':
        return family, 0.0
    if not (max_depth or named_depth):
        raise CheckpointError(
            f'{path}: a metric checkpoint needs its range and the file name does not tell it: '
            'set model.max_depth (20 for indoor, 80 for outdoor)'
        )
    return family, max_depth or named_depth


def named_spec(path: Path, model: ModelConfig) -> ModelSpec:
    """Return what a Depth Anything network predicts, by its file's name and model.variant.

    Raises:
        CheckpointError: neither tells.
    """
    family, max_depth_m = family_of(path, model.variant, model.max_depth)
    if family.startswith('da3'):
        return depth_anything_3_spec(path.stem, family, model)
    metric = family == 'v2-metric'
    return ModelSpec(
        name=path.stem,
        space='depth' if metric else 'inverse_depth',
        metric=metric,
        max_depth_m=max_depth_m if metric else None,
        canonical_focal_px=(model.canonical_focal or None) if metric else None,
        input_size=model.input_size or 518,
    )


def architecture_of(
    state: dict[str, Tensor], path: Path, class_token: str = CLASS_TOKEN
) -> Architecture:
    """Recognise the network by the width of its tokens.

    Args:
        state: all tensors of a file.
        path: where they come from, for the message.
        class_token: key of the class token in such files.

    Raises:
        CheckpointError: the file is no Depth Anything network, or of a size unknown here.
    """
    token = state.get(class_token)
    if token is None:
        found = ', '.join(sorted(state)[:3]) or 'nothing'
        raise CheckpointError(
            f'{path} is not an official Depth Anything network (no {class_token}; it holds '
            f'{found}, ...): give such a file, or a folder in Hugging Face format'
        )
    width = token.numel()
    if width not in ARCHITECTURES:
        known = ', '.join(f'{a.name} {w}' for w, a in ARCHITECTURES.items())
        raise CheckpointError(
            f'{path} has tokens of width {width}, a network size that is not supported ({known})'
        )
    return ARCHITECTURES[width]


def transformers_config(
    width: int,
    architecture: Architecture,
    family: str,
    image_size: int,
) -> dict[str, Any]:
    """Describe an official network in the words of transformers' DepthAnythingConfig.

    Args:
        width: width of its tokens.
        architecture: its other sizes.
        family: model.variant, never 'auto'.
        image_size: side in pixels of the square image that the position embeddings are made for.
    """
    decoded = architecture.decoded_v1 if family == 'v1' else architecture.decoded_v2
    return {
        'backbone_config': {
            'model_type': 'dinov2',
            'hidden_size': width,
            'num_hidden_layers': architecture.layers,
            'num_attention_heads': architecture.heads,
            'image_size': image_size,
            'patch_size': PATCH_SIZE,
            'out_indices': [block + 1 for block in decoded],  # 0 is the patch embedding
            'apply_layernorm': True,
            'reshape_hidden_states': False,
            'use_mask_token': not family.startswith('da3'),
        },
        'patch_size': PATCH_SIZE,
        'reassemble_hidden_size': 2 * width if family == 'da3-any-view' else width,
        'neck_hidden_sizes': list(architecture.neck),
        'fusion_hidden_size': architecture.fusion,
        'head_hidden_size': architecture.decoder_hidden,
        'depth_estimation_type': 'metric' if family == 'v2-metric' else 'relative',
    }


def renamed_keys(layers: int) -> dict[str, tuple[str, ...]]:
    """List every official key with its name in transformers' published checkpoints.

    Args:
        layers: number of transformer blocks.

    Returns:
        Official key -> one key, or three where query, key and value lie in one matrix.
    """
    table: dict[str, tuple[str, ...]] = {}

    def module(official: str, *ours: str, parts: tuple[str, ...] = ('weight', 'bias')) -> None:
        for part in parts:
            table[f'{official}.{part}'] = tuple(f'{name}.{part}' for name in ours)

    embeddings = 'backbone.embeddings'
    table['pretrained.cls_token'] = (f'{embeddings}.cls_token',)
    table['pretrained.mask_token'] = (f'{embeddings}.mask_token',)
    table['pretrained.pos_embed'] = (f'{embeddings}.position_embeddings',)
    module('pretrained.patch_embed.proj', f'{embeddings}.patch_embeddings.projection')
    module('pretrained.norm', 'backbone.layernorm')
    for i in range(layers):
        theirs, ours = f'pretrained.blocks.{i}', f'backbone.encoder.layer.{i}'
        attention = f'{ours}.attention.attention'
        module(
            f'{theirs}.attn.qkv', f'{attention}.query', f'{attention}.key', f'{attention}.value'
        )
        module(f'{theirs}.attn.proj', f'{ours}.attention.output.dense')
        for name in ('norm1', 'norm2', 'mlp.fc1', 'mlp.fc2'):
            module(f'{theirs}.{name}', f'{ours}.{name}')
        table[f'{theirs}.ls1.gamma'] = (f'{ours}.layer_scale1.lambda1',)
        table[f'{theirs}.ls2.gamma'] = (f'{ours}.layer_scale2.lambda1',)
    scratch = 'depth_head.scratch'
    for i in range(4):
        reassemble = f'neck.reassemble_stage.layers.{i}'
        module(f'depth_head.projects.{i}', f'{reassemble}.projection')
        if i != 2:  # the third map keeps the patches' resolution
            module(f'depth_head.resize_layers.{i}', f'{reassemble}.resize')
        module(f'{scratch}.layer{i + 1}_rn', f'neck.convs.{i}', parts=('weight',))
        theirs, ours = f'{scratch}.refinenet{4 - i}', f'neck.fusion_stage.layers.{i}'
        module(f'{theirs}.out_conv', f'{ours}.projection')
        for unit in (1, 2):
            for conv in (1, 2):
                module(
                    f'{theirs}.resConfUnit{unit}.conv{conv}',
                    f'{ours}.residual_layer{unit}.convolution{conv}',
                )
    module(f'{scratch}.output_conv1', 'head.conv1')
    module(f'{scratch}.output_conv2.0', 'head.conv2')
    module(f'{scratch}.output_conv2.2', 'head.conv3')
    return table


def convert(
    state: dict[str, Tensor], table: dict[str, tuple[str, ...]], name: str, path: Path
) -> dict[str, Tensor]:
    """Rename all tensors of an official file; none may be missing and none left over.

    Args:
        state: official key -> tensor.
        table: from renamed_keys().
        name: of the network, for the message.
        path: where they come from, for the message.

    Returns:
        Key in transformers' published checkpoints -> tensor.

    Raises:
        CheckpointError: keys are missing or unknown.
    """
    complaints = [
        f'{len(keys)} keys are {what} ({", ".join(sorted(keys)[:3])}{", ..." * (len(keys) > 3)})'
        for what, keys in (('missing', table.keys() - state.keys()),
                           ('unknown', state.keys() - table.keys()))
        if keys
    ]
    if complaints:
        raise CheckpointError(
            f'{path} is not an official {name}: '
            f'{" and ".join(complaints)}; download the file again or save it in Hugging Face '
            'format'
        )
    converted: dict[str, Tensor] = {}
    for official, names in table.items():
        tensor = state[official]
        if len(names) == 1:
            converted[names[0]] = tensor
        elif not tensor.ndim or len(tensor) % len(names):
            raise CheckpointError(
                f'{path}: {official} of shape {tuple(tensor.shape)} does not hold query, key and '
                'value: download the file again'
            )
        else:
            converted.update(zip(names, tensor.chunk(len(names))))
    return converted
