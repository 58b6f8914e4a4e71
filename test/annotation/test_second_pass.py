# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""--smooth where the lidar is away for a while: what stays as it is, and what is told."""

import json
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from recorded_drive import drive, load, PERIOD_NS, START_NS, write_bag
from sensor_msgs.msg import Image

from depth_anything_ros.annotation import second_pass
from depth_anything_ros.annotation.unit import annotate_unit, Request
from depth_anything_ros.annotation.unit_report import Unit
from depth_anything_ros.config import Config, with_values
from depth_anything_ros.metric_depth.ways import LONGEST_S
from depth_anything_ros.ros.bags import open_bag, read_recorded

COUNT, GAP = 12, range(4, 8)  # images, and those that no sweep belongs to
CONFIG = with_values(Config(), {'scale.max_time_offset': 0.05, 'scale.max_hold': 0.15})
CAMERAS = ('/front', '/rear')


def without_sweeps(messages, numbers):
    """Leave out the sweeps of some images; one takes .1 s, so that images beside it have it too."""
    of_images = {START_NS + n * PERIOD_NS for n in numbers}
    return [
        (topic, time_ns, data) for topic, time_ns, data in messages
        if topic != '/lidar/points' or (time_ns - 70_000_000) not in of_images
    ]


def two_cameras(messages):
    """Record every image for a second camera too."""
    rear = [(f'/rear{t[len("/front"):]}', time_ns, data) for t, time_ns, data in messages
            if t.startswith('/front')]
    return sorted([*messages, *rear], key=lambda message: message[1])


TYPES = {
    '/rear/image_raw': 'sensor_msgs/msg/Image',
    '/rear/camera_info': 'sensor_msgs/msg/CameraInfo',
}


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    """Return a bag of two cameras, without sweeps for four of twelve images."""
    messages = two_cameras(without_sweeps(drive(COUNT), range(3, 9)))
    return write_bag(tmp_path_factory.mktemp('recorded') / 'bag', messages, TYPES)


@pytest.fixture(scope='module')
def plain(bag):
    """Return what one pass makes of it."""
    annotate(bag, bag.with_name('plain'), smooth=False)
    return messages_of(bag.with_name('plain'))


@pytest.fixture(scope='module')
def smoothed(bag):
    """Return what two passes make of it, and the report."""
    report = annotate(bag, bag.with_name('smoothed'))
    return messages_of(bag.with_name('smoothed')), report


def annotate(bag, out, smooth=True, unit=None, **request):
    """Annotate a bag; return the report."""
    request = Request(smooth=smooth, **request)
    return annotate_unit(unit or Unit(str(bag)), request, CONFIG, load, Path(out))


def messages_of(bag):
    """Return topic -> number of the image -> bytes."""
    found = {}
    with open_bag(bag) as reader:
        for connection, time_ns, data in read_recorded(reader, list(reader.connections)):
            number = round((time_ns - START_NS - 40_000_000) / PERIOD_NS)
            found.setdefault(connection.topic, {}).setdefault(number, data)
    return found


def scale_of(messages, number, camera='/front'):
    """Return what depth/scale says of an image."""
    status = deserialize_message(messages[f'{camera}/depth/scale'][number], DiagnosticStatus)
    return {pair.key: pair.value for pair in status.values}


def depth_of(messages, number, camera='/front'):
    """Return the depth of an image in metres."""
    message = deserialize_message(messages[f'{camera}/depth/image'][number], Image)
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width)


def test_images_with_a_fit_are_byte_for_byte_what_they_were(plain, smoothed):
    messages, report = smoothed
    assert messages.keys() == plain.keys()
    outside = [n for n in range(COUNT) if n not in GAP]
    for topic, by_number in plain.items():
        if '/depth/' not in topic:
            assert messages[topic] == by_number  # the originals
            continue
        for n in outside:
            assert messages[topic][n] == by_number[n], (topic, n)
    for camera in CAMERAS:
        assert sorted(messages[f'{camera}/depth/scale']) == list(range(COUNT))
        assert [scale_of(plain, n)['state'] for n in GAP] == [
            'HELD', *(len(GAP) - 1) * ['UNANCHORED']
        ]
    assert report.finished and report.cameras['/front/image_raw'].frames == COUNT
    assert 'written' in report.lines()[-1]


def test_images_of_the_gap_are_told_by_both_sides(smoothed, tmp_path):
    messages, report = smoothed
    annotate(write_bag(tmp_path / 'bag', drive(COUNT)), tmp_path / 'out', smooth=False)
    with_all_sweeps = messages_of(tmp_path / 'out')
    for camera in CAMERAS:
        for n in GAP:
            said = scale_of(messages, n, camera)
            before_s, after_s = (n - 3) * 0.1, (8 - n) * 0.1
            both = f'{before_s:.1f} s before and {after_s:.1f} s after'
            assert (said['state'], said['method']) == ('FITTED', 'carried'), (n, said)
            assert both in said['reason'], (n, said)
            assert said['image_stamp'] == f'1700000000.{n * 100_000_000:09d}'
            ratio = depth_of(messages, n, camera) / depth_of(with_all_sweeps, n)
            assert abs(np.log(np.nanmedian(ratio))) < 0.1
    noted = [note for note in report.notes if 'had no fit of their own' in note]
    assert len(noted) == 2 and noted[0].startswith('/front/image_raw: 4 images')
    assert noted[0].endswith('4 FITTED')


