# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Understand a checkpoint, and load its network with every tensor in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import hashlib
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn, Tensor

from depth_anything_ros.config import ModelConfig
from depth_anything_ros.errors import CheckpointError, reason
from depth_anything_ros.network import official_weights, weights
from depth_anything_ros.network.spec import ModelSpec, read_config, read_spec
from depth_anything_ros.network.untrusted import Fields, file_size, SENSELESS

# Parts of a config.json that describe an encoder.
_ENCODERS = {'backbone_config', 'image_model_config', 'patch_model_config', 'fov_model_config'}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found and whose meaning is known; its weights are not read yet.

    Attributes:
        path: folder in Hugging Face format, or official .pth file.
        spec: what the network wants and predicts.
    """

    path: Path
    spec: ModelSpec
    _model: ModelConfig

    def load(self) -> nn.Module:
        """Return the network with float32 weights on the CPU.

        Raises:
            CheckpointError: the weights cannot be read, or do not fit.
        """
        loader = _load_folder if self.path.is_dir() else _load_official
        if self.spec.resize == 'upper_bound':  # the rule of Depth Anything 3 alone
            loader = _load_depth_anything_3
        network: nn.Module = loader(self.path, self._model, self.spec)
        return network

    def fingerprint(self) -> str:
        """Return a hash of the weights and of all that the network makes of them."""
        files = [self.path]
        if self.path.is_dir():
            files = [*weights.files_in(self.path), self.path / 'config.json']
        spec = self.spec
        side = spec.input_size if spec.resize == 'stretch' else None  # any, in the same graph
        meaning = (spec.space, spec.max_depth_m, spec.multiple, self._model.variant, side)
        digest = hashlib.sha256(repr(meaning).encode())
        for file in files:
            file_size(file, weights.MOST_BYTES)
            with file.open('rb') as content:
                while block := content.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()


def open_checkpoint(path: Path, model: ModelConfig) -> Checkpoint:
    """Understand what locate() found, unless it is an .onnx file.

    Args:
        path: a folder in Hugging Face format or an official .pth file.
        model: what it predicts where the checkpoint does not say.

    Raises:
        CheckpointError: the checkpoint cannot be understood.
    """
    if path.is_dir():
        return Checkpoint(path, _folder_spec(path, model), model)
    if path.suffix not in ('.pth', '.pt', '.safetensors'):
        raise CheckpointError(
            f'{path} is a {path.suffix or "nameless"} file: give an official Depth Anything .pth '
            'or .safetensors, an .onnx file, or the folder in Hugging Face format that holds '
            'config.json'
        )
    return Checkpoint(path, official_weights.named_spec(path, model), model)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and advice; what is wrong is raised here as an error."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging  # its functions carry no types
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _folder_spec(folder: Path, model: ModelConfig) -> ModelSpec:
    if not (folder / 'config.json').is_file():
        raise CheckpointError(
            f'{folder} has no config.json: give a folder in Hugging Face format (config.json, '
            'preprocessor_config.json, model.safetensors) or an official .pth file'
        )
    return read_spec(folder, model)


def _load_folder(folder: Path, model: ModelConfig, spec: ModelSpec) -> Any:
    """Load a folder in Hugging Face format."""
    from transformers import MODEL_FOR_DEPTH_ESTIMATION_MAPPING as CLASSES

    content = read_config(folder)
    with refused(folder), quiet():
        config = known_config(content.text('model_type'), content)
    network_class, files = CLASSES[type(config)], weights.files_in(folder)
    check_size(network_class, config, files, folder)
    state = {name: tensor for file in files for name, tensor in weights.read(file).items()}
    # Depth Pro's guess of the focal length, a third of it: camera_info knows.
    state = {name: tensor for name, tensor in state.items() if not name.startswith('fov_model.')}
    return from_pretrained(network_class, folder, config=config, state_dict=state)


def known_config(kind: str, content: Fields) -> Any:
    """Build a configuration of transformers from what its class defines, and from nothing else.

    What a config.json may hold besides (code to download, kernels, a backbone on the hub, which
    outputs to return) does not reach transformers.
    """
    from transformers import CONFIG_MAPPING, PretrainedConfig

    config_class: Any = CONFIG_MAPPING[kind]
    defined = config_class().to_dict().keys() - PretrainedConfig().to_dict().keys()
    values = {key: value for key, value in content.content.items() if key in defined}
    for key in _ENCODERS & values.keys():
        encoder = content.section(key)
        if encoder.content:
            default = 'bit' if kind == 'dpt' else 'dinov2'
            values[key] = known_config(encoder.text('model_type', default), encoder)
    if kind == 'depth_pro':
        values['use_fov_model'] = False
    return config_class(**values)


def check_size(network_class: Any, config: Any, files: list[Path], source: Path) -> None:
    """Hold a network that takes no memory yet to the files that should fill it."""
    with refused(source), quiet(), torch.device('meta'):
        parameters = sum(p.numel() for p in network_class(config).parameters())
    weights.check_size(files, parameters, source)


def _load_official(path: Path, model: ModelConfig, spec: ModelSpec) -> Any:
    """Load one of the authors' .pth files."""
    family, _ = official_weights.family_of(path, model.variant, model.max_depth)
    state = weights.read(path)
    architecture = official_weights.architecture_of(state, path)
    table = official_weights.renamed_keys(architecture.layers)
    name = f'Depth Anything {architecture.name}'
    converted = official_weights.convert(state, table, name, path)

    from transformers import DepthAnythingForDepthEstimation

    network = _fill(
        DepthAnythingForDepthEstimation, architecture, family, converted, [path], path
    )
    if spec.metric:
        network.head.max_depth = spec.max_depth_m
    return network


