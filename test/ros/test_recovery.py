# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Broken bags: what is left comes out byte for byte, and what is lost is said in numbers."""

import json
from pathlib import Path
import random
import shutil
import sqlite3
import struct
import subprocess
import sys

import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from broken_bags import (
    change_metadata,
    damages,
    file_of,
    good,
    in_sql,
    MAGIC,
    mcap,
    messages,
    records,
    STORAGES,
)
from depth_anything_ros.errors import DatasetError
from depth_anything_ros.ros.bags import open_bag, read_serialized, TYPES
from depth_anything_ros.ros.recovery import RecoveringReader
from helpers import TEST


def read(path):
    """Return all messages that can be read, and the loss."""
    with open_bag(path, recover=True) as bag:
        found = [(c.topic, t, bytes(data)) for c, t, data in bag.messages(bag.connections)]
        assert len(found) == bag.message_count == sum(c.msgcount for c in bag.connections)
        return found, bag.loss


def in_order(found):
    return sorted(found, key=lambda message: message[1])


@pytest.mark.parametrize('storage', STORAGES)
def test_a_whole_bag_lacks_nothing(tmp_path, storage):
    path = good(tmp_path / 'bag', storage)
    found, loss = read(path)
    assert in_order(found) == found and sorted(found) == sorted(messages())
    assert not loss and str(loss) == 'nothing is missing'
    with open_bag(path, recover=True) as bag:
        assert isinstance(bag, RecoveringReader)
        image, = [c for c in bag.connections if c.topic == '/eye/image_raw']
        assert (image.msgtype, image.msgcount) == ('sensor_msgs/msg/Image', 15)
        some = [t for _, t, _ in bag.messages([image], bag.start_time + 1, bag.end_time - 1)]
        assert len(some) == 13


@pytest.mark.parametrize('compression', ['', 'zstd', 'lz4', None])
def test_a_recorder_that_was_killed_leaves_what_is_whole(tmp_path, compression):
    path = good(tmp_path / 'bag', 'mcap')
    data = mcap(messages(), compression)
    if compression is None:
        ends = [end for opcode, _, end in records(data) if opcode == 5]
        cut, there = ends[36] + 12, 37
    else:
        chunks = [(start, end) for opcode, start, end in records(data) if opcode == 6]
        cut, there = chunks[3][0] + 5, 30  # in the head of the fourth chunk of ten
    file_of(path).write_bytes(data[:cut])
    found, loss = read(path)
    assert found == in_order(messages())[:there]
    (of_file,) = loss.files
    whole = ends[36] if compression is None else chunks[2][1]
    assert (of_file.size, of_file.unread) == (cut, cut - whole)
    assert (loss.messages, loss.declared, loss.last_ns) == (there, 60, found[-1][1])
    assert f'{there} of 60 messages' in str(loss) and f'{cut - whole} of its {cut} b' in str(loss)
    with pytest.raises(DatasetError, match='is no ROS 2 bag'), open_bag(path):
        pass


def test_what_a_cut_chunk_begins_with_is_read(tmp_path):
    path = good(tmp_path / 'bag', 'mcap')
    data = file_of(path).read_bytes()
    start = [start for opcode, start, _ in records(data) if opcode == 6][2]
    # Head of 32 bytes, no compression, 8 bytes of length; then the messages, 31 bytes and data.
    at = start + 40
    for _, _, content in messages()[20:24]:
        at += 31 + len(content)
    file_of(path).write_bytes(data[: at + 20])
    found, loss = read(path)
    assert found == messages()[:24] and loss.messages == 24


