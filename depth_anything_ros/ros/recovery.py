# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A reader for bags that are broken: what can be read, and what cannot.

Files are read for what they hold, whatever metadata.yaml says; it is asked only for what should be
there. So a folder may lack it, or hold files of both storages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
import heapq
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.metadata import ReaderMetadata
import yaml  # type: ignore[import-untyped]

from depth_anything_ros.errors import DatasetError, one_line, reason
from depth_anything_ros.ros.loss import FileLoss, Found, Loss
from depth_anything_ros.ros.mcap_records import LAST_NS
from depth_anything_ros.ros.recovered_mcap import RecoveredMcap
from depth_anything_ros.ros.recovered_sqlite import RecoveredSqlite
from depth_anything_ros.ros.unpacking import (
    MOST_BYTES,
    unpack_file,
    unpacked,
    Unreadable,
    ZSTD_MAGIC,
)

_FILES: dict[str, type[RecoveredMcap] | type[RecoveredSqlite]] = {
    '.mcap': RecoveredMcap,
    '.db3': RecoveredSqlite,
}
_LONGEST_METADATA = 1 << 20  # bytes; 2000 files. (libyaml, which is faster, dies of deep nesting)
_NO_TIME = ReaderMetadata(0, 2**63 - 1, 0, 0, None, None, None, None)


class RecoveredBag:
    """The files of a bag as one, in the order of their messages' time of logging."""

    def __init__(self, path: Path) -> None:
        """Take a folder or a single file; nothing is read yet."""
        self._path = path
        self.connections: list[Connection] = []
        self.metadata = _NO_TIME
        self.loss = Loss()
        self._stack = ExitStack()
        self._files: list[RecoveredMcap | RecoveredSqlite] = []

    def open(self) -> None:
        """Read through all files.

        Raises:
            DatasetError: there is no file of a bag, or nothing in them can be read.
        """
        with ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Close the files."""
        self.connections.clear()
        self._files.clear()
        self._stack.close()

    def _open(self, stack: ExitStack) -> None:
        is_folder = self._path.is_dir()
        paths = self._path.iterdir() if is_folder else [self._path]
        paths = sorted(path for path in paths if _kind(path) and path.is_file())
        declared, notes = _metadata(self._path, paths) if is_folder else (None, [])
        losses = []
        for path in paths:
            loss = self._read(path, stack)
            losses += [loss] if loss else []
        spans = [file.span_ns for file in self._files if file.span_ns]
        messages = sum(c.msgcount for file in self._files for c in file.connections)
        last_ns = max((span[1] for span in spans), default=None)
        missing = None if declared is None or declared <= messages else declared
        if missing and not losses:
            notes.append(f'metadata.yaml counts {declared} messages')
        self.loss = Loss(tuple(losses), tuple(notes), messages, missing, last_ns)
        if not messages and (losses or not paths):
            told = '. '.join(map(str, (*notes, *losses))) or 'there is no .mcap or .db3 file'
            raise DatasetError(one_line(
                f'nothing of {self._path} can be read: {told}. Copy it once more from where it was '
                'recorded, or leave it out'
            ))
        if spans:
            first_ns = min(span[0] for span in spans)
            assert last_ns is not None
            self.metadata = _NO_TIME._replace(
                duration=last_ns + 1 - first_ns,
                start_time=first_ns,
                end_time=last_ns + 1,
                message_count=messages,
            )
        self.connections = _joined(self._files, self)

    def _read(self, path: Path, stack: ExitStack) -> FileLoss | None:
        """Read through one file; return what it lacks."""
        size, packed = path.stat().st_size, ''
        source = path
        if path.suffix == '.zstd':
            source = Path(stack.enter_context(TemporaryDirectory()), path.stem)
            packed = unpack_file(path, source)
        try:
            file = _FILES[source.suffix](source)
        except (Unreadable, OSError) as error:
            why = f'it {error}' if isinstance(error, Unreadable) else reason(error)
            told = (packed, why) if packed else (why,)
            return FileLoss(path.name, size, size, 0, None, told)
        stack.callback(file.close)
        self._files.append(file)
        if packed:
            return FileLoss(path.name, size, 0, file.loss.messages, None,
                            (packed, *file.loss.reasons))
        return file.loss or None

    def messages(
        self,
        connections: Collection[Connection],
        start: int | None = None,
        stop: int | None = None,
    ) -> Iterator[Found]:
        """Yield connection, time of logging in nanoseconds, and CDR; see rosbags' Reader."""
        wanted = {_key(c): c for c in connections}
        first_ns = -LAST_NS if start is None else start  # a broken one may be negative
        last_ns = LAST_NS if stop is None else stop - 1

        def of(file: RecoveredMcap | RecoveredSqlite) -> Iterator[Found]:
            meant = [c for c in file.connections if _key(c) in wanted]
            for connection, time_ns, data in file.messages(meant, first_ns, last_ns):
                yield wanted[_key(connection)], time_ns, _plain(data)

        return heapq.merge(*map(of, self._files), key=itemgetter(1))


