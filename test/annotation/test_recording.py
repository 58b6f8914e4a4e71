# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which images come in which order, and what belongs to each, however a bag was recorded."""

from contextlib import ExitStack

import numpy as np
import pytest
from recorded_drive import (
    cloud_message,
    image_message,
    info_message,
    SECOND,
    START_NS,
    transforms_message,
    write_bag,
)

from depth_anything_ros.annotation.recording import Recording
from depth_anything_ros.annotation.topics import find_cameras
from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, with_values
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.poses import pose_to_matrix
from depth_anything_ros.ros.bags import open_bag

PICTURE = np.zeros((112, 140, 3), np.uint8)
LIDAR = pose_to_matrix([0, 0, 1, 0, 0, 0, 1])


def at(time_s):
    """Return seconds after the start as a stamp."""
    return START_NS + round(time_s * SECOND)


def image(stamp_s, recorded_s=None, topic='/front/image_raw'):
    """Return an image's message, recorded .04 s after its stamp."""
    recorded_s = stamp_s + 0.04 if recorded_s is None else recorded_s
    return topic, at(recorded_s), image_message(PICTURE, at(stamp_s))


def info(stamp_s, recorded_s=None, focal_px=90.0):
    """Return a camera_info's message."""
    K = [[focal_px, 0, 70], [0, focal_px, 56], [0, 0, 1]]
    recorded_s = stamp_s + 0.04 if recorded_s is None else recorded_s
    camera = Camera.from_calibration(140, 112, K)
    return '/front/camera_info', at(recorded_s), info_message(at(stamp_s), camera)


def sweep(stamp_s, recorded_s=None, count=3):
    """Return a sweep's message, recorded .1 s after its stamp."""
    points = SensorPoints(np.ones((count, 3), np.float32), at(stamp_s), 'lidar')
    recorded_s = stamp_s + 0.1 if recorded_s is None else recorded_s
    return '/lidar/points', at(recorded_s), cloud_message(points, at(stamp_s))


def static(recorded_s=0.0, T=LIDAR):
    """Return where the lidar is on the camera."""
    return '/tf_static', at(recorded_s), transforms_message((0, 'camera', 'lidar', T))


def way(stamp_s, x_m, recorded_s=None):
    """Return where the camera is in odom."""
    T = pose_to_matrix([x_m, 0, 0, 0, 0, 0, 1])
    recorded_s = stamp_s + 0.01 if recorded_s is None else recorded_s
    return '/tf', at(recorded_s), transforms_message((at(stamp_s), 'odom', 'camera', T))


class Met:
    """What a node would have said of an image."""

    def __init__(self, image, recording):
        around = recording.surroundings[image.camera]
        self.stamp_s = round((image.stamp_ns - START_NS) / SECOND, 3)
        self.focal_px = self.sweep_s = self.x_m = self.error = None
        try:
            self.focal_px = around.cameras.for_image(PICTURE, image.stamp_ns).K[0, 0]
            if (found := around.sweep('camera', image.stamp_ns, 0.1)) is not None:
                self.sweep_s = round((found.points.stamp_ns - START_NS) / SECOND, 3)
            T = around.transforms.camera('camera', image.stamp_ns)
            self.x_m = None if T is None else round(T[0, 3], 6)
        except BadFrameError as error:
            self.error = error.reason


@pytest.fixture
def meet(tmp_path):
    """Return what reads messages, as a bag in the order of recording, through a Recording."""
    with ExitStack() as stack:

        def make(*messages, span_s=(None, None), types=None, **parameters):
            ordered = sorted(messages, key=lambda m: m[1])
            path = write_bag(tmp_path / f'{make.count}', ordered, types)
            make.count += 1
            bag = stack.enter_context(open_bag(path))
            cameras, _ = find_cameras(bag)
            make.refused = []
            config = with_values(Config(), parameters)
            span_ns = [None if s is None else at(s) for s in span_s]
            recording = Recording(
                bag, cameras, config, lambda *refused: make.refused.append(refused), *span_ns
            )
            return [Met(i, recording) for i in recording.images(recording.connections)]

        make.count = 0
        yield make


def stamps_of(met):
    """Return the stamps of images in seconds."""
    return [one.stamp_s for one in met]


