# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What became of a bag, or of a part of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
import json
from pathlib import Path
from statistics import median
from typing import Any

from depth_anything_ros.annotation.unfinished import cannot_write, unfinished


@dataclass(frozen=True)
class Unit:
    """What is to be annotated; may be pickled.

    Attributes:
        path: of a bag.
        start_ns: time of recording from which images are answered; None is from the beginning.
        stop_ns: time of recording before which they are; None is up to the end.
        before_s: images of so long before start_ns are worked through too, and not written, so that
            what is estimated over time is as it would be in the middle of the bag.
    """

    path: str
    start_ns: int | None = None
    stop_ns: int | None = None
    before_s: float = 0.0


@dataclass(frozen=True)
class Failure:
    """One image or other message that could not be used.

    Attributes:
        topic: on which it is.
        time_ns: when it was recorded.
        stamp_ns: its stamp; None where it has none.
        reason: short key.
        message: the whole line.
    """

    topic: str
    time_ns: int
    stamp_ns: int | None
    reason: str
    message: str


@dataclass
class CameraReport:
    """What became of one camera's images.

    Attributes:
        frames: images that were answered.
        states: state of the scale -> how many of them.
        sigmas: of each with metres, the median relative standard deviation.
        failed: reason -> how many images could not be answered.
        incomplete: reason -> how many frames did without something that was wrong.
    """

    frames: int = 0
    states: Counter[str] = field(default_factory=Counter)
    sigmas: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    incomplete: Counter[str] = field(default_factory=Counter)


@dataclass
class UnitReport:
    """What became of a unit; may be pickled.

    Attributes:
        unit: that it is about.
        output: where it was written.
        cameras: topic of the images -> what became of them.
        failures: images and other messages that could not be used, the first of them.
        refused: reason -> how many messages of other topics could not be used.
        notes: what was chosen and somebody may want otherwise.
        finished: whether it came to its end; else the output is in unfinished(output).
    """

    unit: Unit
    output: str
    cameras: dict[str, CameraReport] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    finished: bool = False

    def lines(self) -> list[str]:
        """Return it in words, a line for each thing."""
        said = list(self.notes)
        for topic, camera in self.cameras.items():
            line = f'{topic}: {camera.frames} frames'
            for counts in (camera.states, camera.failed):
                line += ''.join(f', {count} {name}' for name, count in sorted(counts.items()))
            if camera.sigmas:
                line += f'; median sigma {median(camera.sigmas):.1%}'
            said.append(line)
            for name, count in sorted(camera.incomplete.items()):
                said.append(f'{topic}: {count} frames went without: {name}')
        said += [f'{count} messages of other topics: {r}' for r, count in self.refused.items()]
        where = self.output if self.finished else unfinished(Path(self.output))
        return [*said, f'{"written" if self.finished else "stopped; unfinished"}: {where}']

    def as_json(self) -> dict[str, Any]:
        """Return it as values of JSON; of the sigmas only their median."""
        cameras = {
            topic: {
                'frames': camera.frames,
                'states': dict(camera.states),
                'sigma_median': median(camera.sigmas) if camera.sigmas else None,
                'failed': dict(camera.failed),
                'incomplete': dict(camera.incomplete),
            }
            for topic, camera in self.cameras.items()
        }
        return {
            'unit': asdict(self.unit),
            'output': self.output,
            'finished': self.finished,
            'cameras': cameras,
            'failures': [asdict(failure) for failure in self.failures],
            'refused': dict(self.refused),
            'notes': self.notes,
        }

    def write(self, path: Path) -> None:
        """Write it as a JSON file.

        Raises:
            DatasetError: there it cannot be written.
        """
        try:
            path.write_text(json.dumps(self.as_json(), indent=1) + '\n')
        except OSError as error:
            raise cannot_write(path, error) from error
