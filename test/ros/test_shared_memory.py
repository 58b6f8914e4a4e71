# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a killed process leaves in shared memory goes, what a living one uses stays."""

import os
from pathlib import Path
import subprocess
import sys

import pytest
import rclpy

from depth_anything_ros.ros.shared_memory import remove_dead_segments

SHM = Path('/dev/shm')
PROGRAM = """
import rclpy, time
rclpy.init()
node = rclpy.create_node('to_be_killed')
print('up', flush=True)
time.sleep(600)
"""


def segments():
    """Return the segments of Fast DDS that are there."""
    return {Path(str(lock)[:-3]) for lock in SHM.glob('fast*_el') if 'port' not in lock.name}


def age(some):
    """Make segments as old as those of processes that have run for an hour."""
    for segment in some:
        lock = Path(f'{segment}_el')
        hour_ago = lock.stat().st_mtime - 3600
        os.utime(lock, (hour_ago, hour_ago))


@pytest.fixture
def living():
    """Return the segments of this process, which has a node."""
    before = segments()
    rclpy.init()
    node = rclpy.create_node('living')
    yield segments() - before
    node.destroy_node()
    rclpy.shutdown()


def test_segments_of_a_killed_process_go(living):
    before = segments()
    process = subprocess.Popen([sys.executable, '-c', PROGRAM], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b'up\n'
    theirs = {s for s in segments() - before if owner_is(process.pid, s)}
    assert living and theirs
    age(living | theirs)
    remove_dead_segments()
    assert all(segment.exists() for segment in living | theirs)
    process.kill()
    process.communicate()
    size = sum(segment.stat().st_size for segment in theirs)
    assert size > 30e6  # the segment of config/fastdds_shm.xml
    assert remove_dead_segments() >= size
    assert not any(Path(f'{segment}{end}').exists() for segment in theirs for end in ('', '_el'))
    assert all(segment.exists() for segment in living)


def owner_is(pid, segment):
    """Return whether a process has a segment mapped."""
    return str(segment) in Path(f'/proc/{pid}/maps').read_text()


def test_what_just_starts_and_what_is_not_fast_dds_stays(tmp_path):
    young, old = 'fastrtps_0123456789abcdef', 'fastdds_fedcba9876543210'
    others = ('fastrtps_port7412', 'fastrtps_of_mine', 'something')
    for name in (young, old, *others):
        (tmp_path / name).write_bytes(b'1234')
        (tmp_path / f'{name}_el').touch()
    age(tmp_path / name for name in (old, *others))
    assert remove_dead_segments(tmp_path, remove=False) == 4
    assert remove_dead_segments(tmp_path) == 4
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {name + end for name in (young, *others) for end in ('', '_el')}


def test_without_the_folder_there_is_nothing_to_remove(tmp_path):
    assert remove_dead_segments(tmp_path / 'nowhere') == 0
