# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Images of a recording without a fit of their own, once more: with the fits before and after.

What the first pass found of all images is kept in memory, some kilobytes each. Of the second one
only the images of a gap that sweeps can be carried to are kept, in a file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
import pickle
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from depth_anything_ros.annotation.recording import RecordedImage
from depth_anything_ros.config import Config
from depth_anything_ros.metric_depth.bridging import Bridged, carry
from depth_anything_ros.metric_depth.scale import PassRecord, State
from depth_anything_ros.metric_depth.smoothing import gaps, smooth
from depth_anything_ros.metric_depth.sources import Source, Sweep
from depth_anything_ros.metric_depth.ways import LONGEST_S, View
from depth_anything_ros.poses import Matrix
from depth_anything_ros.ros.cdr import NANOSECONDS
from depth_anything_ros.ros.frame_step import FrameStep, Gathered

_NO_IMAGE = np.empty((0, 0, 3), np.uint8)


@dataclass(frozen=True, eq=False)
class Met:
    """An image with all that belongs to it.

    Attributes:
        number: of it in the recording, counted from 0.
        answer: of it among its camera's answers, counted from 0; None where it is worked through
            and not written.
        image: as it was recorded.
        gathered: what belongs to it.
        T_fixed_camera: 4x4 pose in scale.fixed_frame, None where it is not known.
    """

    number: int
    answer: int | None
    image: RecordedImage
    gathered: Gathered
    T_fixed_camera: Matrix | None


@dataclass(frozen=True, eq=False)
class Measured:
    """What the first pass leaves of an image: its numbers as above, and what was found."""

    number: int
    answer: int | None
    record: PassRecord

    @property
    def waits(self) -> bool:
        """Whether it is measured again."""
        return self.record.fit.state is not State.FITTED


class CameraGaps:
    """The images of one camera that are measured again, as they come by a second time."""

    def __init__(
        self, images: list[Measured], step: FrameStep, config: Config, folder: Path
    ) -> None:
        """Find the gaps.

        Args:
            images: all that were measured in the first pass, in their order.
            step: of the camera, in the second pass.
            config: the node's parameters.
            folder: where images may be kept meanwhile.
        """
        records = [image.record for image in images]
        self._images, self._step, self._config = images, step, config
        self._lines = smooth(records, config.scale.max_hold)
        self._ahead = deque(_Gap(numbers, records, folder) for numbers in gaps(records))
        self._index = {image.number: i for i, image in enumerate(images)}

    def needs(self, number: int) -> bool:
        """Tell whether an image of the recording is measured again, or is the end of a gap."""
        index = self._index.get(number)
        return index is not None and (self._images[index].waits or bool(self._near(index)))

    def answer_of(self, number: int) -> int | None:
        """Return the number that an image has among the answers."""
        return self._images[self._index[number]].answer

    def add(self, met: Met) -> Iterator[tuple[Met, Bridged]]:
        """Take an image that is needed; yield those of which all is known now, each once."""
        index = self._index[met.number]
        is_kept = False
        for gap in self._near(index):
            if gap.keeps(index):
                is_kept = True
                gap.add(index, met)
            if index == gap.numbers[-1]:
                self._ahead.popleft()
                yield from self._filled(gap)
        if self._images[index].waits and not is_kept:
            yield met, Bridged(self._lines[index])

    def _near(self, index: int) -> list[_Gap]:
        """Return the gaps that an image is in: two where it is the end of both."""
        return [gap for gap in list(self._ahead)[:2] if index in gap.numbers]

    def _filled(self, gap: _Gap) -> Iterator[tuple[Met, Bridged]]:
        with closing(gap):
            predict = partial(self._predict, gap)
            carried = carry(gap.views(), predict, self._config, self._step.spec)
            for n, (index, sweeps) in enumerate(zip(gap.indices, carried)):
                if self._images[index].waits:
                    yield gap.met(n), Bridged(self._lines[index], sweeps)

    def _predict(self, gap: _Gap, n: int) -> Tensor:
        return self._step.predict(gap.met(n).gathered.seen).values


@dataclass(eq=False)
class _Gap:
    """The images of a gap that its sweeps may be carried to, and those at its ends.

    Attributes:
        numbers: of all its images, among those of the camera.
        records: of the camera.
        indices: those that have been kept.
    """

    numbers: range
    records: list[PassRecord]
    folder: Path
    indices: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ends = [i for i in {self.numbers[0], self.numbers[-1]} if self._has_sweep(i)]
        self._kept: list[tuple[Met, int, int]] = []
        self._file: Any = None

    def keeps(self, index: int) -> bool:
        """Tell whether a sweep may be carried to an image, or is its own."""
        stamp_ns, reach_ns = self.records[index].stamp_ns, LONGEST_S * NANOSECONDS
        return index in self.numbers and any(
            abs(stamp_ns - self.records[end].stamp_ns) <= reach_ns for end in self._ends
        )

    def add(self, index: int, met: Met) -> None:
        """Keep an image."""
        self.indices.append(index)
        seen = met.gathered.seen
        at, after = self._write(seen.image), self._write(met.gathered.sources)
        empty = replace(met.gathered, seen=replace(seen, image=_NO_IMAGE), sources=())
        image = met.image._replace(data=b'')
        self._kept.append((replace(met, image=image, gathered=empty), at, after))

    def close(self) -> None:
        """Let go of the images."""
        if self._file is not None:
            self._file.close()

    def views(self) -> list[View]:
        """Return what carry() is told of those that were kept."""
        return [
            View(
                kept.gathered.seen.stamp_ns,
                partial(self._image, n),
                kept.gathered.seen.camera,
                self._sweep(n) if index in self._ends else None,
                kept.T_fixed_camera,
            )
            for n, (index, (kept, _, _)) in enumerate(zip(self.indices, self._kept))
        ]

    def met(self, n: int) -> Met:
        """Return one of those that were kept."""
        kept, _, _ = self._kept[n]
        seen = replace(kept.gathered.seen, image=self._image(n))
        return replace(
            kept, gathered=replace(kept.gathered, seen=seen, sources=self._sources(n))
        )

    def _has_sweep(self, index: int) -> bool:
        fit = self.records[index].fit
        return fit.state is State.FITTED and 'lidar' in fit.method.split('+')

    def _image(self, n: int) -> NDArray[np.uint8]:
        image: NDArray[np.uint8] = self._read(self._kept[n][1])
        return image

    def _sources(self, n: int) -> tuple[Source, ...]:
        sources: tuple[Source, ...] = self._read(self._kept[n][2])
        return sources

    def _sweep(self, n: int) -> Sweep | None:
        return next((one for one in self._sources(n) if isinstance(one, Sweep)), None)

    def _write(self, content: object) -> int:
        if self._file is None:
            self._file = TemporaryFile(dir=self.folder)
        at: int = self._file.seek(0, 2)
        pickle.dump(content, self._file, pickle.HIGHEST_PROTOCOL)
        return at

    def _read(self, at: int) -> Any:
        self._file.seek(at)
        return pickle.load(self._file)
