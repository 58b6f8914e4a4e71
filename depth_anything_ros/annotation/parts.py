# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A long bag in parts, each a unit of its own, and one bag of what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
import errno
import os
from pathlib import Path
import shutil
from typing import Any

import yaml  # type: ignore[import-untyped]

from depth_anything_ros.annotation.unfinished import cannot_write, made_whole, unfinished
from depth_anything_ros.annotation.unit_report import CameraReport, Unit, UnitReport, Work
from depth_anything_ros.errors import DatasetError
from depth_anything_ros.ros.bags import open_bag
from depth_anything_ros.ros.cdr import NANOSECONDS

RUN_UP_S = 20.0  # before each part, after which what is estimated over time is as in one run
MOST_PARTS = 10_000
_INFO = 'rosbag2_bagfile_information'
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK)


def split(unit: Unit, out: Path, seconds: float) -> list[Work]:
    """Cut a bag into parts of about equal length.

    Args:
        unit: a whole bag.
        out: where its output goes.
        seconds: about how long a part is; a bag that is shorter stays whole.

    Raises:
        DatasetError: it is no bag, or goes over so long a time that one in it must be wrong.
    """
    with open_bag(unit.path, recover=True) as bag:
        start_ns, duration_ns = bag.start_time, bag.end_time - bag.start_time
    count = round(duration_ns / (seconds * NANOSECONDS))
    if count < 2:
        return [Work(unit, out)]
    if count > MOST_PARTS:
        raise DatasetError(
            f'{unit.path} would be {count} parts, since its first and last message are '
            f'{duration_ns / NANOSECONDS / 86400:.0f} days apart: a time in it is wrong, or '
            '--split too short'
        )
    edges = [start_ns + duration_ns * i // count for i in range(1, count)]
    return [
        Work(replace(unit, start_ns=start, stop_ns=stop, before_s=RUN_UP_S),
             parts_folder(out) / f'{out.name}_{i}')
        for i, (start, stop) in enumerate(zip([None, *edges], [*edges, None]))
    ]


def parts_folder(out: Path) -> Path:
    """Return where parts are until the output is there."""
    return unfinished(out.with_name(out.name + '.parts'))


def join(unit: Unit, out: Path, parts: Sequence[UnitReport]) -> UnitReport:
    """Make one bag of several files of all parts, and remove them.

    Args:
        unit: the whole bag.
        out: folder that does not exist yet.
        parts: all finished, in the order of time.

    Returns:
        The report on the whole, which is left beside it.

    Raises:
        DatasetError: it cannot be written, or some image is not in it or twice.
    """
    whole = _sum(unit, out, parts)
    _check(whole)
    with made_whole(out) as room:
        room.mkdir()
        infos = []
        for folder in (Path(part.output) for part in parts):
            info = yaml.safe_load((folder / 'metadata.yaml').read_text())[_INFO]
            if info['message_count']:  # of none, times mean nothing
                infos.append(info)
                for name in info['relative_file_paths']:
                    _link(folder / name, room / name)
        (room / 'metadata.yaml').write_text(yaml.safe_dump({_INFO: _joined(infos)}))
        whole.write()
    shutil.rmtree(parts_folder(out), ignore_errors=True)
    return whole


def _sum(unit: Unit, out: Path, parts: Sequence[UnitReport]) -> UnitReport:
    whole = UnitReport(unit, str(out), finished=True)
    for part in parts:
        for topic, camera in part.cameras.items():
            whole.cameras.setdefault(topic, CameraReport()).add(camera)
        whole.failures += part.failures
        whole.refused += part.refused
        whole.notes += [note for note in part.notes if note not in whole.notes]
    return whole


def _check(whole: UnitReport) -> None:
    """See that every image of the bag was answered or refused, once."""
    with open_bag(whole.unit.path, recover=True) as bag:
        there = Counter({c.topic: 0 for c in bag.connections})
        for connection in bag.connections:
            there[connection.topic] += connection.msgcount
    for topic, camera in whole.cameras.items():
        met = camera.frames + camera.failed.total()
        if met != there[topic]:
            raise DatasetError(
                f'{whole.unit.path} has {there[topic]} images on {topic}, and its parts {met}: it '
                f'has changed meanwhile; remove {parts_folder(Path(whole.output))} and start again'
            )


def _link(old: Path, new: Path) -> None:
    """Let a file be in two folders; copy it where the file system cannot."""
    try:
        os.link(old, new)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise cannot_write(new, error) from error
        shutil.copyfile(old, new)


def _joined(infos: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what metadata.yaml says of a bag of several files."""
    files = [file for info in infos for file in info['files']]
    starts = [file['starting_time']['nanoseconds_since_epoch'] for file in files]
    ends = [start + file['duration']['nanoseconds'] for start, file in zip(starts, files)]
    counts: Counter[str] = Counter()
    topics: dict[str, dict[str, Any]] = {}
    for topic in (topic for info in infos for topic in info['topics_with_message_count']):
        key = str(topic['topic_metadata'])  # a topic may be there with two types or qualities
        topics.setdefault(key, topic['topic_metadata'])
        counts[key] += topic['message_count']
    return infos[0] | {
        'relative_file_paths': [file['path'] for file in files],
        'starting_time': {'nanoseconds_since_epoch': min(starts)},
        'duration': {'nanoseconds': max(ends) - min(starts)},
        'message_count': counts.total(),
        'topics_with_message_count': [
            {'topic_metadata': metadata, 'message_count': counts[key]}
            for key, metadata in topics.items()
        ],
        'files': files,
    }