def test_odometry_in_the_bag_carries_them_where_it_is_named(bag, tmp_path):
    named = with_values(CONFIG, {'scale.method': 'lidar', 'scale.fixed_frame': 'odom'})
    annotate_unit(Unit(str(bag)), Request(smooth=True), named, load, tmp_path / 'out')
    said = scale_of(messages_of(tmp_path / 'out'), 5)
    assert (said['state'], said['method']) == ('FITTED', 'carried'), said
    assert 'placed by odometry' in said['reason']


def test_the_same_bytes_every_time(bag, smoothed, tmp_path):
    annotate(bag, tmp_path / 'smoothed')
    file = 'smoothed.mcap'
    assert (tmp_path / 'smoothed' / file).read_bytes() == (
        bag.with_name('smoothed') / file
    ).read_bytes()


def test_a_lidar_that_comes_late_is_held_backwards(tmp_path):
    bag = write_bag(tmp_path / 'bag', without_sweeps(drive(4), range(3)))
    annotate(bag, tmp_path / 'out')
    messages = messages_of(tmp_path / 'out')
    assert '0.1 s after' in scale_of(messages, 2)['reason']
    states = [scale_of(messages, n)['state'] for n in range(4)]
    assert states[:2] == ['UNANCHORED', 'UNANCHORED'] and states[3] == 'FITTED'  # max_hold is .15 s
    assert states[2] in ('HELD', 'FITTED')


def test_where_all_have_a_fit_or_none_nothing_changes(tmp_path):
    for name, numbers in (('all', []), ('none', range(3))):
        bag = write_bag(tmp_path / name, without_sweeps(drive(3), numbers))
        annotate(bag, tmp_path / f'{name}_plain', smooth=False)
        annotate(bag, tmp_path / f'{name}_smooth')
        assert messages_of(tmp_path / f'{name}_plain') == messages_of(tmp_path / f'{name}_smooth')


def test_pictures_and_lines_are_in_order(bag, tmp_path):
    annotate(bag, tmp_path / 'out', format='kitti')
    folder = tmp_path / 'out' / 'front'
    lines = [json.loads(line) for line in (folder / 'states.jsonl').read_text().splitlines()]
    assert [line['frame'] for line in lines] == list(range(COUNT))
    assert [line['stamp_ns'] for line in lines] == [START_NS + n * PERIOD_NS for n in range(COUNT)]
    assert {line['state'] for n, line in enumerate(lines) if n not in GAP} == {'FITTED'}
    assert len(list((folder / 'depth').iterdir())) == COUNT
    assert (folder / 'timestamps.txt').read_text().count('\n') == COUNT


def test_a_part_keeps_its_own_time(bag, tmp_path):
    start_ns, stop_ns = (START_NS + n * PERIOD_NS for n in (5, 10))
    unit = Unit(str(bag), start_ns, stop_ns, before_s=0.4)
    report = annotate(bag, tmp_path / 'out', unit=unit)
    assert report.cameras['/front/image_raw'].frames == 5
    assert sorted(messages_of(tmp_path / 'out')['/front/depth/scale']) == [5, 6, 7, 8, 9]


def test_a_second_pass_that_is_stopped_is_unfinished(bag, tmp_path):
    done = []
    report = annotate_unit(
        Unit(str(bag)), Request(smooth=True), CONFIG, load, tmp_path / 'out',
        on_frame=lambda *d: done.append(d), stopped=lambda: len(done) > 2 * COUNT + 2,
    )
    assert not report.finished and not (tmp_path / 'out').exists()
    (left,) = (tmp_path / 'out.unfinished').glob('*/out')
    there = messages_of(left)
    fitted = 2 * (COUNT - len(GAP))
    assert sum(len(there[f'{camera}/depth/scale']) for camera in CAMERAS) == fitted + 3
    assert done[-1] == (2 * COUNT + 3, 2 * COUNT + 2 * len(GAP))


def test_images_that_no_sweep_is_carried_to_are_not_kept(tmp_path, monkeypatch):
    """Of a gap longer than twice the reach the middle is measured at once."""
    kept, add = [], second_pass._Gap.add

    def counted(self, index, met):
        add(self, index, met)
        kept.append(index)

    monkeypatch.setattr(second_pass._Gap, 'add', counted)
    monkeypatch.setattr(second_pass, 'LONGEST_S', 0.15)
    bag = write_bag(tmp_path / 'bag', without_sweeps(drive(10), range(1, 9)))
    annotate(bag, tmp_path / 'out')
    assert kept == [0, 1, 8, 9] and LONGEST_S == 10.0
    messages = messages_of(tmp_path / 'out')
    assert sorted(messages['/front/depth/scale']) == list(range(10))
    assert 'smoothed between fits 0.4 s before and 0.5 s after' in scale_of(messages, 4)['reason']
