# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tasks on the workers of a Ray cluster, each of which keeps its network from task to task.

A worker that dies (killed, out of memory, its machine gone) is replaced, and its task begun anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
import os
import socket
from typing import Any, Generic, Protocol, TypeVar

from depth_anything_ros.errors import ConfigError, DepthAnythingError, reason

ATTEMPTS = 3  # at a task whose worker dies
_REACH_S = 10.0
_POLL_S = 0.2  # between looks at progress and at a wish to stop
_OBJECT_STORE_BYTES = 80 * 1024 * 1024  # the least; only reports pass through it

Task = TypeVar('Task')
Answer = TypeVar('Answer')


class Worker(Protocol):
    """What runs on a machine of the cluster, made of a job; a second thread of it answers."""

    def work(self, task: Any) -> Any:
        """Do a task."""

    def progress(self) -> tuple[int, int]:
        """Say how much of it is done, of how much."""

    def stop(self) -> None:
        """Leave it unfinished."""


@dataclass(eq=False)
class Attempt(Generic[Task]):
    """A task in the hands of a worker."""

    task: Task
    number: int
    worker: Any
    is_lost: bool = False  # the worker has died
    progress: Any = None  # the answer that is waited for


def _reach(address: str) -> None:
    """Connect to HOST:PORT, where Ray itself would go on trying for minutes.

    Raises:
        OSError: nobody is there.
        ValueError: that is no port.
    """
    host, is_pair, port = address.rpartition(':')
    if is_pair and '://' not in address:
        socket.create_connection((host.strip('[]'), int(port)), timeout=_REACH_S).close()


class _Staff(Generic[Task]):
    """The workers of a run: those that start, those that wait and those that are at a task.

    A task is given to none before it has started, since the cluster may never have room for it.
    """

    def __init__(self, ray: Any, worker: type[Worker], job: Any, cores: int, on_gpu: bool) -> None:
        options = {'num_cpus': cores, 'num_gpus': int(on_gpu), 'max_concurrency': 2}
        self._ray, self._class = ray, ray.remote(worker).options(**options)
        self._job = ray.put(job)
        self._starting: dict[Any, Any] = {}  # answer -> worker
        self._failed_starts = 0
        self.idle: list[Any] = []
        self.busy: dict[Any, Attempt[Task]] = {}  # by answer

    def hire(self, count: int) -> None:
        for _ in range(count):
            worker = self._class.remote(self._job)
            self._starting[worker.progress.remote()] = worker

    def begin(self, task: Task, number: int) -> None:
        worker = self.idle.pop()
        self.busy[worker.work.remote(task)] = Attempt(task, number, worker)

    def ended(self) -> Iterator[tuple[Attempt[Task], Any]]:
        """Wait a moment; yield attempts that have ended, and their answers."""
        answers, _ = self._ray.wait([*self.busy, *self._starting], timeout=_POLL_S)
        for answer in answers:
            if answer in self.busy:
                yield self.busy.pop(answer), answer
            else:
                self._start(answer, self._starting.pop(answer))

    def _start(self, answer: Any, worker: Any) -> None:
        try:
            self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts == ATTEMPTS:
                raise ConfigError(
                    f'no worker starts ({reason(error)}): see that every machine of the cluster '
                    'has the same version of this package, and ROS'
                ) from error
            self.hire(1)
        else:
            self._failed_starts = 0
            self.idle.append(worker)

    def take_back(self, attempt: Attempt[Task]) -> None:
        """Have the worker of an attempt at hand again, or another in its place."""
        if attempt.is_lost:
            self._ray.kill(attempt.worker)  # one that was only out of reach must not go on
            self.hire(1)
        else:
            self.idle.append(attempt.worker)

    def dismiss(self) -> None:
        """End all workers."""
        if self._ray.is_initialized():  # else they have gone, and asking would start a cluster
            working = [attempt.worker for attempt in self.busy.values()]
            for worker in (*self.idle, *self._starting.values(), *working):
                self._ray.kill(worker)


