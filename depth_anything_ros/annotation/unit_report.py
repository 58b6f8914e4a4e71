# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What became of a bag, or of a part of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
import json
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from depth_anything_ros.annotation.unfinished import cannot_write, unfinished
from depth_anything_ros.errors import DatasetError, reason

REPORT = '.report.json'  # after the name of the output


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

    def holds(self, time_ns: int) -> bool:
        """Tell whether what was recorded then is of this unit."""
        after_start = self.start_ns is None or time_ns >= self.start_ns
        return after_start and (self.stop_ns is None or time_ns < self.stop_ns)


class Work(NamedTuple):
    """A unit, and the folder that is to be made of it; may be pickled."""

    unit: Unit
    out: Path


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
        sigmas: median relative standard deviation, in three digits -> how many frames with metres
            have it.
        failed: reason -> how many images could not be answered.
        incomplete: reason -> how many frames did without something that was wrong.
    """

    frames: int = 0
    states: Counter[str] = field(default_factory=Counter)
    sigmas: Counter[float] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    incomplete: Counter[str] = field(default_factory=Counter)

    def add_sigma(self, sigma: float) -> None:
        """Count the sigma of a frame."""
        self.sigmas[float(f'{sigma:.3g}')] += 1

    @property
    def sigma_median(self) -> float | None:
        """The median over frames with metres, None where there are none."""
        return median(self.sigmas.elements()) if self.sigmas else None

    def add(self, other: CameraReport) -> None:
        """Count the frames of another part of the same camera's too."""
        self.frames += other.frames
        for mine, theirs in zip(self._counts(), other._counts()):
            mine.update(theirs)

    def _counts(self) -> tuple[Counter[Any], ...]:
        return self.states, self.sigmas, self.failed, self.incomplete


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
        error: why it could not be done, empty where it could.
    """

    unit: Unit
    output: str
    cameras: dict[str, CameraReport] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    finished: bool = False
    error: str = ''

    def lines(self) -> list[str]:
        """Return it in words, a line for each thing."""
        said = list(self.notes)
        for topic, camera in self.cameras.items():
            line = f'{topic}: {camera.frames} frames'
            for counts in (camera.states, camera.failed):
                line += ''.join(f', {count} {name}' for name, count in sorted(counts.items()))
            if camera.sigma_median is not None:
                line += f'; median sigma {camera.sigma_median:.1%}'
            said.append(line)
            for name, count in sorted(camera.incomplete.items()):
                said.append(f'{topic}: {count} frames went without: {name}')
        said += [f'{count} messages of other topics: {r}' for r, count in self.refused.items()]
        if self.error:
            return [*said, self.error]
        where = self.output if self.finished else unfinished(Path(self.output))
        return [*said, f'{"written" if self.finished else "stopped; unfinished"}: {where}']

    def as_json(self) -> dict[str, Any]:
        """Return it as values of JSON."""
        cameras = {
            topic: {
                'frames': camera.frames,
                'states': dict(camera.states),
                'sigma_median': camera.sigma_median,
                'sigmas': dict(sorted(camera.sigmas.items())),
                'failed': dict(camera.failed),
                'incomplete': dict(camera.incomplete),
            }
            for topic, camera in self.cameras.items()
        }
        return {
            'unit': asdict(self.unit),
            'output': self.output,
            'finished': self.finished,
            'error': self.error,
            'cameras': cameras,
            'failures': [asdict(failure) for failure in self.failures],
            'refused': dict(self.refused),
            'notes': self.notes,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> UnitReport:
        """Return what as_json() was made of."""
        cameras = {}
        for topic, of_camera in content['cameras'].items():
            counts = {
                name: Counter(of_camera[name]) for name in ('states', 'failed', 'incomplete')
            }
            sigmas = Counter({float(sigma): n for sigma, n in of_camera['sigmas'].items()})
            cameras[topic] = CameraReport(of_camera['frames'], sigmas=sigmas, **counts)
        return cls(
            **content
            | {
                'unit': Unit(**content['unit']),
                'cameras': cameras,
                'failures': [Failure(**failure) for failure in content['failures']],
                'refused': Counter(content['refused']),
            }
        )

    def write(self) -> None:
        """Write it as a JSON file beside the output.

        Raises:
            DatasetError: there it cannot be written.
        """
        path = report_path(Path(self.output))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self.as_json(), indent=1) + '\n')
        except OSError as error:
            raise cannot_write(path, error) from error


def report_path(out: Path) -> Path:
    """Return where the report on an output is."""
    return out.with_name(out.name + REPORT)


def read_report(path: Path) -> UnitReport:
    """Read what UnitReport.write() wrote.

    Raises:
        DatasetError: it is not there, or no such report.
    """
    try:
        return UnitReport.from_json(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DatasetError(
            f'{path} is no report of annotate ({reason(error)}): remove its output and start again'
        ) from error
