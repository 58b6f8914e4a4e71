# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Units on the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from depth_anything_ros import ray_workers
from depth_anything_ros.annotation.engines import annotate, failed, Job, Tell
from depth_anything_ros.annotation.unit_report import read_report, report_path, UnitReport, Work
from depth_anything_ros.errors import DatasetError


class _Worker:
    """See ray_workers.Worker."""

    def __init__(self, job: Job) -> None:
        self._job, self._done, self._is_stopped = job.keeping_network(), (0, 0), False

    def work(self, task: Work) -> UnitReport:
        self._done = (0, 0)
        return annotate(task, self._job, self._tell, lambda: self._is_stopped)

    def progress(self) -> tuple[int, int]:
        return self._done

    def stop(self) -> None:
        self._is_stopped = True

    def _tell(self, done: int, of: int) -> None:
        self._done = (done, of)


class RayEngine(ray_workers.RayWorkers):
    """On a Ray cluster, one unit at a time on each worker."""

    def run(
        self, work: Sequence[Work], job: Job, tell: Tell, stopped: Callable[[], bool]
    ) -> Iterator[UnitReport]:
        """See Engine."""
        job = replace(job, cores=self._cores)
        device = job.config.runtime.device
        yield from self.do(_Worker, job, device, work, _died, tell, stopped)


def _died(task: Work, attempts: int, why: str) -> UnitReport | None:
    """Return what came of a unit whose worker died, None where it is to be begun anew."""
    if task.out.exists():  # it died between the end of the work and the word of it
        return read_report(report_path(task.out))
    if attempts < ray_workers.ATTEMPTS:
        return None
    return failed(task, DatasetError(
        f'{task.unit.path}: its worker died {attempts} times ({why}): give workers more memory, or '
        'fewer to a machine (--workers)'
    ))