class RayWorkers:
    """A Ray cluster, and what of it is worked with."""

    def __init__(
        self, address: str | None = None, workers: int | None = None, cores: int = 1
    ) -> None:
        """Connect to a cluster, or start one on this machine.

        Args:
            address: of the cluster; None is the one that RAY_ADDRESS names, or a new one here.
            workers: how many; None is as many as there is room for.
            cores: of each worker, which asks Ray for them and uses no more; beside them a GPU.

        Raises:
            ConfigError: there is no cluster at that address.
        """
        os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')  # nobody is told without being asked
        import ray

        self._ray, self._workers, self._cores = ray, workers, cores
        options: dict[str, Any] = {'address': address}
        if address is None and 'RAY_ADDRESS' not in os.environ:
            options = {
                'address': 'local',
                'include_dashboard': False,
                'object_store_memory': _OBJECT_STORE_BYTES,
                'num_cpus': None if workers is None else workers * cores,
            }
        try:
            if address is not None:
                _reach(address)
            ray.init(logging_level='warning', **options)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f'no Ray cluster at --address {address} ({reason(error)}): start one with ray '
                'start --head, see that RAY_AUTH_MODE and its token are the same there, or leave '
                '--address out for this machine'
            ) from error

    def do(
        self,
        worker: type[Worker],
        job: Any,
        device: str,
        tasks: Sequence[Task],
        died: Callable[[Task, int, str], Answer | None],
        tell: Callable[[Task, int, int], None] = lambda task, done, of: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[Answer]:
        """Have tasks done, one at a time by each worker; yield what came of each as it ends.

        Args:
            worker: what does them, made of the job.
            job: what it is to do; may be pickled.
            device: as runtime.device.
            tasks: in the order in which they are begun.
            died: of a task, how often it was tried and why its worker died: what came of it all the
                same; None begins it anew.
            tell: told how far a task is.
            stopped: once true, no task is begun and those that run are told to stop.

        Raises:
            ConfigError: the cluster has no room for a worker, or none starts.
            DepthAnythingError: a worker raised it.
        """
        todo = deque((task, 1) for task in tasks)
        staff: _Staff[Task] = _Staff(self._ray, worker, job, self._cores, self._on_gpu(device))
        staff.hire(min(self._count(device), len(tasks)))
        told_to_stop = False
        try:
            while staff.busy or (todo and not told_to_stop):
                while todo and staff.idle and not told_to_stop:
                    staff.begin(*todo.popleft())
                for attempt, answer in staff.ended():
                    came: Answer | None = self._came(answer, attempt, died)
                    staff.take_back(attempt)
                    if came is None:
                        todo.append((attempt.task, attempt.number + 1))
                    else:
                        yield came
                for attempt in staff.busy.values():
                    self._ask(attempt, tell)
                if stopped() and not told_to_stop:
                    told_to_stop = True
                    for attempt in staff.busy.values():
                        attempt.worker.stop.remote()
        finally:
            staff.dismiss()

    def close(self) -> None:
        """Let go of the cluster; workers go with the connection."""
        self._ray.shutdown()

    def _count(self, device: str) -> int:
        if self._workers is not None:
            return self._workers
        there = self._ray.cluster_resources()
        count = int(there.get('CPU', 0) // self._cores)
        if self._on_gpu(device):
            count = min(count, int(there.get('GPU', 0)))
        if not count:
            wanted = f'{self._cores} CPU' + (' and a GPU' if self._on_gpu(device) else '')
            raise ConfigError(
                f'the Ray cluster has not {wanted} for one worker yet: --workers N waits for N of '
                'them, --cpus-per-worker asks for fewer, or set runtime.device to cpu'
            )
        return count

    def _on_gpu(self, device: str) -> bool:
        if ':' in device:
            raise ConfigError(
                f'runtime.device is {device}, and Ray gives each worker a card of its own: set it '
                'to cuda'
            )
        if device == 'auto':
            return bool(self._ray.cluster_resources().get('GPU', 0))
        return device == 'cuda'

    def _came(
        self,
        answer: Any,
        attempt: Attempt[Task],
        died: Callable[[Task, int, str], Answer | None],
    ) -> Answer | None:
        """Return what came of a task, None where it is to be begun anew."""
        errors = self._ray.exceptions
        try:
            came: Answer = self._ray.get(answer)
            return came
        except errors.RayTaskError as error:  # raised by our code over there, not by Ray
            if isinstance(error.cause, DepthAnythingError):
                raise error.cause from None
            raise
        except errors.RayError as error:
            attempt.is_lost = True
            return died(attempt.task, attempt.number, reason(error))

    def _ask(self, attempt: Attempt[Task], tell: Callable[[Task, int, int], None]) -> None:
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
