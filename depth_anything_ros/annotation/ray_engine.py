# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Units on the workers of a Ray cluster, each of which keeps its network from unit to unit.

A worker that dies (killed, out of memory, its machine gone) is replaced, and its unit begun anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
import os
from typing import Any

from depth_anything_ros.annotation.engines import annotate, failed, Job, Tell
from depth_anything_ros.annotation.unit_report import read_report, report_path, UnitReport, Work
from depth_anything_ros.errors import ConfigError, DatasetError, DepthAnythingError, reason

ATTEMPTS = 3  # at a unit whose worker dies
_POLL_S = 0.2  # between looks at progress and at a wish to stop
_OBJECT_STORE_BYTES = 80 * 1024 * 1024  # the least; only reports pass through it


class _Worker:
    """What runs on a machine of the cluster; one thread works, and another answers meanwhile."""

    def __init__(self, job: Job) -> None:
        self._job, self._done, self._is_stopped = job.keeping_network(), (0, 0), False

    def annotate(self, task: Work) -> UnitReport:
        self._done = (0, 0)
        return annotate(task, self._job, self._tell, lambda: self._is_stopped)

    def progress(self) -> tuple[int, int]:
        return self._done

    def stop(self) -> None:
        self._is_stopped = True

    def _tell(self, done: int, of: int) -> None:
        self._done = (done, of)


@dataclass(eq=False)
class _Attempt:
    """A unit in the hands of a worker."""

    task: Work
    number: int
    worker: Any
    is_lost: bool = False  # the worker has died
    progress: Any = None  # the answer that is waited for


class RayEngine:
    """On a Ray cluster, one unit at a time on each worker."""

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        """Connect to a cluster, or start one on this machine.

        Args:
            address: of the cluster; None is the one that RAY_ADDRESS names, or a new one here.
            workers: how many; None is one for each GPU, or for each core where there is none.

        Raises:
            ConfigError: there is no cluster at that address.
        """
        os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')  # nobody is told without being asked
        import ray

        self._ray, self._workers = ray, workers
        options: dict[str, Any] = {'address': address}
        if address is None and 'RAY_ADDRESS' not in os.environ:
            options = {
                'address': 'local',
                'include_dashboard': False,
                'object_store_memory': _OBJECT_STORE_BYTES,
            }
        try:
            ray.init(logging_level='warning', **options)
        except (ConnectionError, ValueError) as error:
            raise ConfigError(
                f'no Ray cluster at --address {address} ({reason(error)}): start one with ray '
                'start --head, or leave --address out for this machine'
            ) from error

    def run(
        self, work: Sequence[Work], job: Job, tell: Tell, stopped: Callable[[], bool]
    ) -> Iterator[UnitReport]:
        """See Engine."""
        ray, hire = self._ray, self._hiring(job)
        todo = deque((task, 1) for task in work)
        idle = [hire() for _ in range(min(self._count(job), len(work)))]
        busy: dict[Any, _Attempt] = {}
        told_to_stop = False
        while busy or (todo and not told_to_stop):
            while todo and idle and not told_to_stop:
                attempt = _Attempt(*todo.popleft(), idle.pop())
                busy[attempt.worker.annotate.remote(attempt.task)] = attempt
            ended, _ = ray.wait(list(busy), timeout=_POLL_S)
            for answer in ended:
                attempt = busy.pop(answer)
                report = self._report(answer, attempt)
                if attempt.is_lost:
                    ray.kill(attempt.worker)  # one that was only out of reach must not go on
                    attempt.worker = hire()
                idle.append(attempt.worker)
                if report is None:
                    todo.append((attempt.task, attempt.number + 1))
                else:
                    yield report
            for attempt in busy.values():
                self._ask(attempt, tell)
            if stopped() and not told_to_stop:
                told_to_stop = True
                for attempt in busy.values():
                    attempt.worker.stop.remote()

    def close(self) -> None:
        """See Engine; workers go with the connection."""
        self._ray.shutdown()

    def _hiring(self, job: Job) -> Callable[[], Any]:
        """Return what starts a worker."""
        gpus = 1 if self._on_gpu(job) else 0
        worker = self._ray.remote(_Worker)
        shared = self._ray.put(job)
        return lambda: worker.options(num_cpus=1, num_gpus=gpus, max_concurrency=2).remote(shared)

    def _count(self, job: Job) -> int:
        if self._workers is not None:
            return self._workers
        kind = 'GPU' if self._on_gpu(job) else 'CPU'
        count = int(self._ray.cluster_resources().get(kind, 0))
        if not count:
            raise ConfigError(
                f'the Ray cluster has no {kind} yet: --workers N waits for N of them, or set '
                'runtime.device to cpu'
            )
        return count

    def _on_gpu(self, job: Job) -> bool:
        device = job.config.runtime.device
        if ':' in device:
            raise ConfigError(
                f'runtime.device is {device}, and Ray gives each worker a card of its own: set it '
                'to cuda'
            )
        if device == 'auto':
            return bool(self._ray.cluster_resources().get('GPU', 0))
        return device == 'cuda'

    def _report(self, answer: Any, attempt: _Attempt) -> UnitReport | None:
        """Return what came of a unit, None where it is to be begun anew.

        Raises:
            DepthAnythingError: the network cannot be loaded.
        """
        errors, task = self._ray.exceptions, attempt.task
        try:
            report: UnitReport = self._ray.get(answer)
            return report
        except errors.RayTaskError as error:  # raised by our code over there, not by Ray
            if isinstance(error.cause, DepthAnythingError):
                raise error.cause from None
            raise
        except errors.RayError as error:
            attempt.is_lost = True
            if task.out.exists():  # it died between the end of the work and the word of it
                return read_report(report_path(task.out))
            if attempt.number < ATTEMPTS:
                return None
            return failed(task, DatasetError(
                f'{task.unit.path}: its worker died {ATTEMPTS} times ({reason(error)}): give '
                'workers more memory, or fewer to a machine (--workers)'
            ))

    def _ask(self, attempt: _Attempt, tell: Tell) -> None:
        """Pass on what a worker says of its progress, and ask it again."""
        if attempt.progress is not None:
            answered, _ = self._ray.wait([attempt.progress], timeout=0)
            if not answered:
                return
            try:
                tell(attempt.task, *self._ray.get(attempt.progress))
            except self._ray.exceptions.RayError:
                return  # it has died; so says its answer
        attempt.progress = attempt.worker.progress.remote()