@pytest.mark.parametrize('compression', ['', 'zstd', 'lz4'])
@pytest.mark.parametrize('what', ['checksum', 'length', 'bits'])
def test_a_chunk_that_is_broken_costs_its_own_messages(tmp_path, compression, what):
    path = good(tmp_path / 'bag', 'mcap')
    data = bytearray(mcap(messages(), compression))
    start, end = [(s, e) for opcode, s, e in records(data) if opcode == 6][2]
    if what == 'checksum':
        struct.pack_into('<I', data, start + 24, 1)
    elif what == 'length':  # of the record, which would end behind the file
        struct.pack_into('<Q', data, start - 8, 2**40)
    else:
        data[end - 20] ^= 4
    file_of(path).write_bytes(data)
    found, loss = read(path)
    assert sorted(found) == sorted(messages()[:20] + messages()[30:])
    (of_file,) = loss.files
    assert (of_file.unread, of_file.missing, of_file.declared) == (end - start + 9, 10, 60)


def test_messages_of_chunks_that_overlap_come_in_order(tmp_path):
    path = good(tmp_path / 'bag', 'mcap')
    mixed = messages()[::2] + messages()[1::2]
    file_of(path).write_bytes(mcap(mixed, 'zstd'))
    found, loss = read(path)
    assert [t for _, t, _ in found] == sorted(t for _, t, _ in mixed)
    assert sorted(found) == sorted(mixed) and not loss


def test_a_database_that_was_cut_gives_its_first_rows(tmp_path):
    path = good(tmp_path / 'bag', 'sqlite')
    data = file_of(path).read_bytes()
    file_of(path).write_bytes(data[: len(data) - 3 * 4096])
    found, loss = read(path)
    assert 10 < len(found) < 60 and found == in_order(messages())[: len(found)]
    assert loss.declared == 60 and 'its last 12288 bytes are not there' in str(loss)


def test_rows_on_both_sides_of_a_page_that_is_lost_are_read(tmp_path):
    path = good(tmp_path / 'bag', 'sqlite')
    with sqlite3.connect(file_of(path)) as database:
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name='messages'")
    data = bytearray(file_of(path).read_bytes())
    inner = 4096 * (root[0] - 1)
    assert data[inner] == 5  # an inner page: its cells point to the leaves
    cells = [struct.unpack_from('>H', data, inner + 12 + 2 * i)[0] for i in range(2)]
    leaves = [struct.unpack_from('>I', data, inner + cell)[0] for cell in cells]
    leaf = 4096 * (leaves[1] - 1)
    (rows,) = struct.unpack_from('>H', data, leaf + 3)
    data[leaf : leaf + 4096] = b'\xff' * 4096
    file_of(path).write_bytes(data)
    found, loss = read(path)
    lost = [message for message in messages() if message not in found]
    first = messages().index(lost[0])
    assert len(found) == 60 - rows and lost == messages()[first : first + rows]
    assert f'{rows} messages from id {first + 1} on cannot be read' in str(loss)


def test_what_a_write_ahead_log_holds_is_read(tmp_path):
    path = good(tmp_path / 'bag', 'sqlite')
    file = file_of(path)
    database = sqlite3.connect(file)
    database.execute('PRAGMA journal_mode=WAL')
    database.execute('PRAGMA wal_autocheckpoint=0')
    database.execute('DELETE FROM messages WHERE id > 20')
    database.commit()
    kept = tmp_path / 'killed'
    shutil.copytree(path, kept)  # as the disk is when the recorder is killed
    database.close()
    before = {f.name: f.read_bytes() for f in kept.iterdir()}
    found, loss = read(kept)
    assert found == messages()[:20] and '-wal was applied' in str(loss)
    assert {f.name: f.read_bytes() for f in kept.iterdir()} == before  # nothing is written there


def test_files_count_and_not_metadata(tmp_path):
    path = good(tmp_path / 'bag', 'mixed')
    (path / 'metadata.yaml').unlink()
    found, loss = read(path)
    assert sorted(found) == sorted(messages())
    assert str(loss).endswith('metadata.yaml is not there')


def test_a_file_that_is_gone_is_named(tmp_path):
    path = good(tmp_path / 'bag', 'split')
    file_of(path).unlink()
    found, loss = read(path)
    assert found == messages()[30:]
    assert 'a_0.mcap of metadata.yaml is not there' in str(loss) and '30 of 60' in str(loss)


