# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small good bags of every storage, and the ways in which disks, recorders and people break them.

A broken bag follows from a seed and an index alone. The mcap files are written here, by the
specification (mcap.dev/spec), so that chunks are many and small.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import random
import shutil
import sqlite3
import struct
import zlib

import lz4.frame
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
import yaml

from depth_anything_ros.ros.bags import TYPES
from depth_anything_ros.ros.cdr import restamped
from depth_anything_ros.ros.unpacking import zstd
from serialised import GOOD, STAMP_NS

TOPICS = {
    '/eye/image_raw': 'sensor_msgs/msg/Image',
    '/eye/camera_info': 'sensor_msgs/msg/CameraInfo',
    '/lidar/points': 'sensor_msgs/msg/PointCloud2',
    '/chatter': 'std_msgs/msg/String',
}
STEPS = 15
PERIOD_NS = 100_000_000
MAGIC = b'\x89MCAP0\r\n'
HELLO = b'\0\1\0\0\6\0\0\0hello\0'

Message = tuple[str, int, bytes]
Damage = Callable[[Path, random.Random], None]


def messages() -> list[Message]:
    """Return topic, time of logging in nanoseconds and CDR of a good bag's messages."""
    found = []
    for step in range(STEPS):
        time_ns = STAMP_NS + PERIOD_NS * step
        for topic, kind in TOPICS.items():
            name = kind.rpartition('/')[2]
            data = restamped(GOOD[name], time_ns) if name in GOOD else HELLO
            found.append((topic, time_ns, data))
    return found


# mcap, by its specification ---------------------------------------------------------------------


def record(opcode: int, content: bytes) -> bytes:
    """Return a record of a file or a chunk."""
    return struct.pack('<BQ', opcode, len(content)) + content


