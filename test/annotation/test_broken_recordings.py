# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""annotate on broken bags: what can be read has depth, the rest is told, nothing is half there."""

from collections import Counter
import random
import shutil
import struct

import pytest
from recorded_drive import drive, load, START_NS, write_bag

from broken_bags import damages, file_of, good, kinds, records
from depth_anything_ros.annotation.engines import annotate as annotated_or_told
from depth_anything_ros.annotation.engines import Job, LocalEngine
from depth_anything_ros.annotation.split_runs import run_in_parts
from depth_anything_ros.annotation.unfinished import unfinished
from depth_anything_ros.annotation.unit import Request
from depth_anything_ros.annotation.unit_report import read_report, report_path, Unit, Work
from depth_anything_ros.config import Config
from depth_anything_ros.ros.bags import open_bag, read_recorded

COUNT, TOPIC = 24, '/front/image_raw'
JOB = Job(Request(), Config(), load)
EVERY = 12  # kind of damage is tried here, one at a time; all of them in test/reliability


def annotate(bag, out, job=JOB):
    """Annotate a bag; return the report."""
    return annotated_or_told(Work(Unit(str(bag)), out), job, lambda *_: None, lambda: False)


def messages_of(bag):
    """Return topic -> [(time of recording, bytes)]."""
    found = {}
    with open_bag(bag) as reader:
        for connection, time_ns, data in read_recorded(reader, list(reader.connections)):
            found.setdefault(connection.topic, []).append((time_ns, data))
    return found


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Return the messages of a drive, and what is made of its whole bag."""
    folder = tmp_path_factory.mktemp('whole')
    annotate(write_bag(folder / 'bag', drive(COUNT)), folder / 'out')
    return messages_of(folder / 'out')


@pytest.fixture
def cut(tmp_path):
    """Return the bag cut off in the head of its last chunk but one, and what is left by hand."""
    bag = write_bag(tmp_path / 'bag', drive(COUNT))
    data = file_of(bag).read_bytes()
    chunks = [start for opcode, start, _ in records(data) if opcode == 6]
    assert len(chunks) > 2
    # Of a chunk the second 8 bytes are the time of its last message (mcap.dev/spec).
    (last_ns,) = struct.unpack_from('<Q', data, chunks[-3] + 8)
    file_of(bag).write_bytes(data[: chunks[-2] + 5])
    left = [(topic, t, data) for topic, t, data in drive(COUNT) if t <= last_ns]
    assert 3 < sum(topic == TOPIC for topic, _, _ in left) < COUNT - 1
    return bag, left


def test_a_cut_bag_gives_the_frames_before_the_cut_and_says_so(cut, whole, tmp_path):
    bag, left = cut
    report = annotate(bag, tmp_path / 'out')
    made = messages_of(tmp_path / 'out')
    images = [(t, data) for topic, t, data in left if topic == TOPIC]
    assert report.finished and report.cameras[TOPIC].frames == len(images)
    assert made[TOPIC] == images
    # The last one may have lost the sweep after it; the others are what they were.
    assert made['/front/depth/image'][:-1] == whole['/front/depth/image'][: len(images) - 1]
    assert [t for t, _ in made['/front/depth/scale']] == [t for t, _ in images]
    (note,) = [note for note in report.notes if 'is broken' in note]
    assert f'of {len(drive(COUNT))} messages could be read' in note and '\n' not in note
    assert note in report.lines() and note in read_report(report_path(tmp_path / 'out')).notes


def test_so_do_its_parts(cut, tmp_path):
    bag, left = cut
    annotate(bag, tmp_path / 'one')
    work = [Work(Unit(str(bag)), tmp_path / 'out')]
    (report,) = run_in_parts(LocalEngine(), work, JOB, 0.4, lambda *_: None, lambda: False)
    assert report.finished and len([n for n in report.notes if 'is broken' in n]) == 1
    assert len(list((tmp_path / 'out').glob('*.mcap'))) > 1
    counted = [Counter((topic, *m) for topic, ms in messages_of(tmp_path / out).items() for m in ms)
               for out in ('one', 'out')]
    assert counted[0] == counted[1]


def test_a_time_that_is_wrong_makes_no_million_parts(tmp_path):
    messages = drive(2)
    messages.append(('/note', START_NS + 10**17, messages[-1][2]))  # three years later
    work = [Work(Unit(str(write_bag(tmp_path / 'bag', messages))), tmp_path / 'out')]
    (report,) = run_in_parts(LocalEngine(), work, JOB, 60.0, lambda *_: None, lambda: False)
    assert '1157 days apart' in report.error and not (tmp_path / 'out').exists()


@pytest.fixture(scope='module')
def intact(tmp_path_factory):
    """Return what makes good bags of a storage."""
    folder, made = tmp_path_factory.mktemp('good'), {}

    def bag(storage):
        if storage not in made:
            made[storage] = good(folder / storage.replace(' ', '_'), storage)
        return made[storage]

    return bag


@pytest.mark.parametrize('smooth', [False, True])
def test_whatever_breaks_a_bag_there_is_a_whole_output_or_one_line(intact, tmp_path, smooth):
    job = Job(Request(smooth=smooth), Config(), load)
    ended = Counter()
    some = [*kinds()[5 * smooth :: EVERY], ('sqlite', 'pages swapped')]
    for number, (storage, name) in enumerate(some):
        bag, out = tmp_path / 'bag', tmp_path / f'out_{number}'
        shutil.copytree(intact(storage), bag)
        damages(storage)[name](bag, random.Random(f'1 {storage} {name}'))
        report = annotate(bag, out, job)
        shutil.rmtree(bag)
        what = (storage, name, report.error, report.notes)
        assert not unfinished(out).exists(), what
        assert all('\n' not in line for line in report.lines()), what
        ended[report.finished] += 1
        if not report.finished:
            assert report.error and not out.exists(), what
            continue
        made, frames = messages_of(out), report.cameras['/eye/image_raw'].frames
        assert frames == len(made['/eye/depth/scale']), what
        is_copied = not any('/eye/image_raw is not copied' in note for note in report.notes)
        assert len(made.get('/eye/image_raw', [])) >= is_copied * frames, what
        # sqlite has no checksums: a message whose topic's number has changed is another topic's.
        unknowable = storage.startswith('sqlite') and name.endswith('bits')
        if frames < 15 and not unknowable:
            assert any('is broken' in note for note in report.notes), what
    assert ended[True] > ended[False] > 0