def test_a_bag_without_messages_is_a_bag(tmp_path):
    with Writer(tmp_path / 'bag', version=8, storage_plugin=StoragePlugin.MCAP) as bag:
        bag.add_connection('/eye', 'sensor_msgs/msg/Image', typestore=TYPES)
    assert read(tmp_path / 'bag') == ([], read(tmp_path / 'bag')[1])
    assert not read(tmp_path / 'bag')[1]


def test_an_empty_folder_and_a_missing_one_are_one_line(tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DatasetError, match='nothing of .*empty can be read: metadata.yaml is not'):
        read(tmp_path / 'empty')
    with pytest.raises(DatasetError, match='is no ROS 2 bag'):
        read(tmp_path / 'absent')


def test_messages_that_are_none_are_left_out_and_counted(tmp_path):
    path = good(tmp_path / 'bag', 'mcap')
    broken = [(t, ns, data[:20] if i == 0 else data) for i, (t, ns, data) in enumerate(messages())]
    file_of(path).write_bytes(mcap(broken, 'zstd'))
    with open_bag(path, recover=True) as bag:
        images = [c for c in bag.connections if c.topic == '/eye/image_raw']
        assert len(list(read_serialized(bag, images))) == 14
        assert bag.refused == {'/eye/image_raw': 1} and not bag.loss


def test_metadata_that_disagrees_is_said(tmp_path):
    path = good(tmp_path / 'bag', 'sqlite')
    change_metadata(path, message_count=61, storage_identifier='mcap')
    found, loss = read(path)
    assert len(found) == 60 and 'metadata.yaml counts 61 messages' in str(loss)


def test_a_journal_that_is_rolled_back_gives_what_was_committed(tmp_path):
    path = good(tmp_path / 'bag', 'sqlite')
    damages('sqlite')['a hot journal'](path, random.Random(0))
    found, loss = read(path)
    assert found == messages() and '-journal was applied' in str(loss)


def test_rows_of_other_types_are_counted(tmp_path):
    path = good(tmp_path / 'bag', 'sqlite')
    in_sql('DELETE FROM topics WHERE id = 4')(path, None)
    found, loss = read(path)
    assert len(found) == 45 and '15 rows are no messages of its topics' in str(loss)


def test_a_file_that_is_no_mcap_is_searched_and_refused(tmp_path):
    file = tmp_path / 'x.mcap'
    file.write_bytes(MAGIC + b'\x06' * 100_000)
    with pytest.raises(DatasetError, match=r'x\.mcap can be read: x\.mcap: what stands at byte 8'):
        read(file)


@pytest.mark.timeout(300)
def test_each_way_to_break_a_bag_gives_messages_and_a_loss_or_one_line():
    program = Path(TEST, 'reliability', 'fuzz_bags.py')
    done = subprocess.run(
        [sys.executable, str(program), '--quick', '--seed', '5'],
        stdout=subprocess.PIPE, text=True,
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout
    assert report['bags'] == report['damages'] >= 70 and not report['failures']
    assert min(report[outcome] for outcome in ('lost', 'refused', 'whole')) > 5


@pytest.mark.parametrize('seed', [1, 13])
def test_of_swapped_pages_each_topic_is_read_alone(tmp_path, seed):
    path = good(tmp_path / 'sqlite', 'sqlite')
    damages('sqlite')['pages swapped'](path, random.Random(f'{seed} sqlite pages swapped'))
    there = set(messages())
    with open_bag(path, recover=True) as bag:
        assert 'messages that it should hold' in str(bag.loss)
        for connection in bag.connections:
            for found, time_ns, data in bag.messages([connection]):
                assert (found.topic, time_ns, bytes(data)) in there
                assert found.topic == connection.topic


@pytest.mark.timeout(60)
def test_a_row_from_before_is_not_taken_for_the_next_one(tmp_path):
    path, kind = good(tmp_path / 'sqlite', 'sqlite'), 'inner pages with one child'
    damages('sqlite')[kind](path, random.Random(f'3 sqlite {kind}'))  # asked for 6, it says 4
    with pytest.raises(DatasetError, match=r'no message after id 4 .*rows are not in order'):
        read(path)
