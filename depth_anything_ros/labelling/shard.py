# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One shard of labels: the unit of work, done as a whole or not at all.

Beside NAME.tar and NAME.npy (see training.shards) lie NAME.jpg, its contact sheet, and NAME.json,
its report.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
import json
from typing import Any, TypeVar

import cv2
import numpy as np

from depth_anything_ros.addresses import PathOrAddress, Unreachable, written_whole
from depth_anything_ros.config import ModelConfig
from depth_anything_ros.errors import BadFrameError, CheckpointError, DatasetError
from depth_anything_ros.labelling.sheet import COUNT, Sheet
from depth_anything_ros.labelling.teacher import (
    fingerprint,
    Label,
    Limits,
    LoadPredictor,
    Teacher,
)
from depth_anything_ros.network.devices import select_device
from depth_anything_ros.network.hub import locate
from depth_anything_ros.training.loading import open_samples
from depth_anything_ros.training.sample import Sample
from depth_anything_ros.training.shards import encode, is_finished, Stored, write_shard

T = TypeVar('T')

GPU_BATCH = 16  # views; on a CPU a batch takes as long as its pictures one by one
CORRUPT = 'corrupt'


@dataclass(frozen=True)
class Job:
    """What is done to every shard; may be pickled where load may.

    Attributes:
        inputs: of pictures; see training.loading.open_samples().
        out: folder of the shards.
        model: the teacher.
        teacher: its fingerprint.
        settings: digest of all that a shard is made by.
        count: pictures of all inputs.
        per_shard: pictures looked at for each.
        jpeg: quality of the pictures, 1 to 100; 0 writes PNG.
        limits: what is left out.
        load: makes the network.
        device: as runtime.device.
        batch: views of pictures of one size that go through the network at once; 0 is 16 on a GPU
            and 1 on a CPU.
        cores: that one shard at a time may use; None is all of the machine.
    """

    inputs: tuple[PathOrAddress, ...]
    out: PathOrAddress
    model: ModelConfig
    teacher: str
    settings: str
    count: int
    per_shard: int
    jpeg: int
    limits: Limits
    load: LoadPredictor
    device: str = 'auto'
    batch: int = 0
    cores: int | None = None

    def tar(self, number: int) -> PathOrAddress:
        """Return where a shard is."""
        return self.out / f'{number:06d}.tar'

    def shards(self) -> range:
        """Return the numbers of all shards."""
        return range(-(-self.count // self.per_shard))


@dataclass
class Report:
    """What became of the pictures of a shard.

    Attributes:
        settings: of the job.
        teacher: of the job.
        pictures: that were looked at.
        labelled: that are in the shard.
        left_out: reason -> how many.
        corrupt: what is wrong with those that could not be read or taken.
        filtered: numbers of those that teach nothing, and why.
    """

    settings: str
    teacher: str
    pictures: int = 0
    labelled: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    corrupt: list[str] = field(default_factory=list)
    filtered: dict[int, str] = field(default_factory=dict)

    def leave_out(self, why: str) -> None:
        """Count one."""
        self.left_out[why] = self.left_out.get(why, 0) + 1


def read_report(tar: PathOrAddress) -> Report:
    """Read the report on a finished shard.

    Raises:
        DatasetError: it is missing or corrupt.
    """
    file = tar.with_suffix('.json')
    try:
        return Report(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f'{file} is missing or corrupt: remove {tar.stem}.npy, and the shard is '
                           'made again') from error


class ShardMaker:
    """Makes shards of a job, with a network that is loaded once."""

    def __init__(self, job: Job) -> None:
        """Open the pictures and load the teacher.

        Raises:
            DepthAnythingError: they are not what the job was made of, or the network not.
        """
        self._job = job
        path = locate(job.model.checkpoint)
        if fingerprint(path) != job.teacher:
            raise CheckpointError(f'{path} is another teacher than where the run was started: copy '
                                  'the same one to every machine')
        self._samples = open_samples(job.inputs, with_depth=False)
        if len(self._samples) != job.count:
            raise DatasetError(f'the inputs hold {len(self._samples)} pictures and held '
                               f'{job.count} when the run was started: leave them as they are')
        batch = job.batch or (1 if select_device(job.device).type == 'cpu' else GPU_BATCH)
        self._window = max(8, 4 * batch)  # pictures in memory, of which those of a size go at once
        self._teacher = Teacher(job.load, job.model, job.device, job.cores or 0, batch)

    def make(self, number: int) -> int:
        """Make a shard that is not there; return its number.

        Raises:
            DatasetError: it cannot be written.
        """
        tar = self._job.tar(number)
        try:
            if not is_finished(tar):
                write_shard(tar, self._stored(number, tar))
        except OSError as error:
            raise DatasetError(f'{tar} cannot be written ({error.strerror or error}): make room, '
                               'then start again') from error
        return number

    def _stored(self, number: int, tar: PathOrAddress) -> Iterator[Stored]:
        """Label a shard's pictures; with the last of them write sheet and report."""
        job, sheet = self._job, Sheet()
        wanted = range(number * job.per_shard, min((number + 1) * job.per_shard, job.count))
        report = Report(job.settings, job.teacher, len(wanted))
        shown = set(np.linspace(wanted[0], wanted[-1], COUNT).astype(int).tolist())
        about = {'teacher': job.teacher, 'metric': self._teacher.is_metric}
        for window in _windows(self._read(wanted), self._window):
            good = [(index, sample) for index, sample in window if isinstance(sample, Sample)]
            for _, error in window:
                if isinstance(error, DatasetError):
                    report.leave_out(CORRUPT)
                    report.corrupt.append(str(error))
            labels = self._teacher([sample.image_rgb for _, sample in good])
            for (index, sample), label in zip(good, labels):
                if isinstance(label, BadFrameError):
                    report.leave_out(CORRUPT)
                    report.corrupt.append(f'{self._name(index)}: {label}')
                elif (why := job.limits.verdict(label)) is not None:
                    report.leave_out(why)
                    report.filtered[index] = why
                else:
                    if index in shown:
                        sheet.add(sample.image_rgb, label)
                    report.labelled += 1
                    yield self._encoded(index, sample, label, about)
        for suffix, data in (('jpg', sheet.jpeg()), ('json', json.dumps(asdict(report)).encode())):
            with written_whole(tar.with_suffix(f'.{suffix}')) as file:
                file.write(data)

    def _encoded(self, index: int, sample: Sample, label: Label, about: dict[str, Any]) -> Stored:
        labelled = replace(sample, inverse_depth=label.inverse_depth, sparse=False)
        source, inside = self._place(index)
        told = {'source': str(source), 'index': inside, **about}
        stored = encode(f'{index:09d}', labelled, told, self._job.jpeg)
        sure = (255 * label.confidence).astype(np.uint8)
        stored.members['confidence.png'] = cv2.imencode('.png', sure)[1].tobytes()
        return stored

    def _read(self, wanted: range) -> Iterator[tuple[int, Sample | DatasetError]]:
        """Read pictures in order, ahead of the network where there is a core for it."""
        if self._job.cores == 1:
            yield from map(self._sample, wanted)
            return
        with ThreadPoolExecutor(1, 'read') as reader:
            numbers = iter(wanted)
            ahead = [reader.submit(self._sample, n) for n in islice(numbers, self._window)]
            while ahead:
                yield ahead.pop(0).result()
                ahead += [reader.submit(self._sample, n) for n in islice(numbers, 1)]

    def _sample(self, index: int) -> tuple[int, Sample | DatasetError]:
        try:
            return index, self._samples[index]
        except Unreachable:
            raise  # left out, it would stay so when the store answers again
        except DatasetError as error:
            return index, error

    def _place(self, index: int) -> tuple[PathOrAddress, int]:
        which = bisect(self._samples.cumulative_sizes, index)
        first = self._samples.cumulative_sizes[which - 1] if which else 0
        return self._job.inputs[which], index - first

    def _name(self, index: int) -> str:
        source, inside = self._place(index)
        return f'picture {inside} of {source}'


def _windows(items: Iterable[T], size: int) -> Iterator[list[T]]:
    items = iter(items)
    while window := list(islice(items, size)):
        yield window