def text(value: str | bytes) -> bytes:
    """Return a string with its length in front."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack('<I', len(data)) + data


def message(channel: int, time_ns: int, data: bytes) -> bytes:
    """Return the record of a message."""
    return record(5, struct.pack('<HIQQ', channel, 0, time_ns, time_ns) + data)


def chunk(records: bytes, compression: str, times_ns: list[int]) -> bytes:
    """Return the record of a chunk."""
    pack = {'': bytes, 'zstd': zstd.compress, 'lz4': lz4.frame.compress}[compression]
    packed = pack(records)
    head = struct.pack(
        '<QQQI', min(times_ns), max(times_ns), len(records), zlib.crc32(records)
    )
    return record(6, head + text(compression) + struct.pack('<Q', len(packed)) + packed)


def descriptions() -> bytes:
    """Return the schemas and channels of all topics."""
    found = b''
    for number, (topic, kind) in enumerate(TOPICS.items(), 1):
        found += record(3, struct.pack('<H', number) + text(kind) + text('ros2msg') + text(''))
        names = text(topic) + text('cdr') + text('')
        found += record(4, struct.pack('<HH', number, number) + names)
    return found


def mcap(recorded: list[Message], compression: str | None, a_chunk: int = 10) -> bytes:
    """Return an mcap file; without compression (None) its messages are in no chunk."""
    data = MAGIC + record(1, text('ros2') + text('test')) + descriptions() * (compression is None)
    numbers = {topic: number for number, topic in enumerate(TOPICS, 1)}
    index = b''
    for start in range(0, len(recorded), a_chunk):
        some = recorded[start : start + a_chunk]
        records = b''.join(message(numbers[topic], t, content) for topic, t, content in some)
        if compression is None:
            data += records
            continue
        times_ns = [t for _, t, _ in some]
        first = descriptions() if start == 0 else b''
        made = chunk(first + records, compression, times_ns)
        sizes = len(made), len(first + records)
        index += record(8, struct.pack('<QQQQ', min(times_ns), max(times_ns), len(data), sizes[0])
                        + text(b'') + struct.pack('<Q', 0) + text(compression)
                        + struct.pack('<QQ', sizes[0] - 49 - len(compression), sizes[1]))
        data += made
    data += record(15, bytes(4))
    start = len(data)
    times_ns = [t for _, t, _ in recorded]
    count = struct.pack('<QHIIIIQQ', len(recorded), 4, 4, 0, 0, len(index) // 60, min(times_ns),
                        max(times_ns))
    data += descriptions() + index + record(11, count + text(b''))
    return data + record(2, struct.pack('<QQI', start, 0, 0)) + MAGIC


# Good bags --------------------------------------------------------------------------------------


def good(folder: Path, storage: str) -> Path:
    """Write a good bag; storages are the keys of STORAGES."""
    kind, mode = STORAGES[storage]
    plugin = StoragePlugin.SQLITE3 if kind == 'db3' else StoragePlugin.MCAP
    writer = Writer(folder, version=8, storage_plugin=plugin)
    if isinstance(mode, CompressionMode):
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer as bag:
        there = {
            topic: bag.add_connection(topic, name, typestore=TYPES)
            for topic, name in TOPICS.items()
        }
        for topic, time_ns, data in messages():
            bag.write(there[topic], time_ns, data)
    if kind == 'mcap':
        file_of(folder).write_bytes(mcap(messages(), mode))
    if kind in ('split', 'mixed'):
        file_of(folder).unlink()
        half = len(messages()) // 2
        (folder / 'a_0.mcap').write_bytes(mcap(messages()[:half], 'zstd'))
        second = folder / ('a_1.mcap' if kind == 'split' else 'a_1.db3')
        if kind == 'split':
            second.write_bytes(mcap(messages()[half:], 'zstd'))
        else:
            other = good(folder.with_name(folder.name + '_other'), 'sqlite')
            with sqlite3.connect(file_of(other)) as database:
                database.execute('DELETE FROM messages WHERE id <= ?', (half,))
            shutil.move(file_of(other), second)
            shutil.rmtree(other)
        change_metadata(folder, relative_file_paths=['a_0.mcap', second.name])
    return folder


STORAGES: dict[str, tuple[str, CompressionMode | str | None]] = {
    'mcap': ('mcap', ''),
    'mcap zstd': ('mcap', 'zstd'),
    'mcap lz4': ('mcap', 'lz4'),
    'mcap without chunks': ('mcap', None),
    'sqlite': ('db3', None),
    'sqlite of zstd messages': ('db3', CompressionMode.MESSAGE),
    'sqlite in zstd': ('db3', CompressionMode.FILE),
    'split': ('split', None),
    'mixed': ('mixed', None),
}


def file_of(folder: Path) -> Path:
    """Return the (first) storage file of a bag."""
    return next(file for file in sorted(folder.iterdir()) if file.suffix != '.yaml')


def change_metadata(folder: Path, **changes: object) -> None:
    """Replace entries of metadata.yaml."""
    file = folder / 'metadata.yaml'
    content = yaml.safe_load(file.read_text())
    content['rosbag2_bagfile_information'] |= changes
    file.write_text(yaml.safe_dump(content))


# Ways to break any file -------------------------------------------------------------------------


def on_bytes(change: Callable[[bytearray, random.Random], bytes | bytearray]) -> Damage:
    """Return what breaks a random storage file of a bag by changing its bytes."""

    def damage(folder: Path, rng: random.Random) -> None:
        file = rng.choice([f for f in sorted(folder.iterdir()) if f.suffix != '.yaml'])
        file.write_bytes(change(bytearray(file.read_bytes()), rng))

    return damage


def flip(data: bytearray, rng: random.Random, start: int, end: int, count: int = 1) -> bytearray:
    """Flip bits somewhere between two places."""
    for _ in range(count):
        data[rng.randrange(start, max(start + 1, min(end, len(data))))] ^= 1 << rng.randrange(8)
    return data


def _block(data: bytearray, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.choice((8, 100, 1000, 5000)))


def _overwrite(data: bytearray, rng: random.Random, noise: bool) -> bytearray:
    start, end = _block(data, rng)
    data[start:end] = rng.randbytes(end - start) if noise else bytes(end - start)
    return data


def _move(data: bytearray, rng: random.Random, how: str) -> bytearray:
    start, end = _block(data, rng)
    block, rest = data[start:end], data[:start] + data[end:]
    if how == 'removed':
        return rest
    at = rng.randrange(len(data))
    return data[:at] + block + data[at:] if how == 'doubled' else rest[:at] + block + rest[at:]


ANY: dict[str, Damage] = {
    'cut anywhere': on_bytes(lambda d, r: d[: r.randrange(len(d))]),
    'cut near the beginning': on_bytes(lambda d, r: d[: r.randrange(200)]),
    'cut near the end': on_bytes(lambda d, r: d[: len(d) - r.randrange(1, 200)]),
    'empty': on_bytes(lambda d, r: b''),
    'beginning lost': on_bytes(lambda d, r: d[r.randrange(1, 2000) :]),
    'a hole of zeros': on_bytes(lambda d, r: _overwrite(d, r, False)),
    'noise in the middle': on_bytes(lambda d, r: _overwrite(d, r, True)),
    'nothing but noise': on_bytes(lambda d, r: r.randbytes(len(d))),
    'one bit': on_bytes(lambda d, r: flip(d, r, 0, len(d))),
    'twenty bits': on_bytes(lambda d, r: flip(d, r, 0, len(d), 20)),
    'junk behind the end': on_bytes(lambda d, r: d + r.randbytes(r.randrange(1, 2000))),
    'a block removed': on_bytes(lambda d, r: _move(d, r, 'removed')),
    'a block doubled': on_bytes(lambda d, r: _move(d, r, 'doubled')),
    'a block moved': on_bytes(lambda d, r: _move(d, r, 'moved')),
}


# Ways to break mcap -----------------------------------------------------------------------------


def records(data: bytes) -> list[tuple[int, int, int]]:
    """Return opcode, start of the content and end of the records of a good file."""
    found, at = [], len(MAGIC)
    while at + 9 <= len(data) - len(MAGIC):
        opcode, length = struct.unpack_from('<BQ', data, at)
        found.append((opcode, at + 9, at + 9 + length))
        at += 9 + length
    return found


def in_record(
    opcode: int, change: Callable[[bytearray, random.Random, int, int], object]
) -> Damage:
    """Return what breaks a record of some kind, any where there is none of it."""

    def damage(data: bytearray, rng: random.Random) -> bytearray:
        every = records(data)
        _, start, end = rng.choice([r for r in every if r[0] == opcode] or every)
        change(data, rng, start, end)
        return data

    return on_bytes(damage)


def _put(form: str, at: int, values: list[int]) -> Callable[..., object]:
    def put(data: bytearray, rng: random.Random, start: int, end: int) -> None:
        if start + at + struct.calcsize(form) <= len(data):
            struct.pack_into(form, data, start + at, rng.choice(values))

    return put


def _bomb(data: bytearray, rng: random.Random, declared: int, size: int) -> bytearray:
    packed = zstd.compress(bytes(size))
    head = struct.pack('<QQQI', 0, 2**63, declared, 0) + text('zstd')
    _, _, end = records(data)[0]
    made = record(6, head + struct.pack('<Q', len(packed)) + packed)
    return data[:end] + made * rng.choice((1, 3)) + data[end:]


LIES = [0, 1, 7, 2**16, 2**31 - 1, 2**32 - 1]
LARGE_LIES = [*LIES, 2**40, 2**63 - 1, 2**64 - 1]
MCAP: dict[str, Damage] = {
    'bits of the header': in_record(1, lambda d, r, s, e: flip(d, r, 0, e)),
    'bits of a schema': in_record(3, lambda d, r, s, e: flip(d, r, s, e)),
    'bits of a channel': in_record(4, lambda d, r, s, e: flip(d, r, s, e)),
    'bits of a chunk\'s head': in_record(6, lambda d, r, s, e: flip(d, r, s, s + 44)),
    'bits of a chunk': in_record(6, lambda d, r, s, e: flip(d, r, s + 44, e, 3)),
    'bits of an index': in_record(8, lambda d, r, s, e: flip(d, r, s, e, 3)),
    'bits of the statistics': in_record(11, lambda d, r, s, e: flip(d, r, s, e)),
    'bits of the footer': in_record(2, lambda d, r, s, e: flip(d, r, s, e)),
    'wrong checksum': in_record(6, _put('<I', 24, [1, 2**32 - 1])),
    'no checksum, and bits': in_record(6, lambda d, r, s, e: (
        _put('<I', 24, [0])(d, r, s, e), flip(d, r, s + 44, e, 3))),
    'length of a record': in_record(6, _put('<Q', -8, LARGE_LIES)),
    'length of a message': in_record(5, _put('<Q', -8, LARGE_LIES)),
    'size of a chunk unpacked': in_record(6, _put('<Q', 16, LARGE_LIES)),
    'length of a chunk\'s compression': in_record(6, _put('<I', 28, LIES)),
    'unknown compression': in_record(6, lambda d, r, s, e: d.__setitem__(slice(s + 32, s + 35),
                                                                         b'xyz')),
    'length of a topic': in_record(4, _put('<I', 4, LIES)),
    'length of a schema\'s name': in_record(3, _put('<I', 2, LIES)),
    'a count in the statistics': in_record(11, _put('<Q', 0, LARGE_LIES)),
    'opcode of a record': in_record(6, _put('<B', -9, [0, 2, 5, 15, 200])),
    'killed before the end': on_bytes(lambda d, r: d[: next(
        s - 9 for o, s, e in records(d) if o == 15)]),
    'a summary that is elsewhere': in_record(2, _put('<Q', 0, LARGE_LIES)),
    'a bomb that lies': on_bytes(lambda d, r: _bomb(d, r, 1000, 1 << 29)),
    'a bomb that says so': on_bytes(lambda d, r: _bomb(d, r, 1 << 29, 1 << 29)),
    'a bomb of the largest size': on_bytes(lambda d, r: _bomb(d, r, 1 << 28, 1 << 28)),
}


# Ways to break sqlite3 --------------------------------------------------------------------------


def _page(data: bytearray, rng: random.Random, first: int = 1) -> tuple[int, int]:
    size = int.from_bytes(data[16:18], 'big') or 4096
    number = rng.randrange(first, max(first + 1, len(data) // size))
    return number * size, min(len(data), (number + 1) * size)


def _on_page(change: Callable[[bytearray, random.Random, int, int], object]) -> Damage:
    def damage(data: bytearray, rng: random.Random) -> bytearray:
        start, end = _page(data, rng)
        if end - start > 16:
            change(data, rng, start, end)
        return data

    return on_bytes(damage)


def _swap_pages(data: bytearray, rng: random.Random) -> bytearray:
    (a, b), (c, d) = _page(data, rng), _page(data, rng)
    data[a:b], data[c:d] = data[c:d], data[a:b]
    return data


def _loop(data: bytearray, rng: random.Random) -> bytearray:
    """Let the children of all inner pages be one page."""
    size = int.from_bytes(data[16:18], 'big') or 4096
    _, child = rng.random(), rng.randrange(1, max(2, len(data) // size) + 1)
    for start in range(size, len(data) - size + 1, size):
        if data[start] in (2, 5):
            for cell in range(int.from_bytes(data[start + 3 : start + 5], 'big')):
                place = start + 12 + 2 * cell
                at = start + int.from_bytes(data[place : place + 2], 'big')
                data[at : at + 4] = child.to_bytes(4, 'big')
    return data


def in_sql(*statements: str) -> Damage:
    """Return what breaks a bag by SQL; bags in zstd are left alone."""

    def damage(folder: Path, rng: random.Random) -> None:
        for file in folder.glob('*.db3'):
            with sqlite3.connect(file) as database:
                for statement in statements:
                    database.execute(statement)

    return damage


def _beside(end: str, good_log: bool) -> Damage:
    def damage(folder: Path, rng: random.Random) -> None:
        for file in folder.glob('*.db3'):
            log = file.with_name(file.name + end)
            if not good_log:
                log.write_bytes(rng.randbytes(rng.choice((10, 512, 5000))))
                continue
            copy = folder / 'copy'
            shutil.copyfile(file, copy)
            database = sqlite3.connect(copy)
            database.execute(f'PRAGMA journal_mode={"WAL" if end == "-wal" else "DELETE"}')
            database.execute('PRAGMA cache_size=2')
            database.execute('PRAGMA cache_spill=ON')
            database.execute('BEGIN')
            database.execute('UPDATE messages SET data=zeroblob(3000) WHERE id > 10')
            if end == '-wal':
                database.execute('COMMIT')
            shutil.copyfile(copy, file)
            shutil.copyfile(f'{copy}{end}', log)
            database.close()
            for left in folder.glob('copy*'):
                left.unlink()

    return damage


ENDLESS = (
    'CREATE VIEW messages AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) '
    'SELECT i AS id, 1 AS topic_id, i AS timestamp, x\'00\' AS data FROM n WHERE i < 0'
)
SQLITE: dict[str, Damage] = {
    'bits of its header': on_bytes(lambda d, r: flip(d, r, 0, 100)),
    'bits of its schema': on_bytes(lambda d, r: flip(d, r, 100, 4096, 3)),
    'a page of zeros': _on_page(lambda d, r, s, e: d.__setitem__(slice(s, e), bytes(e - s))),
    'a page of noise': _on_page(lambda d, r, s, e: d.__setitem__(slice(s, e), r.randbytes(e - s))),
    'bits of a page\'s head': _on_page(lambda d, r, s, e: flip(d, r, s, s + 12)),
    'bits of cell pointers': _on_page(lambda d, r, s, e: flip(d, r, s + 8, s + 30, 3)),
    'cells of a page': _on_page(lambda d, r, s, e: d.__setitem__(slice(s + 3, s + 5),
                                                                 r.randbytes(2))),
    'pages swapped': on_bytes(_swap_pages),
    'cut at a page': on_bytes(lambda d, r: d[: _page(d, r)[0]]),
    'inner pages with one child': on_bytes(_loop),
    'a hot journal': _beside('-journal', True),
    'a write-ahead log': _beside('-wal', True),
    'a journal of noise': _beside('-journal', False),
    'a write-ahead log of noise': _beside('-wal', False),
    'no messages': in_sql('DELETE FROM messages'),
    'no topics': in_sql('DELETE FROM topics'),
    'no table of messages': in_sql('DROP TABLE messages'),
    'a view without an end': in_sql('DROP TABLE messages', ENDLESS),
    'a computed column without an end': in_sql(
        'ALTER TABLE messages RENAME TO old',
        'CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data '
        'GENERATED ALWAYS AS (zeroblob(500000000)))',
        'INSERT INTO messages(topic_id, timestamp) SELECT topic_id, timestamp FROM old',
    ),
    'ids that are words': in_sql(
        'ALTER TABLE messages RENAME TO old',
        'CREATE TABLE messages(id, topic_id, timestamp, data)',
        'INSERT INTO messages SELECT CASE WHEN id > 9 THEN \'x\' || id ELSE id END, topic_id, '
        'timestamp, data FROM old',
    ),
    'values of other types': in_sql(
        'ALTER TABLE messages RENAME TO old',
        'CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data)',
        'INSERT INTO messages SELECT id, topic_id, CASE id % 3 WHEN 0 THEN \'soon\' ELSE timestamp '
        'END, CASE id % 4 WHEN 0 THEN NULL ELSE data END FROM old',
    ),
}


# Ways to break the folder -----------------------------------------------------------------------


def on_metadata(change: Callable[[bytearray, random.Random], bytes | bytearray]) -> Damage:
    """Return what breaks metadata.yaml by changing its bytes."""

    def damage(folder: Path, rng: random.Random) -> None:
        file = folder / 'metadata.yaml'
        file.write_bytes(change(bytearray(file.read_bytes()), rng))

    return damage


def _two(first: Damage, second: Damage) -> Damage:
    def damage(folder: Path, rng: random.Random) -> None:
        first(folder, rng)
        second(folder, rng)

    return damage


def _folder_file(folder: Path, rng: random.Random) -> None:
    (folder / 'z.mcap').mkdir()


FOLDER: dict[str, Damage] = {
    'no metadata': lambda folder, rng: (folder / 'metadata.yaml').unlink(),
    'metadata cut': on_metadata(lambda d, r: d[: r.randrange(len(d))]),
    'metadata of noise': on_metadata(lambda d, r: r.randbytes(500)),
    'bits of metadata': on_metadata(lambda d, r: flip(d, r, 0, len(d), 5)),
    'metadata that is deep': on_metadata(lambda d, r: b'[' * 30_000),
    'metadata of aliases': on_metadata(lambda d, r: b'a: &a [1,1,1,1,1,1,1,1]\n' + b''.join(
        b'%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n' % (i, i, *[i - 1] * 8)
        for i in range(98, 110))),
    'metadata names another file': lambda folder, rng: change_metadata(
        folder, relative_file_paths=['gone.mcap']),
    'metadata counts more': lambda folder, rng: change_metadata(folder, message_count=10**6),
    'metadata counts words': lambda folder, rng: change_metadata(folder, message_count='many'),
    'metadata of another storage': lambda folder, rng: change_metadata(
        folder, storage_identifier=rng.choice(['sqlite3', 'mcap', 'tape'])),
    'an empty file more': lambda folder, rng: (folder / 'z_9.mcap').write_bytes(b''),
    'noise in a file more': lambda folder, rng: (folder / 'z_9.db3').write_bytes(
        rng.randbytes(3000)),
    'a folder where a file should be': _folder_file,
    'a file is gone': lambda folder, rng: file_of(folder).unlink(),
    'cut, and no metadata': _two(
        ANY['cut anywhere'], lambda folder, rng: (folder / 'metadata.yaml').unlink()),
    'no file at all': lambda folder, rng: [f.unlink() for f in folder.iterdir()] and None,
}


def damages(storage: str) -> dict[str, Damage]:
    """Return the ways in which a bag of a storage is broken."""
    own = MCAP if storage.startswith('mcap') else SQLITE if storage == 'sqlite' else {}
    return ANY | own | FOLDER


def kinds() -> list[tuple[str, str]]:
    """Return all pairs of storage and damage."""
    return [(storage, name) for storage in STORAGES for name in damages(storage)]