class RecoveringReader(Reader):
    """rosbags' Reader for bags that may be broken.

    Attributes:
        refused: topic -> messages that are no messages of its type, of those read so far.
    """

    STORAGE_PLUGINS: Mapping[str, Any] = {
        'dir': RecoveredBag, '.mcap': RecoveredBag, '.db3': RecoveredBag
    }

    def __init__(self, path: Path) -> None:
        """Take a folder or a single file."""
        super().__init__(path)
        self.refused: dict[str, int] = {}

    @property
    def loss(self) -> Loss:
        """What the bag lacks."""
        loss: Loss = self.storage.loss  # type: ignore[attr-defined]
        return loss


def _kind(path: Path) -> str:
    """Return how the name of a bag's file ends, packed or not; empty for other files."""
    suffix = Path(path.stem).suffix if path.suffix == '.zstd' else path.suffix
    return suffix if suffix in _FILES else ''


def _key(connection: Connection) -> tuple[str, str]:
    return connection.topic, connection.msgtype


def _joined(files: list[RecoveredMcap | RecoveredSqlite], owner: RecoveredBag) -> list[Connection]:
    """Return one connection for each topic and type of all files."""
    found: dict[tuple[str, str], Connection] = {}
    for connection in (c for file in files for c in file.connections):
        known = found.get(_key(connection))
        count = connection.msgcount + (known.msgcount if known else 0)
        identity = known.id if known else len(found) + 1
        found[_key(connection)] = (known or connection)._replace(
            id=identity, msgcount=count, owner=owner
        )
    return list(found.values())


def _plain(data: bytes) -> bytes:
    """Unpack a message that was packed by itself; CDR begins with a zero."""
    if not data.startswith(ZSTD_MAGIC):
        return data
    try:
        return unpacked(data, 'zstd', MOST_BYTES)
    except Unreadable:
        return data  # whoever takes it apart refuses it


def _metadata(folder: Path, paths: list[Path]) -> tuple[int | None, list[str]]:
    """Return how many messages metadata.yaml counts, and what is wrong with it."""
    file = folder / 'metadata.yaml'
    try:
        if file.stat().st_size > _LONGEST_METADATA:
            raise ValueError(f'it has more than {_LONGEST_METADATA} bytes')
        content = yaml.safe_load(file.read_text())['rosbag2_bagfile_information']
        names = {Path(str(name)).name for name in content['relative_file_paths']}
        count = int(content['message_count'])
    except FileNotFoundError:
        return None, ['metadata.yaml is not there']
    except Exception as error:  # a YAML parser, and lookups in what it gives, meet broken bytes
        return None, [f'metadata.yaml cannot be read ({reason(error, 100)})']
    there = {path.name for path in paths}
    notes = []
    if missing := sorted(names - there):
        notes.append(f'{", ".join(missing[:5])} of metadata.yaml is not there')
    if strange := sorted(there - names):
        notes.append(f'{", ".join(strange[:5])} is not in metadata.yaml')
    return count, notes
