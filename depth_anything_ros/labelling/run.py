# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A folder of labelled shards from its first to its last, gone on with wherever it was stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
import hashlib
import json
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import Progress

from depth_anything_ros.addresses import PathOrAddress
from depth_anything_ros.config import ModelConfig
from depth_anything_ros.errors import ConfigError, DatasetError
from depth_anything_ros.labelling.shard import Job, read_report, ShardMaker
from depth_anything_ros.labelling.teacher import fingerprint, Limits, LoadPredictor
from depth_anything_ros.network.hub import locate
from depth_anything_ros.training import shard_folder
from depth_anything_ros.training.loading import open_samples
from depth_anything_ros.training.picture_list import PictureList
from depth_anything_ros.training.shards import is_finished, LABELS

NAMED = 20  # corrupt pictures, at the end


class Engine(Protocol):
    """Where shards are made."""

    def run(self, numbers: Sequence[int], job: Job) -> Iterator[int]:
        """Make shards; yield the number of each as it is done.

        Raises:
            DepthAnythingError: the network cannot be loaded, or a shard not be made.
        """

    def close(self) -> None:
        """Let go of what was started."""


class LocalEngine:
    """In this process, one after the other."""

    def run(self, numbers: Sequence[int], job: Job) -> Iterator[int]:
        """See Engine."""
        yield from map(ShardMaker(job).make, numbers)

    def close(self) -> None:
        """See Engine."""


@dataclass(frozen=True)
class Settings:
    """What labels are made by; a folder's shards are all made by the same.

    Attributes:
        model: the teacher, of whatever kind the node loads.
        per_shard: pictures that are looked at for each.
        jpeg: quality of the pictures, 1 to 100; 0 writes PNG.
        limits: what is left out.
    """

    model: ModelConfig
    per_shard: int = shard_folder.PER_SHARD
    jpeg: int = shard_folder.JPEG
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        """Raise ConfigError on a value that means nothing."""
        shard_folder.check(self.per_shard, self.jpeg)
        for name, value in asdict(self.limits).items():
            if not 0 <= value < float('inf'):
                raise ConfigError(f'--{name.replace("_", "-")} {value:g}: 0 or more is needed')


@dataclass
class Totals:
    """What became of all pictures.

    Attributes:
        pictures: that were looked at.
        labelled: of them.
        left_out: reason -> how many.
        named: what is wrong with the first corrupt ones.
    """

    pictures: int = 0
    labelled: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)


def label(inputs: Sequence[PathOrAddress], out: PathOrAddress, settings: Settings, engine: Engine,
          load: LoadPredictor, device: str = 'auto', batch: int = 0) -> Totals:
    """Label the pictures of all inputs; shards that are finished are left as they are.

    Args:
        inputs: see training.loading.open_samples().
        out: folder of the shards, made when absent.
        settings: must be those of before where a run goes on.
        engine: where.
        load: makes the network, as load_predictor().
        device: as runtime.device.
        batch: see Job.

    Raises:
        DepthAnythingError: an input or the teacher cannot be opened, a run before had others or
            other settings, another run is at work there, or nothing can be written.
    """
    inputs, out = [path.absolute() for path in inputs], out.absolute()  # workers are elsewhere
    samples = open_samples(inputs, with_depth=False)
    model, path = settings.model, locate(settings.model.checkpoint)
    if Path(model.checkpoint).expanduser().exists():
        model = replace(model, checkpoint=str(path.absolute()))
    teacher = fingerprint(path)
    about = {
        'inputs': [str(path) for path in inputs],
        'counts': [len(opened) for opened in samples.datasets],  # type: ignore[arg-type]
        'lists': [opened.checksum for opened in samples.datasets
                  if isinstance(opened, PictureList)],
        'teacher': teacher, 'input_size': settings.model.input_size,
        'variant': settings.model.variant, 'max_depth': settings.model.max_depth,
        'per_shard': settings.per_shard, 'jpeg': settings.jpeg, **asdict(settings.limits)}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    job = Job(tuple(inputs), out, model, teacher, digest, len(samples),
              settings.per_shard, settings.jpeg, settings.limits, load, device, batch)
    try:
        with shard_folder.filling(out, inputs, 'label'):
            shard_folder.require_same(out / LABELS, about)
            todo = [number for number in job.shards() if not _is_done(job, number)]
            with Progress(console=Console(stderr=True)) as progress:
                count = len(job.shards())
                bar = progress.add_task('labelling', total=count, completed=count - len(todo))
                for _ in engine.run(todo, job) if todo else ():
                    progress.advance(bar)
            return _totals(job)
    except OSError as error:
        raise DatasetError(
            f'cannot write to {out} ({error.strerror or error}): make room or give another OUT, '
            'then call it again') from error


def _is_done(job: Job, number: int) -> bool:
    """Tell whether a shard is finished.

    Raises:
        DatasetError: it is, but is not of this job.
    """
    tar = job.tar(number)
    if not is_finished(tar):
        return False
    if read_report(tar).settings != job.settings:
        raise DatasetError(f'{tar} was made by another teacher or with other settings: remove it '
                           'and its .npy, or give another OUT')
    return True


def _totals(job: Job) -> Totals:
    totals = Totals()
    for number in job.shards():
        report = read_report(job.tar(number))
        totals.pictures += report.pictures
        totals.labelled += report.labelled
        for why, count in report.left_out.items():
            totals.left_out[why] = totals.left_out.get(why, 0) + count
        totals.named += report.corrupt[:NAMED - len(totals.named)]
    return totals
