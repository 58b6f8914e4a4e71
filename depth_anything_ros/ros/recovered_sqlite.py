# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The messages of a .db3 file that can be read, with damaged or missing pages and without an end.

Rows are read in the order of their ids; where a page is damaged the next id is sought that can be
read again. A database whose recorder was killed has a journal or a write-ahead log beside it: that
is applied to a copy, as SQLite does it.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
import shutil
import sqlite3
import sys
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)

from depth_anything_ros.errors import reason
from depth_anything_ros.ros.loss import FileLoss, Found
from depth_anything_ros.ros.qos_of_bag import qos_profiles
from depth_anything_ros.ros.unpacking import MOST_BYTES, Unreadable

_ROW = 'SELECT id, topic_id, timestamp, data FROM messages NOT INDEXED WHERE id >= ? ORDER BY id'
_MOST_TRIES = 10_000  # to find a row that can be read again
_MOST_TOPICS = 10_000
# Of SQLite's machine between two rows, which takes a few dozen; and so many times 100,000 in all
# that came to no row: pages that point at each other cost time again and again.
_STEPS, _MOST_STEPS, _MOST_IN_VAIN = 100_000, 50, 300
_LAST_ID = 2**62
_JOURNALS = ('-wal', '-journal')
_FORMATS = {'ros2msg': MessageDefinitionFormat.MSG, 'ros2idl': MessageDefinitionFormat.IDL}
_NO_DEFINITION = MessageDefinition(MessageDefinitionFormat.NONE, '')


