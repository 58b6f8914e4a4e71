# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every setting of a training run, read from YAML and checked before anything runs."""

from __future__ import annotations

from pathlib import Path
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
    PlainSerializer,
    PlainValidator,
    Strict,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails
import yaml  # type: ignore[import-untyped]

from depth_anything_ros.addresses import on_this_machine, path_or_address, PathOrAddress
from depth_anything_ros.errors import DepthAnythingError, one_line

PATCH = 14  # pixels; the side of a patch of every network here


def _whole_patches(pixels: int) -> int:
    if pixels % PATCH:
        raise ValueError(f'a multiple of {PATCH} is needed')
    return pixels


def _some(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if not items:
        raise ValueError('at least one is needed')
    return items


def _known_device(name: str) -> str:
    if not re.fullmatch(r'cpu|cuda(:\d+)?', name):
        raise ValueError('must be cpu, cuda or cuda:N')
    return name


# A number is a number: neither 'yes' nor '3' nor 1.5 where a whole one is meant.
Integer = Annotated[int, Strict()]
Count = Annotated[Integer, Field(ge=1)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Weight = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Flag = Annotated[bool, Strict()]
Side = Annotated[Integer, Field(ge=PATCH), AfterValidator(_whole_patches)]
# Hub id, folder in Hugging Face format or official .pth or .safetensors file.
Source = Annotated[str, BeforeValidator(lambda x: str(x) if isinstance(x, Path) else x)]
Device = Annotated[str, AfterValidator(_known_device)]
# Of pictures; shards may be in a store. It is told without its secrets.
Pictures = Annotated[PathOrAddress, PlainValidator(path_or_address), PlainSerializer(str)]
_CHECKED = ConfigDict(extra='forbid')


@dataclass(frozen=True, config=_CHECKED)
class NetworkConfig:
    """The network; its sizes count where it starts from scratch, else those of `init` do."""

    hidden_size: Count = 192
    layers: Annotated[Integer, Field(ge=4)] = 8
    heads: Count = 3
    neck_sizes: tuple[Count, Count, Count, Count] = (32, 48, 96, 192)
    fusion_size: Annotated[Integer, Field(ge=2)] = 32
    # Shorter side in pixels that the checkpoint asks for; 0 is that of `init`, from scratch 140.
    input_size: Annotated[Integer, Field(ge=0), AfterValidator(_whole_patches)] = 0
    # Above 0: depth up to so many metres, trained with SILog; 0: relative inverse depth.
    max_depth_m: Annotated[Integer, Field(ge=0)] = 0

    @model_validator(mode='after')
    def _heads_share_the_width(self) -> NetworkConfig:
        if self.hidden_size % 4 or self.hidden_size % self.heads:
            raise ValueError(f'hidden_size {self.hidden_size} must be a multiple of 4 and of its '
                             f'{self.heads} heads')
        return self


@dataclass(frozen=True, config=_CHECKED)
class Phase:
    """A part of the schedule: the learning rate goes linearly from one value to another."""

    steps: Count
    batch_size: Count
    # (height, width) in pixels of the crops; one is drawn for each batch
    sizes: Annotated[tuple[tuple[Side, Side], ...], AfterValidator(_some)]
    lr_from: Weight
    lr_to: Weight
    colours: Share = 1.0  # how far colours and sharpness change; 1 is what a student sees
    relative: Weight = 1.0  # factor on the weight of the relative loss
    # random: any window, zoomed in on, tilted, mirrored; centre: the largest one in the middle
    crop: Literal['random', 'centre'] = 'random'


@dataclass(frozen=True, config=_CHECKED)
class LossWeights:
    """Weights of the terms of the loss, and silog_lambda: .85 in V1 (ZoeDepth), .5 in V2."""

    ssi: Weight = 1.0
    gradient: Weight = 0.5
    relative: Weight = 0.5
    coarse: Weight = 0.5
    semantic: Weight = 0.2
    negative: Weight = 0.1
    silog: Weight = 1.0
    silog_lambda: Share = 0.85
    unlabelled: Weight = 1.0
    pseudo_gradient: Weight = 2.0
    alignment: Weight = 1.0


@dataclass(frozen=True, config=_CHECKED)
class StudentConfig:
    """Training on pictures without depth.

    Attributes:
        teacher: its answers to clean pictures are the labels; a hub id, folder or official file.
        unlabelled: folders of pictures, lists or ROS 2 bags; depth in them is not looked at.
        pseudo: folders of shards that `label` made, in the place of teacher and unlabelled.
        confidence: of pseudo labels, below which they are not learnt from.
        ratio: unlabelled pictures for each labelled one.
        labelled: whether labelled pictures take part too (V1) or pseudo labels alone (V2), for
            which no labelled data are read.
        strong: whether the student sees strong colours and CutMix.
        cutmix: probability of CutMix.
        gradient: whether gradients are matched to the pseudo labels (V2).
        ignored: share of each picture's pixels, those of the largest loss, that is taken for wrong
            pseudo labels and left out (V2: 0.1).
        encoder: frozen DINOv2 to align features with; a hub id, folder or official file.
        margin: cosine above which a place is aligned well enough.
    """

    teacher: Source | None = None
    unlabelled: tuple[Pictures, ...] = ()
    pseudo: tuple[Pictures, ...] = ()
    confidence: Share = 0.0
    ratio: Count = 2
    labelled: Flag = True
    strong: Flag = True
    cutmix: Share = 0.5
    gradient: Flag = False
    ignored: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    encoder: Source | None = None
    margin: Annotated[Number, Field(ge=-1, le=1)] = 0.85

    @model_validator(mode='after')
    def _has_one_kind_of_labels(self) -> StudentConfig:
        asked = self.teacher is not None, bool(self.unlabelled)
        if self.pseudo and any(asked):
            raise ValueError('pseudo labels are there already: leave out teacher and unlabelled')
        if not self.pseudo and not all(asked):
            raise ValueError('teacher and unlabelled are both needed, or pseudo')
        if self.confidence and not self.pseudo:
            raise ValueError('confidence is of pseudo labels: a teacher that answers has none')
        return self


@dataclass(frozen=True, config=_CHECKED)
class TrainConfig:
    """One run.

    Attributes:
        data: folders of rendered pictures or one's own, or ROS 2 bags, to train on; may be empty
            with student.labelled false.
        held_out: one such folder or bag for the learning curve.
        out: folder for the checkpoint, the state to resume from and the log.
        phases: the schedule.
        network: the network, or with init what it is to be trained for.
        loss: weights of the loss.
        student: pseudo labels and feature alignment; none for labelled pictures alone.
        init: network to start from, of its own sizes: a hub id, folder or official file of Depth
            Anything V1, V2 or V2-metric, or of DINOv2; none starts from scratch.
        fresh_decoder: whether only the encoder of init is taken; of DINOv2 there is no more.
        encoder_lr: factor on the encoder's learning rate.
        seed: of initialisation, order and augmentation.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        ema: decay of the averaged weights, which are what is saved.
        workers: processes that read pictures ahead, for each that trains; 0 is none.
        accumulate: parts that a process takes its share of a batch in, one after the other.
        strategy: of several processes: ddp leaves each the whole network, fsdp a part of every
            weight (FSDP2), for networks too large for one device.
        bf16: whether to compute in bfloat16.
        device: where to train: cpu, cuda or cuda:N.
        eval_every: steps between points of the learning curve.
        eval_count: held-out pictures for each.
        tensorboard: whether to write TensorBoard events too.
    """

    data: tuple[Pictures, ...]
    held_out: Pictures
    out: Annotated[Path, BeforeValidator(on_this_machine)]
    phases: Annotated[tuple[Phase, ...], AfterValidator(_some)]
    network: NetworkConfig = NetworkConfig()
    loss: LossWeights = LossWeights()
    student: StudentConfig | None = None
    init: Source | None = None
    fresh_decoder: Flag = False
    encoder_lr: Weight = 1.0
    seed: Annotated[Integer, Field(ge=0, lt=2**63)] = 0
    weight_decay: Weight = 0.05
    clip: Annotated[Number, Field(gt=0)] = 1.0
    ema: Annotated[Number, Field(ge=0, lt=1)] = 0.998
    workers: Annotated[Integer, Field(ge=0)] = 2
    accumulate: Count = 1
    strategy: Literal['ddp', 'fsdp'] = 'ddp'
    bf16: Flag = True
    device: Device = 'cpu'
    eval_every: Count = 250
    eval_count: Count = 96
    tensorboard: Flag = False

    @model_validator(mode='after')
    def _has_what_it_learns_from(self) -> TrainConfig:
        if not self.data and self.labelled:
            raise ValueError('data is empty: name folders of pictures with depth, or set '
                             'student.labelled to false')
        if self.network.max_depth_m and not self.labelled:
            raise ValueError('pseudo labels know no metres: set student.labelled to true, or '
                             'network.max_depth_m to 0')
        if self.fresh_decoder and self.init is None:
            raise ValueError('fresh_decoder keeps the encoder of init, and there is no init')
        return self

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    @property
    def labelled(self) -> bool:
        """Whether pictures with depth take part."""
        return self.student is None or self.student.labelled

    def as_plain(self) -> dict[str, Any]:
        """Return the settings as JSON has them."""
        plain: dict[str, Any] = _ADAPTER.dump_python(self, mode='json')
        return plain


_ADAPTER: TypeAdapter[TrainConfig] = TypeAdapter(TrainConfig)
_WITH_INIT = {'max_depth_m', 'input_size'}  # what a network is asked that has its sizes already


def load_config(path: Path, overrides: dict[str, Any] | None = None) -> TrainConfig:
    """Read a run's settings.

    Args:
        path: YAML file with the fields of TrainConfig.
        overrides: top-level settings that replace those of the file.

    Returns:
        The checked settings.

    Raises:
        DepthAnythingError: the file is absent, not YAML, or settings are unknown or wrong, which
            it names one a line.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise DepthAnythingError(f'cannot read {path}: {error.strerror}') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DepthAnythingError(f'{path} is not YAML: {" ".join(str(error).split())}') from error
    if not isinstance(values, dict):
        raise DepthAnythingError(f'{path}: a mapping of settings is needed, not {values!r}')
    values.update(overrides or {})
    network = values.get('network')
    if values.get('init') is not None and isinstance(network, dict) and network.keys() - _WITH_INIT:
        sizes = ', '.join(sorted(network.keys() - _WITH_INIT))
        raise DepthAnythingError(f'{path}: network: leave out {sizes}: init brings the sizes of '
                                 'its own network')
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        lines = [f'{path}: {_line(details)}' for details in error.errors(include_url=False)]
        raise DepthAnythingError('\n'.join(lines)) from error


def _line(details: ErrorDetails) -> str:
    """Say in one line which setting is wrong, and how."""
    parts = [f'[{part}]' if isinstance(part, int) else f'.{part}' for part in details['loc']]
    where = ''.join(parts).lstrip('.')
    if details['type'] == 'unexpected_keyword_argument':
        return one_line(f'unknown setting {where}: training/config.py lists them')
    if details['type'] == 'missing':
        return f'{where} is missing'
    wrong = details['msg'].removeprefix('Value error, ').replace('Input should', 'must')
    wrong = wrong.replace('a valid tuple', 'a list').replace('an instance of ', 'a ')
    if not isinstance(details['input'], dict):  # else all of a section
        wrong += f', not {details["input"]!r}'
    return one_line(f'{where}: {wrong}' if where else wrong)