def _load_depth_anything_3(path: Path, model: ModelConfig, spec: ModelSpec) -> Any:
    """Load one of the authors' Depth Anything 3: a folder, or its weights alone."""
    from depth_anything_ros.network import depth_anything_3
    from depth_anything_ros.network import depth_anything_3_any_view as any_view

    files = weights.files_in(path) if path.is_dir() else [path]
    state = {name: tensor for file in files for name, tensor in weights.read(file).items()}
    architecture = official_weights.architecture_of(state, path, depth_anything_3.CLASS_TOKEN)
    network_class: type[nn.Module] = depth_anything_3.DepthAnything3
    table = depth_anything_3.renamed_keys(architecture.layers)
    family, kind = 'da3-mono', 'monocular'
    if not spec.has_sky:
        network_class = any_view.DepthAnything3AnyView
        table = any_view.renamed_keys(architecture.layers)
        state = any_view.used(state)
        family, kind = 'da3-any-view', 'any-view'
    name = f'{kind} Depth Anything 3 {architecture.name}'
    converted = official_weights.convert(state, table, name, path)
    return _fill(network_class, architecture, family, converted, files, path)


def _fill(
    network_class: Any,
    architecture: official_weights.Architecture,
    family: str,
    state: dict[str, Tensor],
    files: list[Path],
    source: Path,
) -> Any:
    """Build an official network and load its renamed tensors."""
    from transformers import DepthAnythingConfig

    embeddings = 'backbone.embeddings'
    width = state[f'{embeddings}.cls_token'].numel()
    positions = state[f'{embeddings}.position_embeddings'].numel() // width
    image_size = math.isqrt(max(positions - 1, 0)) * official_weights.PATCH_SIZE
    words = official_weights.transformers_config(width, architecture, family, image_size)
    config = DepthAnythingConfig(**words)
    check_size(network_class, config, files, source)
    return from_pretrained(network_class, source, config=config, state_dict=state)


@contextmanager
def refused(source: Path) -> Iterator[None]:
    """Turn what transformers raises on impossible configurations into one line."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        yield
    except (*SENSELESS, StrictDataclassError) as error:
        raise CheckpointError(
            f'{source} describes no network that can be built ({reason(error)}): download or save '
            'it again'
        ) from error


def from_pretrained(network_class: Any, source: Path, **arguments: Any) -> Any:
    """Call transformers' loader, and hold it to every tensor being there in the right shape."""
    from depth_anything_ros.network.position_embeddings import use_authors_positions

    with refused(source), quiet():
        network, report = network_class.from_pretrained(
            None if 'state_dict' in arguments else source,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below in one line instead of many
            **arguments,
        )
    # The first fusion layer has nothing to add its residual to: published DPTs leave it out.
    unused = '.fusion_stage.layers.0.residual_layer1.'
    missing = [key for key in report['missing_keys'] if unused not in key]
    wrong = [
        f'{key} {tuple(found)} instead of {tuple(wanted)}'
        for key, found, wanted in report['mismatched_keys']
    ]
    complaints = [
        f'{len(keys)} tensors {what} ({", ".join(sorted(keys)[:3])}{", ..." * (len(keys) > 3)})'
        for what, keys in (
            ('are missing', missing),
            ('are unknown', list(report['unexpected_keys'])),
            ('have the wrong size', wrong),
        )
        if keys
    ]
    if complaints:
        raise CheckpointError(
            f'{source} does not fit its network: {" and ".join(complaints)}; its weights belong '
            'to another configuration: download or save both again'
        )
    use_authors_positions(network)
    return network
