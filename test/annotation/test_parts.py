# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bag in parts against the same bag in one run."""

from collections import Counter
from pathlib import Path

import pytest
from recorded_drive import drive, PERIOD_NS, SECOND, START_NS, write_bag

from depth_anything_ros.annotation.engines import Job, LocalEngine
from depth_anything_ros.annotation.parts import parts_folder, split
from depth_anything_ros.annotation.split_runs import run_in_parts
from depth_anything_ros.annotation.unit import Request
from depth_anything_ros.annotation.unit_report import read_report, report_path, Unit, Work
from depth_anything_ros.config import Config
from depth_anything_ros.ros.bags import open_bag, read_recorded
from helpers import RowPredictor

TOPIC, FRAMES = '/front/image_raw', 24


def load(model, runtime):
    """Return the network of the tests."""
    return RowPredictor()


JOB = Job(Request(), Config(), load)


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    """Return a bag of 24 images at 10 Hz, of which the 8th is broken."""
    messages = drive(FRAMES)
    at = [i for i, (topic, _, _) in enumerate(messages) if topic == TOPIC][7]
    messages[at] = (*messages[at][:2], b'')
    return write_bag(tmp_path_factory.mktemp('recorded') / 'bag', messages)


@pytest.fixture(scope='module')
def whole(bag):
    """Return the messages of the bag that one run makes, and its report."""
    out = bag.with_name('whole')
    (report,) = LocalEngine().run([Work(Unit(str(bag)), out)], JOB, tell, never)
    return messages_of(out), report


def tell(task, done, of):
    """Say nothing."""


def never():
    """Go on."""
    return False


def in_parts(bag, out, stopped=never, seconds=0.8, told=tell):
    """Return the reports of a run in parts of .8 s."""
    work = [Work(Unit(str(bag)), out)]
    return list(run_in_parts(LocalEngine(), work, JOB, seconds, told, stopped))


def messages_of(bag):
    """Return how often each (topic, time, bytes) is in a bag."""
    with open_bag(bag) as reader:
        return Counter(
            (c.topic, time_ns, data)
            for c, time_ns, data in read_recorded(reader, list(reader.connections))
        )


def test_parts_cover_the_bag_without_overlap_and_run_up_to_each(bag):
    parts = split(Unit(str(bag)), Path('out'), 0.8)
    # Messages go from 0 to 2.48 s (/tf): three parts of about .8 s.
    assert [str(part.out) for part in parts] == [
        f'out.parts.unfinished/out_{i}' for i in range(len(parts))
    ]
    units = [part.unit for part in parts]
    assert units[0].start_ns is None and units[-1].stop_ns is None and len(units) == 3
    assert [unit.stop_ns for unit in units[:-1]] == [unit.start_ns for unit in units[1:]]
    lengths = {round((units[1].stop_ns - units[1].start_ns) / SECOND, 2)}
    assert lengths == {round((units[0].stop_ns - first_of(bag)) / SECOND, 2)}
    assert {unit.before_s for unit in units} == {20.0}
    assert [sum(unit.holds(START_NS + i * PERIOD_NS) for unit in units) for i in range(24)] == (
        [1] * 24
    )
    assert split(Unit(str(bag)), Path('out'), 3.0) == [Work(Unit(str(bag)), Path('out'))]


def first_of(bag):
    """Return when the first message was recorded."""
    with open_bag(bag) as reader:
        return reader.start_time


def test_parts_make_what_one_run_makes_each_message_once(bag, whole, tmp_path):
    told = []
    (report,) = in_parts(bag, tmp_path / 'out', told=lambda *args: told.append(args))
    messages, in_one = whole
    assert messages_of(tmp_path / 'out') == messages and max(messages.values()) == 1
    files = {path.name for path in (tmp_path / 'out').iterdir()}
    assert files == {'metadata.yaml', 'out_0.mcap', 'out_1.mcap', 'out_2.mcap'}
    assert report.finished and report.cameras == in_one.cameras
    assert report.failures == in_one.failures and report.refused == in_one.refused
    assert (report.cameras[TOPIC].frames, report.cameras[TOPIC].failed.total()) == (23, 1)
    assert read_report(report_path(tmp_path / 'out')) == report
    assert {path.name for path in tmp_path.iterdir()} == {'out', 'out.report.json'}
    assert {bag for bag, _, _ in told} == {Work(Unit(str(bag)), tmp_path / 'out')}
    with open_bag(tmp_path / 'out') as reader:
        assert reader.message_count == messages.total()
        counts = {c.topic: c.msgcount for c in reader.connections}
        assert (reader.start_time, counts) == (first_of(bag), Counter(t for t, _, _ in messages))


def test_a_run_in_parts_that_was_stopped_goes_on_with_those_that_are_left(bag, whole, tmp_path):
    out, done = tmp_path / 'out', []
    (report,) = in_parts(
        bag, out, stopped=lambda: len(done) >= 12, told=lambda *_: done.append(1)
    )
    assert not report.finished and not report.error and not out.exists()
    left = sorted(path.name for path in parts_folder(out).iterdir())
    assert left == ['out_0', 'out_0.report.json', 'out_1.report.json', 'out_1.unfinished']
    before = (parts_folder(out) / 'out_0' / 'out_0.mcap').stat()
    (report,) = in_parts(bag, out)
    assert report.finished and messages_of(out) == whole[0]
    after = (out / 'out_0.mcap').stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_parts_that_are_all_there_are_joined(bag, whole, tmp_path):
    out = tmp_path / 'out'
    list(LocalEngine().run(split(Unit(str(bag)), out, 0.8), JOB, tell, never))
    (report,) = in_parts(bag, out)
    assert report.finished and messages_of(out) == whole[0]


def test_an_image_that_is_missing_is_noticed(bag, tmp_path):
    out = tmp_path / 'out'
    list(LocalEngine().run(split(Unit(str(bag)), out, 0.8), JOB, tell, never))
    path = report_path(parts_folder(out) / 'out_1')
    part = read_report(path)
    part.cameras[TOPIC].frames -= 1
    part.write()
    (report,) = in_parts(bag, out)
    assert 'has 24 images on /front/image_raw, and its parts 23' in report.error
    assert not out.exists() and '\n' not in report.error


def test_what_cannot_be_split_is_one_line_and_a_short_bag_stays_whole(bag, tmp_path):
    (tmp_path / 'no.mcap').write_bytes(b'no bag')
    (report,) = in_parts(tmp_path / 'no.mcap', tmp_path / 'x')
    assert 'can be read' in report.error and not report.finished
    (report,) = in_parts(bag, tmp_path / 'short', seconds=60)
    assert [p.name for p in sorted((tmp_path / 'short').iterdir())] == [
        'metadata.yaml', 'short.mcap'
    ]
    done = read_report(report_path(tmp_path / 'short'))
    for again in (
        in_parts(bag, tmp_path / 'short'),
        LocalEngine().run([Work(Unit(str(bag)), tmp_path / 'short')], JOB, tell, never),
    ):
        (report,) = again
        assert 'exists' in report.error
        assert read_report(report_path(tmp_path / 'short')) == done  # and is not lost for that
