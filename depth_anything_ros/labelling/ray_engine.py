# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Shards on the workers of a Ray cluster, all of which see inputs and OUT at the same paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from depth_anything_ros import ray_workers
from depth_anything_ros.errors import DatasetError
from depth_anything_ros.labelling.shard import Job, ShardMaker


class _Worker:
    """See ray_workers.Worker; what opens pictures and network is the first task."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._maker: ShardMaker | None = None

    def work(self, task: int) -> int:
        if self._maker is None:  # not as it starts: what is wrong then comes as Ray's own error
            self._maker = ShardMaker(self._job)
        return self._maker.make(task)

    def progress(self) -> tuple[int, int]:
        return 0, 1

    def stop(self) -> None:
        """Nothing: shards are short."""


class RayEngine(ray_workers.RayWorkers):
    """On a Ray cluster, one shard at a time on each worker."""

    def run(self, numbers: Sequence[int], job: Job) -> Iterator[int]:
        """See Engine."""

        def died(number: int, attempts: int, why: str) -> int | None:
            if attempts < ray_workers.ATTEMPTS:
                return None
            raise DatasetError(
                f'{job.tar(number)}: its worker died {attempts} times ({why}): give workers more '
                'memory, or fewer to a machine (--workers)'
            )

        job = replace(job, cores=self._cores)
        yield from self.do(_Worker, job, job.device, numbers, died)
