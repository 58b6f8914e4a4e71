# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Units -> reports, here and one after the other; ray_engine does the same on many machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Protocol

from depth_anything_ros.annotation.unit import annotate_unit, LoadPredictor, Request
from depth_anything_ros.annotation.unit_report import UnitReport, Work
from depth_anything_ros.config import Config
from depth_anything_ros.errors import DatasetError

Tell = Callable[[Work, int, int], None]  # how many images of a unit are done, of how many


@dataclass(frozen=True)
class Job:
    """What is done to every unit; may be pickled where load may.

    Attributes:
        request: what is wanted.
        config: the node's parameters.
        load: makes the network.
        cores: that one unit at a time may use; None is all of the machine.
    """

    request: Request
    config: Config
    load: LoadPredictor
    cores: int | None = None

    def keeping_network(self) -> Job:
        """Return one whose network is loaded once."""
        return replace(self, load=lru_cache(maxsize=1)(self.load))


class Engine(Protocol):
    """Where units are worked through."""

    def run(
        self, work: Sequence[Work], job: Job, tell: Tell, stopped: Callable[[], bool]
    ) -> Iterator[UnitReport]:
        """Yield the report on each unit as it ends; what is wrong with a bag fails alone.

        Args:
            work: the units; outputs that exist are not among them.
            job: what is done to each.
            tell: told how far a unit is.
            stopped: once true, no unit is begun and those that run are left unfinished.

        Raises:
            DepthAnythingError: the network cannot be loaded.
        """

    def close(self) -> None:
        """Let go of what was started."""


class LocalEngine:
    """In this process, one after the other."""

    def run(
        self, work: Sequence[Work], job: Job, tell: Tell, stopped: Callable[[], bool]
    ) -> Iterator[UnitReport]:
        """See Engine."""
        job = job.keeping_network()
        for task in work:
            yield annotate(task, job, partial(tell, task), stopped)
            if stopped():
                return

    def close(self) -> None:
        """See Engine."""


def annotate(
    task: Work, job: Job, on_frame: Callable[[int, int], None], stopped: Callable[[], bool]
) -> UnitReport:
    """Annotate a unit; what is wrong with its bag or output is in the report."""
    unit, out = task
    try:
        return annotate_unit(
            unit, job.request, job.config, job.load, out, on_frame, stopped, job.cores
        )
    except DatasetError as error:
        return failed(task, error)


def failed(task: Work, error: DatasetError) -> UnitReport:
    """Return the report on a unit that could not be done, and leave it there if that can be.

    Where an output is already, the report beside it stays.
    """
    report = UnitReport(task.unit, str(task.out), error=str(error))
    if not task.out.exists():
        try:
            report.write()
        except DatasetError:
            pass  # the error itself says that nothing can be written there, or the next one will
    return report