def test_each_meets_the_sweep_and_info_of_its_time_though_they_came_later(meet):
    images = [m for i in range(1, 9) for m in (image(i / 10), info(i / 10, i / 10 + 0.06, 80 + i))]
    sweeps = [sweep(i / 10 + 0.02, i / 10 + 0.35) for i in range(1, 9)]
    met = meet(*images, *sweeps, static(0.9))
    assert stamps_of(met) == [i / 10 for i in range(1, 9)]
    assert [one.focal_px for one in met] == [81, 82, 83, 84, 85, 86, 87, 88]
    assert [one.sweep_s for one in met] == [round(i / 10 + 0.02, 3) for i in range(1, 9)]


def test_a_sensor_of_a_high_rate_is_met_at_its_nearest(meet):
    # 100 sweeps a second: many of them are read before the first image is answered.
    sweeps = [sweep(i / 100, i / 100 + 0.002) for i in range(200)]
    met = meet(*sweeps, *[image(i / 10) for i in range(3, 15)], info(0), static())
    assert [one.sweep_s for one in met] == [i / 10 for i in range(3, 15)]


def test_a_latched_info_and_static_transforms_hold_from_the_start_wherever_they_are(meet):
    met = meet(*[image(i / 10) for i in range(30)], *[sweep(i / 10) for i in range(30)],
               info(0, 2.9), static(2.95))
    assert [(one.focal_px, one.sweep_s) for one in met] == [(90, i / 10) for i in range(30)]


def test_an_info_is_not_that_of_a_later_zoom(meet):
    # Two infos, of another clock than the images: what had come counts.
    met = meet(*[image(i / 10) for i in range(1, 30)], info(900, 0.05, 90), info(901, 1.5, 180))
    assert [one.focal_px for one in met] == [90] * 14 + [180] * 15


def test_infos_at_a_high_rate_are_met_at_their_stamp(meet):
    messages = [m for i in range(60) for m in (
        image(i / 30, i / 30), info(i / 30, i / 30 + 0.01, 100 + i))]
    assert [one.focal_px for one in meet(*messages)] == [100 + i for i in range(60)]


def test_the_last_info_counts_after_a_silence_too(meet):
    met = meet(image(0.1), info(900, 0.05, 80), info(901, 0.2, 90), sweep(2), info(902, 5, 180),
               image(6), image(6.1))
    assert [one.focal_px for one in met] == [80, 180, 180]


def test_images_of_a_camera_that_came_out_of_order_are_in_order(meet):
    met = meet(image(0.1, 0.3), image(0.2, 0.25), image(0.3, 0.35), info(0))
    assert stamps_of(met) == [0.1, 0.2, 0.3]


def test_duplicates_are_all_answered(meet):
    met = meet(image(0.1), image(0.1), image(0.1, 0.2), info(0), static(), sweep(0.1))
    assert stamps_of(met) == [0.1] * 3 and {one.sweep_s for one in met} == {0.1}


def test_stamps_of_another_clock_than_the_recording(meet):
    late_s = 1e6
    met = meet(
        *[m for i in range(8) for m in (
            image(i / 10 - late_s, i / 10), sweep(i / 10 - late_s, i / 10 + 0.2),
            info(i / 10 - late_s, i / 10),
        )],
        static(),
    )
    assert stamps_of(met) == [one.sweep_s for one in met] and len(met) == 8


def test_a_lidar_of_another_clock_says_so(meet):
    met = meet(*[image(i / 10) for i in range(5)], info(0), static(),
               *[sweep(5000 + i / 10, i / 10) for i in range(5)])
    assert [one.error for one in met] == ['points_out_of_time'] * 5