class RecoveredSqlite:
    """A reader of what one .db3 file still holds; see RecoveredMcap."""

    def __init__(self, path: Path) -> None:
        """Read through the file, which stays open until close().

        Raises:
            Unreadable: it is no such database, or its tables cannot be found.
        """
        self._reasons: list[str] = []
        self._copy: TemporaryDirectory[str] | None = None
        self._size = path.stat().st_size
        self._times_ns, self._ids, self._topics = array('q'), array('q'), array('q')
        self._steps = self._in_vain = 0
        self._database = self._open(path)
        try:
            self._read_through(path)
        except sqlite3.Error as error:
            self.close()
            raise Unreadable(f'is no database of a bag ({reason(error)})') from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._database.close()
        if self._copy:
            self._copy.cleanup()

    def messages(
        self, connections: Collection[Connection], first_ns: int, last_ns: int
    ) -> Iterator[Found]:
        """Yield messages of some connections and a time in the order of their time of logging."""
        wanted = {c.id: c for c in connections}
        ids, topics = (np.frombuffer(x, np.int64) for x in (self._ids, self._topics))
        times_ns = np.frombuffer(self._times_ns, np.int64)
        order = np.argsort(times_ns, kind='stable')
        meant = np.isin(topics, list(wanted)) & (times_ns >= first_ns) & (times_ns <= last_ns)
        for index in order[meant[order]]:
            row = self._first(int(ids[index]))
            if row is not None and row[1] in wanted:  # of swapped pages it may be another's
                yield wanted[row[1]], row[2], row[3]

    def _open(self, path: Path) -> sqlite3.Connection:
        """Open a database that is never written, or a copy to which its journal is applied."""
        beside = [path.with_name(path.name + end) for end in _JOURNALS]
        beside = [file for file in beside if file.is_file() and file.stat().st_size]
        if beside:
            self._copy = TemporaryDirectory()
            for file in (path, *beside):
                shutil.copyfile(file, Path(self._copy.name, file.name))
            names = ' and '.join(file.name for file in beside)
            self._reasons.append(f'its recorder was stopped: {names} was applied')
            uri = Path(self._copy.name, path.name).as_uri()
        else:
            uri = f'{path.resolve().as_uri()}?mode=ro&immutable=1'
        database = sqlite3.connect(uri, uri=True, check_same_thread=False)
        database.text_factory = lambda data: data.decode(errors='replace')
        if sys.version_info >= (3, 11):  # before, a computed column may make 1 GB
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
        database.set_progress_handler(self._step, _STEPS)
        return database

    def _step(self) -> bool:
        """Tell whether SQLite has been at one row for too long (a view without an end, say)."""
        self._steps += 1
        self._in_vain += 1
        return self._steps > _MOST_STEPS or self._in_vain > _MOST_IN_VAIN

    def _rows(self, query: str, *values: int) -> Iterator[Any]:
        self._steps = 0
        for row in self._database.execute(query, values):
            self._in_vain -= self._steps
            self._steps = 0
            yield row

    def _read_through(self, path: Path) -> None:
        self._database.execute('PRAGMA trusted_schema=OFF')
        self._database.execute('PRAGMA writable_schema=ON')  # a missing end is no error with it
        page_size = next(self._rows('PRAGMA page_size'))[0]
        with path.open('rb') as file:
            head = file.read(100)
        should = int.from_bytes(head[28:32], 'big') * page_size
        missing = max(0, should - self._size) if head[24:28] == head[92:96] else 0
        if missing:
            self._reasons.append(f'its last {missing} bytes are not there')
        tables = {row[0] for row in self._rows("SELECT name FROM sqlite_master WHERE type='table'")}
        if not {'messages', 'topics'} <= tables:
            raise Unreadable('has no tables of messages and topics')
        known = self._read_topics()
        counts, bytes_left = Counter[int](), 2 * self._size + 2**20
        for identity, topic, time_ns, data in self._readable():
            sound = isinstance(time_ns, int) and isinstance(data, bytes) and topic in known
            if sound:
                self._ids.append(identity)
                self._times_ns.append(time_ns)
                self._topics.append(topic)
            counts[topic if sound else -1] += 1
            bytes_left -= len(data) if isinstance(data, bytes) else 0
            if bytes_left < 0:
                self._reasons.append('its rows take more bytes than it has')
                break
        if strange := counts.pop(-1, 0):
            self._reasons.append(f'{strange} rows are no messages of its topics')
        self.connections = self._connections(known, counts)
        there = counts.total()
        self.loss = FileLoss(
            path.name, self._size, 0, there, self._indexed(there), tuple(self._reasons)
        )
        times = self._times_ns
        self.span_ns = (min(times), max(times)) if times else None

    def _read_topics(self) -> dict[int, tuple[str, str, str, str, str]]:
        columns = {row[1] for row in self._rows('PRAGMA table_info(topics)')}
        qos = 'offered_qos_profiles' if 'offered_qos_profiles' in columns else "''"
        digest = 'type_description_hash' if 'type_description_hash' in columns else "''"
        found: dict[int, tuple[str, str, str, str, str]] = {}
        query = f'SELECT id, {digest}, name, type, serialization_format, {qos} FROM topics'
        try:
            for number, known, *texts in self._rows(f'{query} LIMIT {_MOST_TOPICS}'):
                if isinstance(number, int) and all(isinstance(x, str) for x in texts):
                    name, kind, encoding, profiles = texts
                    said = known if isinstance(known, str) else ''
                    found[number] = (name, kind, encoding, profiles, said)
        except sqlite3.Error as error:
            self._reasons.append(f'its topics cannot all be read ({reason(error)})')
        return found

    def _readable(self) -> Iterator[Any]:
        """Yield the rows that can be read, in the order of their ids; say what is between."""
        start, tries = -_LAST_ID, _MOST_TRIES
        while True:
            try:
                for row in self._rows(_ROW, start):
                    if not isinstance(row[0], int) or row[0] < start:
                        raise sqlite3.DatabaseError('rows are not in order')
                    yield row
                    start = row[0] + 1
                return
            except sqlite3.Error as error:
                why = reason(error)
            if self._in_vain > _MOST_IN_VAIN:
                tries = 0
            # Python's sqlite3 steps ahead of the row it returns, which an error there takes along.
            if row := self._first(start):
                yield row
                start = row[0] + 1
                continue
            start, before = max(start, 0), start
            step = 1
            while tries > 0 and start + step < _LAST_ID and self._first(start + step) is None:
                step, tries = 2 * step, tries - 1
            if tries <= 0 or start + step >= _LAST_ID:
                where = f' after id {before - 1}' if before > 0 else ''
                self._reasons.append(f'no message{where} can be read ({why})')
                return
            low, high = start, start + step  # the first id that can be read lies between
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if self._first(middle) else (middle, high)
                tries -= 1
            row = self._first(high)
            start = row[0] if row else high
            self._reasons.append(f'{start - before} messages from id {before} on cannot be read')

    def _first(self, identity: int) -> Any:
        """Return the first row from an id on; None where it cannot be read, or there is none."""
        try:
            row = next(self._rows(f'{_ROW} LIMIT 1', identity), None)
            # Of pages that are in the wrong place it may be one from before.
            return row if row and isinstance(row[0], int) and row[0] >= identity else None
        except sqlite3.Error:
            return None

    def _indexed(self, there: int) -> int | None:
        """Return how many messages the index of times counts; None where it cannot be read."""
        total, most = 0, 2 * there + self._size // 16
        try:
            for _ in self._rows('SELECT id FROM messages INDEXED BY timestamp_idx'):
                total += 1
                if total > most:
                    return None
        except sqlite3.Error:
            return None
        return total

    def _connections(
        self, known: dict[int, tuple[str, str, str, str, str]], counts: Counter[int]
    ) -> list[Connection]:
        definitions: dict[str, MessageDefinition] = {}
        try:
            query = 'SELECT topic_type, encoding, encoded_message_definition'
            for kind, form, text in self._rows(f'{query} FROM message_definitions'):
                if form in _FORMATS and isinstance(text, str):
                    definitions.setdefault(kind, MessageDefinition(_FORMATS[form], text))
        except sqlite3.Error:  # older bags have none, and what is known here needs none
            pass
        return [
            Connection(
                number,
                name,
                kind,
                definitions.get(kind, _NO_DEFINITION),
                digest,
                counts[number],
                ConnectionExtRosbag2(encoding, qos_profiles(qos)),
                self,
            )
            for number, (name, kind, encoding, qos, digest) in known.items()
        ]
