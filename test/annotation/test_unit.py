# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Broken bags, places that cannot be written, and runs that are stopped: one line, nothing half."""

from contextlib import closing, suppress
import errno
import pickle
import sqlite3

import pytest
from recorded_drive import (
    compressed_message,
    drive,
    load,
    PERIOD_NS,
    picture_at,
    SECOND,
    START_NS,
    TYPES_OF,
    write_bag,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from depth_anything_ros.annotation.calibration import read_camera_info
from depth_anything_ros.annotation.unfinished import made_whole, unfinished
from depth_anything_ros.annotation.unit import annotate_unit, Request
from depth_anything_ros.annotation.unit_report import Unit
from depth_anything_ros.annotation.units import find_units
from depth_anything_ros.config import Config
from depth_anything_ros.errors import ConfigError, DatasetError
from depth_anything_ros.ros.bags import open_bag, TYPES


def annotate(bag, out, request=None, **more):
    """Annotate a bag; return the report."""
    unit = more.pop('unit', Unit(str(bag)))
    return annotate_unit(unit, request or Request(), Config(), load, out, **more)


def topics_of(bag):
    """Return topic -> number of messages."""
    with open_bag(bag) as reader:
        return {c.topic: c.msgcount for c in reader.connections}


def without(topic, messages=None):
    """Return a drive without a topic."""
    return [m for m in messages or drive(3) if m[0] != topic]


def one_line(call):
    """Return what is raised, which must be one line."""
    with pytest.raises(DatasetError) as raised:
        call()
    assert '\n' not in str(raised.value)
    return str(raised.value)


def test_broken_images_are_named_and_the_others_answered(tmp_path):
    messages = drive(4)
    at = [i for i, m in enumerate(messages) if m[0] == '/front/image_raw']
    topic, time_ns, data = messages[at[1]]
    messages[at[1]] = topic, time_ns, data[:-100]
    messages[at[2]] = messages[at[2]][0], messages[at[2]][1], b''
    report = annotate(write_bag(tmp_path / 'bag', messages), tmp_path / 'out')
    camera = report.cameras['/front/image_raw']
    assert camera.frames == 2 and sum(camera.failed.values()) == 2
    named = {(f.topic, f.time_ns, f.stamp_ns) for f in report.failures}
    assert named == {
        (topic, time_ns, START_NS + PERIOD_NS), (topic, messages[at[2]][1], None)
    }
    assert topics_of(tmp_path / 'out')['/front/depth/image'] == 2
    assert topics_of(tmp_path / 'out')['/front/image_raw'] == 4  # also the broken ones
    assert any('2 undecodable_message' in line for line in report.lines())
    assert pickle.loads(pickle.dumps(report)) == report


def test_compressed_images(tmp_path):
    messages = [
        ('/front/image_raw/compressed', time_ns, compressed_message(picture_at(ns), ns))
        if topic == '/front/image_raw' else (topic, time_ns, data)
        for topic, time_ns, data in drive(3)
        for ns in [time_ns - 40_000_000]
        if topic != '/tf'
    ]
    types = {'/front/image_raw/compressed': 'sensor_msgs/msg/CompressedImage'}
    report = annotate(write_bag(tmp_path / 'bag', messages, types), tmp_path / 'out')
    camera = report.cameras['/front/image_raw/compressed']
    assert (camera.frames, camera.states) == (3, {'FITTED': 3})
    assert topics_of(tmp_path / 'out')['/front/depth/image'] == 3


def test_only_new_leaves_the_original_topics_out(tmp_path):
    bag = write_bag(tmp_path / 'bag', drive(2))
    annotate(bag, tmp_path / 'out', Request(keep=False))
    names = ('camera_info', 'image', 'stddev', 'scale')
    assert topics_of(tmp_path / 'out') == {f'/front/depth/{name}': 2 for name in names}
    said = one_line(lambda: annotate(tmp_path / 'out', tmp_path / 'again'))
    assert 'no colour or gray image' in said


def test_annotating_what_is_annotated_wants_only_new(tmp_path):
    names = ('image', 'stddev', 'points', 'image_color', 'image_rect', 'relative')
    everything = Request(frozenset(f'depth/{name}' for name in names))
    annotate(write_bag(tmp_path / 'bag', drive(2)), tmp_path / 'out', everything)
    said = one_line(lambda: annotate(tmp_path / 'out', tmp_path / 'again'))
    assert '/front/depth/' in said and '--only-new' in said
    assert not (tmp_path / 'again').exists()
    report = annotate(tmp_path / 'out', tmp_path / 'third', Request(keep=False))
    assert {topic: c.frames for topic, c in report.cameras.items()} == {'/front/image_raw': 2}
    assert report.notes == []  # of the two clouds there the lidar's is meant


def test_a_depth_camera_s_cloud_is_no_output_of_ours(tmp_path):
    messages = [('/depth/points' if topic == '/lidar/points' else topic, time_ns, data)
                for topic, time_ns, data in drive(2)]
    bag = write_bag(tmp_path / 'bag', messages, {'/depth/points': TYPES_OF['/lidar/points']})
    report = annotate(bag, tmp_path / 'out')
    assert report.cameras['/front/image_raw'].states == {'FITTED': 2}


def test_without_calibration_it_is_said_and_a_file_calibrates(tmp_path):
    bag = write_bag(tmp_path / 'bag', without('/front/camera_info'))
    report = annotate(bag, tmp_path / 'bare')
    camera = report.cameras['/front/image_raw']
    assert camera.states == {'UNANCHORED': 3} and camera.incomplete == {'no_camera_info': 3}
    assert any('--camera-info FILE' in note for note in report.notes)
    (tmp_path / 'eye.yaml').write_text(
        'image_width: 140\nimage_height: 112\ncamera_name: eye\ndistortion_model: plumb_bob\n'
        'camera_matrix: {rows: 3, cols: 3, data: [90, 0, 70, 0, 90, 56, 0, 0, 1]}\n'
        'distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}\n'
    )
    request = Request(camera_info=read_camera_info(str(tmp_path / 'eye.yaml')))
    calibrated = annotate(bag, tmp_path / 'out', request)
    assert calibrated.cameras['/front/image_raw'].states == {'FITTED': 3}


@pytest.mark.parametrize(
    'text', ['', '[1, 2', '{image_width: 4}', 'image_width: [3]', '{"image_width": 0}', '\0']
)
def test_what_is_no_calibration_is_one_line(tmp_path, text):
    (tmp_path / 'eye.yaml').write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_camera_info(str(tmp_path / 'eye.yaml'))
    assert '\n' not in str(raised.value) and 'eye.yaml' in str(raised.value)


def test_no_picture_no_camera(tmp_path):
    bag = write_bag(tmp_path / 'bag', without('/front/image_raw'))
    assert 'no colour or gray image' in one_line(lambda: annotate(bag, tmp_path / 'out'))
    assert list(tmp_path.iterdir()) == [bag]


def test_topics_that_are_not_there_are_one_line(tmp_path):
    bag = write_bag(tmp_path / 'bag', drive(1))
    for request, says in (
        (Request(cameras=('/rear/image_raw',)), 'no /rear/image_raw of the type'),
        (Request(remapped=(('points', '/front/image_raw'),)), 'it has /lidar/points'),
        (Request(remapped=(('sonar', '/lidar/points'),)), 'sonar is no input of the node'),
    ):
        assert says in one_line(lambda: annotate(bag, tmp_path / 'out', request))  # noqa: B023
    assert not (tmp_path / 'out').exists()


def test_places_that_cannot_be_are_one_line(tmp_path):
    bag = write_bag(tmp_path / 'bag', drive(1))
    (tmp_path / 'there').mkdir()
    assert 'exists' in one_line(lambda: annotate(bag, tmp_path / 'there'))
    assert 'is in' in one_line(lambda: annotate(bag, bag / 'out'))
    assert 'is in' in one_line(lambda: annotate(bag, bag))
    (tmp_path / 'file').write_text('')
    assert 'cannot be written' in one_line(lambda: annotate(bag, tmp_path / 'file' / 'out'))


def test_a_full_disk_is_one_line_and_marked_unfinished(tmp_path, monkeypatch):
    bag = write_bag(tmp_path / 'bag', drive(3))
    from rosbags.rosbag2.storage_mcap import McapWriter

    written = []

    def full(self, *_):
        written.append(1)
        if len(written) > 20:
            raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(McapWriter, 'write', full)
    said = one_line(lambda: annotate(bag, tmp_path / 'out'))
    assert 'No space left' in said and 'free some space' in said
    assert not (tmp_path / 'out').exists() and unfinished(tmp_path / 'out').is_dir()
    monkeypatch.undo()
    assert annotate(bag, tmp_path / 'out').finished  # begins anew
    assert not unfinished(tmp_path / 'out').exists()


def test_a_stopped_run_leaves_what_it_has_as_a_bag_that_says_it_is_unfinished(tmp_path):
    bag, done = write_bag(tmp_path / 'bag', drive(6)), []
    report = annotate(
        bag, tmp_path / 'out', on_frame=lambda *d: done.append(d), stopped=lambda: len(done) == 4
    )
    assert not report.finished and not (tmp_path / 'out').exists()
    assert done[-1] == (4, 6)
    (left,) = unfinished(tmp_path / 'out').glob('*/out')
    assert topics_of(left)['/front/depth/image'] == 4
    assert annotate(bag, tmp_path / 'out').finished
    assert sorted(p.name for p in tmp_path.iterdir()) == ['bag', 'out', 'out.report.json']


def test_a_bug_keeps_its_traceback_and_leaves_nothing_that_looks_whole(tmp_path):
    bag = write_bag(tmp_path / 'bag', drive(2))

    def bug(done, of):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        annotate(bag, tmp_path / 'out', on_frame=bug)
    assert not (tmp_path / 'out').exists()


def test_a_part_of_a_bag_holds_its_own_time_and_what_came_before_counts(tmp_path):
    bag = write_bag(tmp_path / 'bag', drive(6))
    start_ns, stop_ns = (START_NS + ms * 1_000_000 for ms in (235, 435))
    part = Unit(str(bag), start_ns, stop_ns, before_s=0.2)
    report = annotate(bag, tmp_path / 'out', unit=part)
    assert report.cameras['/front/image_raw'].frames == 2
    with open_bag(tmp_path / 'out') as reader:
        times = {c.topic: [] for c in reader.connections}
        for connection, time_ns, _ in reader.messages():
            times[connection.topic].append(time_ns)
    assert all(start_ns <= t < stop_ns for group in times.values() for t in group)
    assert len(times['/front/image_raw']) == len(times['/front/depth/image']) == 2


def test_folders_and_patterns_of_bags(tmp_path):
    for name in ('day/one', 'day/sub/two', 'three'):
        (tmp_path / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
        write_bag(tmp_path / 'in' / name, drive(1))
    (tmp_path / 'in' / 'four.mcap').write_bytes((tmp_path / 'in/three/three.mcap').read_bytes())
    out = tmp_path / 'out'

    def found(*inputs):
        return {
            str(place.relative_to(out)): unit.path.removeprefix(f'{tmp_path}/in/')
            for unit, place in find_units([f'{tmp_path}/{name}' for name in inputs], out)
        }

    assert found('in') == {
        'day/one': 'day/one', 'day/sub/two': 'day/sub/two', 'three': 'three', 'four': 'four.mcap'
    }
    assert found('in/day/*') == {'one': 'day/one', 'two': 'day/sub/two'}
    assert found('in/three', 'in/four.mcap') == {'three': 'three', 'four': 'four.mcap'}
    assert find_units([str(tmp_path / 'in' / 'three')], out) == [
        (Unit(str(tmp_path / 'in' / 'three')), out)
    ]
    for inputs, says in (
        (['in/nothing'], 'is not there'), (['in/three', 'in/three'], 'both be written'),
    ):
        assert says in one_line(lambda: found(*inputs))  # noqa: B023
    (tmp_path / 'empty').mkdir()
    assert 'holds no bag' in one_line(lambda: found('empty'))
    assert 'is in' in one_line(lambda: find_units([str(tmp_path)], out))


def test_what_is_made_whole_is_there_at_the_end_alone(tmp_path):
    with made_whole(tmp_path / 'x') as room:
        room.mkdir()
        assert not (tmp_path / 'x').exists()
    assert [p.name for p in tmp_path.iterdir()] == ['x']


def test_an_attempt_that_was_given_up_for_lost_never_meets_the_next(tmp_path):
    def lost():
        with made_whole(tmp_path / 'x') as mine:
            mine.mkdir()
            with made_whole(tmp_path / 'x') as theirs:
                theirs.mkdir()
                (theirs / 'next').touch()
                with suppress(FileNotFoundError):
                    (mine / 'lost').touch()

    assert 'cannot be written' in one_line(lost)
    assert [p.name for p in (tmp_path / 'x').iterdir()] == ['next']


def test_two_images_of_one_namespace(tmp_path):
    messages = drive(2)
    messages += [('/front/image_mono', t, data) for topic, t, data in messages
                 if topic == '/front/image_raw']
    bag = write_bag(tmp_path / 'bag', messages, {'/front/image_mono': 'sensor_msgs/msg/Image'})
    report = annotate(bag, tmp_path / 'out')
    assert set(report.cameras) == {'/front/image_raw'}
    assert any('/front/image_mono is left out' in note for note in report.notes)
    named = annotate(bag, tmp_path / 'named', Request(cameras=('/front/image_mono',)))
    assert set(named.cameras) == {'/front/image_mono'}
    both = Request(cameras=('/front/image_mono', '/front/image_raw'))
    assert 'has room' in one_line(lambda: annotate(bag, tmp_path / 'both', both))


def test_several_lidars_are_named(tmp_path):
    messages = drive(3)
    messages += [('/z/other_points', t, data) for topic, t, data in messages
                 if topic == '/lidar/points']
    bag = write_bag(
        tmp_path / 'bag', messages, {'/z/other_points': 'sensor_msgs/msg/PointCloud2'}
    )
    report = annotate(bag, tmp_path / 'out')
    assert any('points is /lidar/points, not /z/other_points' in note for note in report.notes)
    remapped = Request(remapped=(('points', '/z/other_points'),))
    report = annotate(bag, tmp_path / 'named', remapped)
    assert not report.notes and report.cameras['/front/image_raw'].states == {'FITTED': 3}


def test_bags_of_sqlite3_and_without_definitions_are_copied_too(tmp_path):
    # As Humble writes them: no text of any type is in the file. One type nobody knows.
    messages = [*drive(2), ('/odd', START_NS + SECOND, b'\0\1\0\0odd!')]
    source = write_bag(tmp_path / 'mcap', drive(2))
    path = tmp_path / 'bag'
    with Writer(path, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topics = {
            topic: writer.add_connection(topic, kind, typestore=TYPES)
            for topic, kind in TYPES_OF.items()
        }
        topics['/odd'] = writer.add_connection(
            '/odd', 'odd_msgs/msg/Odd', msgdef='uint8[4] data', rihs01='RIHS01_' + 64 * '1'
        )
        for topic, time_ns, data in messages:
            writer.write(topics[topic], time_ns, data)
    with closing(sqlite3.connect(path / 'bag.db3')) as database:
        database.execute('delete from message_definitions')
        database.commit()
    annotate(path, tmp_path / 'out')
    annotate(source, tmp_path / 'other')
    with open_bag(tmp_path / 'out') as reader, open_bag(tmp_path / 'other') as other:
        by_topic = {c.topic: c for c in reader.connections}
        for connection in other.connections:
            found = by_topic[connection.topic]
            assert (found.msgtype, found.digest, found.msgdef) == (
                connection.msgtype, connection.digest, connection.msgdef
            )
        odd = by_topic['/odd']
        assert [data for *_, data in reader.messages([odd])] == [b'\0\1\0\0odd!']
        assert odd.msgtype == 'odd_msgs/msg/Odd' and odd.digest == 'RIHS01_' + 64 * '1'