def test_time_that_goes_back_begins_anew(meet):
    # A recorder that played a bag twice: in between, nothing of the first round is met.
    # Its stamps are those of the first, or older than TF keeps.
    for back_s in (0, 50):
        first = [m for i in range(20) for m in (
            image(i / 10), sweep(i / 10, i / 10), way(i / 10, i / 10))]
        second = [m for i in range(20) for m in (
            image(i / 10 - back_s, i / 10 + 2.04),
            sweep(i / 10 - back_s + 0.03, i / 10 + 2.05),
            way(i / 10 - back_s, 50 + i, i / 10 + 2.01))]
        end = way(2 - back_s, 70, 4.05)
        met = meet(*first, *second, end, info(0), static(), **{'scale.fixed_frame': 'odom'})
        again = [round(i / 10 - back_s, 3) for i in range(20)]
        assert stamps_of(met) == [i / 10 for i in range(20)] + again
        assert [one.x_m for one in met[:20]] == [i / 10 for i in range(20)]
        assert [one.x_m for one in met[20:]] == [50 + i for i in range(20)]
        assert [one.error for one in met] == [None] * 40
        assert [one.sweep_s for one in met[:20]] == [i / 10 for i in range(20)]
        assert [one.sweep_s for one in met[20:]] == [round(t + 0.03, 3) for t in again]


def test_tf_that_comes_late_is_waited_for(meet):
    ways = [way(i / 10, i, i / 10 + 0.4) for i in range(15)]
    met = meet(*[image(i / 10 + 0.05) for i in range(10)], *ways, info(0),
               **{'scale.fixed_frame': 'odom'})
    assert [one.x_m for one in met] == [i + 0.5 for i in range(10)]


def test_messages_that_are_none_are_named_and_the_others_go_on(meet):
    topic, time_ns, data = image(0.2, 0.205)
    broken = [(topic, time_ns, data[:6]), ('/lidar/points', at(0.21), b'\0\1\0\0abc'),
              ('/tf', at(0.22), data[:9]), ('/front/camera_info', at(0.23), b'')]
    met = meet(image(0.1), *broken, image(0.3), info(0.1), sweep(0.1), static(), way(0.0, 1))
    assert stamps_of(met) == [0.1, 0.3] and met[0].sweep_s == 0.1
    assert [(t, ns) for t, ns, _ in meet.refused] == [(t, ns) for t, ns, _ in broken]
    assert {error.reason for *_, error in meet.refused} == {'undecodable_message'}


def test_a_part_of_a_bag_meets_what_the_whole_does(meet):
    messages = [m for i in range(40) for m in (image(i / 10), sweep(i / 10 + 0.04, i / 10 + 0.3))]
    messages += [info(0), static()]
    whole = meet(*messages)
    part = meet(*messages, span_s=(1.0, 2.0))
    assert stamps_of(part) == [i / 10 for i in range(10, 20)]
    assert [one.sweep_s for one in part][1:] == [one.sweep_s for one in whole][11:20]
    assert {one.focal_px for one in part} == {90}


def test_two_cameras_each_with_its_own(meet):
    left = [image(i / 10, topic='/left/image') for i in range(9)]
    right = [image(i / 10 + 0.05, topic='/right/image') for i in range(9)]
    K = [[70.0, 0, 70], [0, 70.0, 56], [0, 0, 1]]
    camera = Camera.from_calibration(140, 112, K)
    infos = [('/left/camera_info', at(0), info_message(0)),
             ('/right/camera_info', at(0), info_message(0, camera))]
    types = {f'/{side}/{name}': f'sensor_msgs/msg/{kind}' for side in ('left', 'right')
             for name, kind in (('image', 'Image'), ('camera_info', 'CameraInfo'))}
    met = meet(*left, *right, *infos, *[sweep(i / 20) for i in range(20)], static(), types=types)
    by_camera = {focal: [one for one in met if one.focal_px == focal] for focal in (90, 70)}
    assert stamps_of(by_camera[90]) == [i / 10 for i in range(9)]
    assert stamps_of(by_camera[70]) == [round(i / 10 + 0.05, 3) for i in range(9)]
    assert all(one.sweep_s == one.stamp_s for one in met)


def test_a_camera_that_is_silent_for_long_keeps_no_messages(meet, monkeypatch):
    kept = []
    add = Recording._due

    def counted(self, until_ns):
        kept.append(sum(len(r) for q in self._queues for r in q._readings.values()))
        return add(self, until_ns)

    monkeypatch.setattr(Recording, '_due', counted)
    sweeps = [sweep(i / 10, count=1) for i in range(300)]
    met = meet(image(0), *sweeps, image(29.9), info(0), static())
    assert [one.sweep_s for one in met] == [0, 29.9] and max(kept) < 15
