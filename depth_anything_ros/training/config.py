# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every setting of a training run, read from YAML and checked before anything runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from depth_anything_ros.errors import DepthAnythingError


@dataclass(frozen=True)
class NetworkConfig:
    """Size of the network; the patch side is 14 pixels."""

    hidden_size: int = 192
    layers: int = 8
    heads: int = 3
    neck_sizes: tuple[int, int, int, int] = (32, 48, 96, 192)
    fusion_size: int = 32
    input_size: int = 140  # pixels; shorter side the checkpoint asks for
    max_depth_m: int = 0  # above 0: metric depth up to it, trained with SILog


@dataclass(frozen=True)
class Phase:
    """A part of the schedule: the learning rate goes linearly from one value to another."""

    steps: int
    batch_size: int
    sizes: tuple[tuple[int, int], ...]  # (height, width) in pixels; one is drawn for each batch
    lr_from: float
    lr_to: float
    colours: float = 1.0  # strength of the random colours
    relative: float = 1.0  # factor on the weight of the relative loss


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the loss."""

    ssi: float = 1.0
    gradient: float = 0.5
    relative: float = 0.5
    coarse: float = 0.5
    semantic: float = 0.2
    negative: float = 0.1
    silog: float = 1.0
    unlabelled: float = 1.0
    pseudo_gradient: float = 2.0
    alignment: float = 1.0


@dataclass(frozen=True)
class StudentConfig:
    """Training on pictures without depth.

    Attributes:
        teacher: folder in Hugging Face format; its answers to clean pictures are the labels.
        unlabelled: folders of pictures or ROS 2 bags; depth in them is not looked at.
        ratio: unlabelled pictures for each labelled one.
        labelled: whether labelled pictures take part too (V1) or pseudo labels alone (V2).
        strong: whether the student sees strong colours and CutMix.
        cutmix: probability of CutMix.
        gradient: whether gradients are matched to the pseudo labels (V2).
        encoder: folder of a frozen DINOv2 encoder to align features with.
        margin: cosine above which a place is aligned well enough.
    """

    teacher: Path
    unlabelled: tuple[Path, ...]
    ratio: int = 2
    labelled: bool = True
    strong: bool = True
    cutmix: float = 0.5
    gradient: bool = False
    encoder: Path | None = None
    margin: float = 0.85


@dataclass(frozen=True)
class TrainConfig:
    """One run.

    Attributes:
        data: folders of rendered pictures or one's own, or ROS 2 bags, to train on.
        held_out: folder of rendered pictures for the learning curve.
        out: folder for the checkpoint, the state to resume from and the log.
        phases: the schedule.
        network: size of the network.
        loss: weights of the loss.
        student: pseudo labels and feature alignment; none for labelled pictures alone.
        init: folder in Hugging Face format to start from; none starts from scratch.
        encoder_lr: factor on the encoder's learning rate.
        seed: of initialisation, order and augmentation.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        ema: decay of the averaged weights, which are what is saved.
        bf16: whether to compute in bfloat16.
        device: where to train.
        eval_every: steps between points of the learning curve.
        eval_count: held-out pictures for each.
        tensorboard: whether to write TensorBoard events too.
    """

    data: tuple[Path, ...]
    held_out: Path
    out: Path
    phases: tuple[Phase, ...]
    network: NetworkConfig = NetworkConfig()
    loss: LossWeights = LossWeights()
    student: StudentConfig | None = None
    init: Path | None = None
    encoder_lr: float = 1.0
    seed: int = 0
    weight_decay: float = 0.05
    clip: float = 1.0
    ema: float = 0.998
    bf16: bool = True
    device: str = 'cpu'
    eval_every: int = 250
    eval_count: int = 96
    tensorboard: bool = False

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)


def _build(kind: type[Any], values: object, where: str) -> Any:
    if not isinstance(values, dict):
        raise DepthAnythingError(f'{where}: a mapping is needed, not {values!r}')
    known = {field.name: field for field in dataclasses.fields(kind)}
    for name in values:
        if name not in known:
            raise DepthAnythingError(f"{where}: unknown setting '{name}'; known are "
                                     + ', '.join(known))
    for name, field in known.items():
        if field.default is dataclasses.MISSING and name not in values:
            raise DepthAnythingError(f"{where}: setting '{name}' is missing")
    return kind(**{name: _convert(str(known[name].type), value, f'{where}: {name}')
                   for name, value in values.items()})


def _convert(kind: str, value: Any, where: str) -> Any:
    nested: dict[str, type[Any]] = {'NetworkConfig': NetworkConfig, 'LossWeights': LossWeights,
                                    'StudentConfig': StudentConfig}
    kind, optional, _ = kind.partition(' | None')
    if optional and value is None:
        return None
    if kind in nested:
        return _build(nested[kind], value, where)
    if kind == 'tuple[Phase, ...]' and isinstance(value, list) and value:
        return tuple(_build(Phase, item, f'{where}[{i}]') for i, item in enumerate(value))
    if kind == 'tuple[Path, ...]' and isinstance(value, list) and value:
        return tuple(_convert('Path', item, where) for item in value)
    if kind == 'Path' and isinstance(value, str):
        return Path(value)
    if kind == 'int' and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind == 'float' and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind == 'bool' and isinstance(value, bool):
        return value
    if kind == 'str' and isinstance(value, str):
        return value
    if kind.startswith('tuple[') and isinstance(value, list):
        return tuple(tuple(item) if isinstance(item, list) else item for item in value)
    raise DepthAnythingError(f'{where}: {value!r} is not of type {kind}')


def load_config(path: Path, overrides: dict[str, Any] | None = None) -> TrainConfig:
    """Read a run's settings.

    Args:
        path: YAML file with the fields of TrainConfig.
        overrides: top-level settings that replace those of the file.

    Returns:
        The checked settings.

    Raises:
        DepthAnythingError: the file is absent, not YAML, or a setting is unknown or wrong.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise DepthAnythingError(f'cannot read {path}: {error.strerror}') from error
    except yaml.YAMLError as error:
        raise DepthAnythingError(f'{path} is not YAML: {" ".join(str(error).split())}') from error
    if isinstance(values, dict):
        values = {**values, **(overrides or {})}
    config: TrainConfig = _build(TrainConfig, values, str(path))
    for i, phase in enumerate(config.phases):
        for size in phase.sizes:
            if len(size) != 2 or any(side <= 0 or side % 14 for side in size):
                raise DepthAnythingError(f'{path}: phases[{i}]: sizes must be [height, width] in '
                                         f'multiples of 14, not {list(size)}')
        if phase.steps < 1 or phase.batch_size < 1:
            raise DepthAnythingError(f'{path}: phases[{i}]: steps and batch_size must be positive')
    return config
