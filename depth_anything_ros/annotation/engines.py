# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Units -> reports, in this process; ray_engine does the same on many machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
import os
from queue import SimpleQueue
from threading import Event, Lock
from typing import Any, Protocol

from depth_anything_ros.annotation.unit import annotate_unit, LoadPredictor, Request
from depth_anything_ros.annotation.unit_report import UnitReport, Work
from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig
from depth_anything_ros.errors import DatasetError
from depth_anything_ros.network.devices import select_device
from depth_anything_ros.network.predictor import Predictor
from depth_anything_ros.network.threads import thread_count

_LOADING = Lock()  # how many threads PyTorch has while it loads is a setting of the process
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
        return replace(self, load=lru_cache(maxsize=1)(partial(_load, self.load)))


def _load(load: LoadPredictor, model: ModelConfig, runtime: RuntimeConfig) -> Predictor:
    with _LOADING:
        return load(model, runtime)


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
    """In this process: one unit after the other, or one on each of several devices."""

    def __init__(self, devices: Sequence[str] = ()) -> None:
        """Take the devices, as runtime.device names one; none is that of the job.

        Raises:
            DeviceError: one is not there.
        """
        for device in devices:
            select_device(device)
        self._devices = devices

    def run(
        self, work: Sequence[Work], job: Job, tell: Tell, stopped: Callable[[], bool]
    ) -> Iterator[UnitReport]:
        """See Engine."""
        jobs = [one.keeping_network() for one in self._shares(job)]
        if len(jobs) > 1:
            yield from _side_by_side(work, jobs, tell, stopped)
            return
        for task in work:
            yield annotate(task, jobs[0], partial(tell, task), stopped)
            if stopped():
                return

    def _shares(self, job: Job) -> list[Job]:
        """Return the job for each device, with its share of this machine's cores."""
        count = len(self._devices)
        if not count:
            return [job]
        runtime = job.config.runtime
        values: dict[str, Any] = {}
        if count > 1:
            job = replace(job, cores=max(1, len(os.sched_getaffinity(0)) // count))
            values['threads'] = runtime.threads or max(1, thread_count(0) // count)
        return [
            replace(job, config=replace(
                job.config, runtime=replace(runtime, device=device, **values)
            ))
            for device in self._devices
        ]

    def close(self) -> None:
        """See Engine."""


def _side_by_side(
    work: Sequence[Work], jobs: list[Job], tell: Tell, stopped: Callable[[], bool]
) -> Iterator[UnitReport]:
    """Do what LocalEngine.run() does with several jobs, each at one unit at a time."""
    free: SimpleQueue[Job] = SimpleQueue()
    for job in jobs:
        free.put(job)
    ended = Event()

    def stop() -> bool:
        return ended.is_set() or stopped()

    def do(task: Work) -> UnitReport | None:
        job = free.get()
        try:
            return None if stop() else annotate(task, job, partial(tell, task), stop)
        finally:
            free.put(job)

    pool = ThreadPoolExecutor(len(jobs), 'unit')
    try:
        for done in as_completed([pool.submit(do, task) for task in work]):
            report = done.result()
            if report is not None:
                yield report
    finally:
        ended.set()
        pool.shutdown(cancel_futures=True)


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
