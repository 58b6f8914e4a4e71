# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What arrives beside the image: cameras by stamp, points by time, over real DDS."""

import gc
import threading
import weakref

import numpy as np
import pytest
import rclpy
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2, PointField

from depth_anything_ros.config import Config, with_values
from depth_anything_ros.errors import BadFrameError, ConfigError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.ros import stores as module
from depth_anything_ros.ros.inputs import Inputs
from depth_anything_ros.ros.live_transforms import TransformListener
from depth_anything_ros.ros.messages import (
    decode_points,
    deserialize,
    encode_points,
    ns_to_stamp,
)
from depth_anything_ros.ros.sensors import Input, Sensors
from depth_anything_ros.ros.stores import CameraStore, OutOfTime, ReadingStore
from depth_anything_ros.ros.surroundings import Surroundings
from depth_anything_ros.ros.transforms import Transforms

SECOND = 1_000_000_000
NOW = 1_000_000_000 * SECOND
MIB = 1 << 20
PICTURE = np.zeros((480, 640, 3), np.uint8)


def at(time_s):
    """Return seconds after NOW as a stamp."""
    return NOW + round(time_s * SECOND)


def stamped(message, stamp_ns):
    """Return a message with a stamp."""
    stamp = ns_to_stamp(stamp_ns)
    message.header.stamp.sec, message.header.stamp.nanosec = stamp['sec'], stamp['nanosec']
    return message


def camera_info(stamp_ns, focal_px=500.0):
    """Return a real CameraInfo message of a pinhole camera."""
    message = CameraInfo(height=480, width=640, distortion_model='plumb_bob')
    message.k = [focal_px, 0.0, 320.0, 0.0, focal_px, 240.0, 0.0, 0.0, 1.0]
    return stamped(message, stamp_ns)


# Cameras


def cameras(*infos):
    """Return a store with infos (stamp in ns, focal length in px) in it."""
    store = CameraStore(rectified=False)
    for info in infos:
        store.add(serialize_message(camera_info(*info)))
    return store


def focal_px(store, stamp_ns):
    """Return the focal length for an image of a stamp."""
    return store.for_image(PICTURE, stamp_ns).K[0, 0]


@pytest.fixture
def waits(monkeypatch):
    """Return what may come while something is waited for, and how often something was."""

    class Waits:
        count, comes = 0, staticmethod(lambda: None)

    def wait(self, timeout=None):
        assert 0 < timeout <= 0.02
        Waits.count += 1
        Waits.comes()
        return False

    def wait_for(self, predicate, timeout=None):
        wait(self, timeout)
        return predicate()

    monkeypatch.setattr('threading.Condition.wait_for', wait_for)
    return Waits


def test_camera_of_the_same_stamp_else_the_latest():
    with pytest.raises(BadFrameError, match='no camera_info'):
        focal_px(cameras(), 1)
    store = cameras((1, 500.0), (2, 600.0))
    assert focal_px(store, 1) == 500
    assert focal_px(store, 7) == 600
    with pytest.raises(BadFrameError, match='320x240 but camera_info describes 640x480'):
        store.for_image(np.zeros((240, 320, 3), np.uint8), 7)


def test_unchanged_camera_stays_the_same_object():
    # So that sampling grids are computed once, not with every message.
    store = cameras((1,))
    first = store.for_image(PICTURE, 1)
    store.add(serialize_message(camera_info(2)))
    assert store.for_image(PICTURE, 2) is first
    store.add(serialize_message(camera_info(3, 501.0)))
    assert store.for_image(PICTURE, 3) is not first


def test_image_that_overtakes_its_info_waits_for_it(waits):
    store = cameras((1, 500.0))
    assert focal_px(store, 1) == 500 and waits.count == 0
    waits.comes = lambda: store.add(serialize_message(camera_info(2, 800.0)))  # zoomed
    assert focal_px(store, 2) == 800 and waits.count == 1


def test_an_info_that_comes_ends_the_wait(monkeypatch):
    monkeypatch.setattr(module, 'CAMERA_WAIT_S', 60.0)
    store, found = cameras((1, 500.0)), []
    focal_px(store, 1)
    image = threading.Thread(target=lambda: found.append(focal_px(store, 2)), daemon=True)
    image.start()
    store.add(serialize_message(camera_info(2, 800.0)))
    image.join(10)
    assert found == [800]


def test_every_image_that_overtakes_its_info_waits(waits):
    # The first one cannot know; its info's coming at last tells that the others' will too.
    store = cameras((1, 500.0))
    assert focal_px(store, 2) == 500 and waits.count == 0
    store.add(serialize_message(camera_info(2, 600.0)))
    for stamp_ns in (3, 4):
        waits.comes = lambda: store.add(  # noqa: B023
            serialize_message(camera_info(stamp_ns, 600.0 + stamp_ns))  # noqa: B023
        )
        assert focal_px(store, stamp_ns) == 600 + stamp_ns
    assert waits.count == 2


def test_infos_with_stamps_of_their_own_are_not_waited_for(waits):
    store = cameras((0,))  # a static one
    for stamp_ns in (at(0), at(1), at(2)):
        assert focal_px(store, stamp_ns) == 500
        store.add(serialize_message(camera_info(stamp_ns - 5_000_000)))
    assert waits.count == 0


def test_infos_that_stop_are_waited_for_once(waits):
    store = cameras((1,))
    for stamp_ns in range(1, 9):
        assert focal_px(store, stamp_ns) == 500
    assert waits.count == 1


def test_image_older_than_the_infos_does_not_wait(waits):
    store = cameras((5,), (6, 600.0))
    assert focal_px(store, 5) == 500
    assert focal_px(store, 4) == 600 and waits.count == 0


def test_infos_that_are_none_are_counted_and_forgotten():
    store = cameras((1,))
    whole = serialize_message(camera_info(2))
    store.add(whole[:40])
    with pytest.raises(BadFrameError) as raised:
        focal_px(store, 2)
    assert raised.value.reason == 'undecodable_message'
    assert focal_px(store, 2) == 500
    with pytest.raises(BadFrameError) as raised:
        store.add(whole + bytes(100_000))
    assert raised.value.reason == 'camera_info_too_large'


# Points


def cloud(stamp_ns, time_s=None, count=2, size=0):
    """Return a real serialised PointCloud2, with per-point times or a number of bytes if asked."""
    xyz_m = np.full((count, 3), 5, np.float32)
    numbers, fields = encode_points(SensorPoints(xyz_m, stamp_ns, 'lidar'))
    if time_s is not None:
        data = np.zeros((count, 5), '<f4')
        data[:, :3], data[:, 4] = xyz_m, time_s
        numbers |= {'point_step': 20, 'row_step': 20 * count, 'data': data.tobytes()}
        fields.append({'name': 'time', 'offset': 16, 'datatype': 7, 'count': 1})
    numbers['data'] = bytes(numbers['data']) + bytes(max(0, size - len(numbers['data'])))
    message = PointCloud2(fields=[PointField(**field) for field in fields], **numbers)
    message.header.frame_id = 'lidar'
    return serialize_message(stamped(message, stamp_ns))


def decode(data):
    """Decode a cloud as the node does."""
    return decode_points(deserialize(data, PointCloud2))


def points_of(stamps_s, **fields):
    """Return a store of clouds with stamps in seconds after NOW."""
    store = ReadingStore(decode, 256)
    for stamp_s in stamps_s:
        store.add(cloud(at(stamp_s), **fields))
    return store


def test_what_an_image_needs_is_kept_while_the_network_is_at_it():
    store = points_of([0.0, 0.1])
    store.hold(at(0.11))
    for i in range(200):  # at 30 Hz, six seconds
        store.add(cloud(at(0.2 + i / 30)))
    assert store.nearest(at(0.11), 0.02).stamp_ns == at(0.1)
    assert len(store._entries) == 20
    store.hold(at(6.8))
    store.add(cloud(at(6.9)))
    store.add(cloud(at(7.0)))
    with pytest.raises(OutOfTime):
        store.nearest(at(0.11), 0.02)


def test_what_the_images_of_several_cameras_need_is_kept():
    store = points_of([0.0, 0.1, 0.2, 0.3])
    store.hold(at(0.11), 'front')
    store.hold(at(0.21), 'left')
    store.hold(at(0.12), 'right')  # the same sweep as in front
    for i in range(200):
        store.add(cloud(at(0.4 + i / 30)))
    assert len(store._entries) == 20
    for stamp_s in (0.1, 0.2):
        assert store.nearest(at(stamp_s + 0.01), 0.02).stamp_ns == at(stamp_s)
    with pytest.raises(OutOfTime):
        store.nearest(at(0.31), 0.02)
    for number in range(30):  # more cameras than sweeps are kept: the newest always is
        store.hold(at(6.0 + number / 30), f'camera{number}')
    for i in range(30):
        store.add(cloud(at(7.1 + i / 30)))
        assert len(store._entries) == 20 and store._entries[-1][0] == at(7.1 + i / 30)


def test_two_sweeps_in_turn_are_decoded_once_each():
    calls = []
    store = ReadingStore(lambda data: calls.append(data) or decode(data), 256)
    for stamp_s in (1, 2):
        store.add(cloud(at(stamp_s)))
    for stamp_s in (1, 2, 1, 2):
        assert store.nearest(at(stamp_s), 0.1).stamp_ns == at(stamp_s)
    assert len(calls) == 2


def test_nearest_points_decoded_once():
    calls = []

    def counted(data):
        calls.append(data)
        return decode(data)

    store = ReadingStore(counted, 256)
    assert store.nearest(at(0), 1.0) is None
    for stamp_s in (1, 2, 3):
        store.add(cloud(at(stamp_s)))
    assert store.nearest(at(2.09), 0.1).stamp_ns == at(2)
    assert store.nearest(at(1.91), 0.1).stamp_ns == at(2)
    assert len(calls) == 1


@pytest.mark.parametrize(
    'image_s, says',
    [
        (3.12, 'are 0.12 s older than the image: raise scale.max_time_offset (0.1 s)'),
        (0.85, 'are 0.15 s newer than the image: raise scale.max_time_offset (0.1 s)'),
        (3603, 'are 3600.00 s older than the image: their sensor has stopped'),
    ],
)
def test_points_too_far_in_time_say_how_far_and_what_to_do(image_s, says):
    with pytest.raises(OutOfTime) as raised:
        points_of([1, 2, 3]).nearest(at(image_s), 0.1)
    assert says in str(raised.value) and '(lidar)' in str(raised.value)


SWEEPS_S = [0.1 * i for i in range(10)]  # the last at 0.9


@pytest.mark.parametrize(
    'time_s, image_s, offset_s',
    [
        ([0.0, 0.1], 0.95, 0.0),  # stamped at the start, taken from 0.9 to 1
        ([0.0, 0.1], 1.09, 0.09),
        ([0.0, 0.1], 1.12, 0.12),
        ([-0.1, 0.0], 0.85, 0.0),  # at the end, taken from 0.8 to 0.9
        ([-0.1, 0.0], 1.02, 0.12),
        (None, 1.09, 0.09),  # nobody knows: it may have lasted until 1
        (None, 1.12, 0.12),
        (None, -0.22, -0.12),
        ([0.0, 0.0], 1.12, 0.12),  # times that say nothing
    ],
)
def test_time_is_counted_from_the_sweep(time_s, image_s, offset_s):
    store = points_of(SWEEPS_S, time_s=time_s)
    store.nearest(at(0.5), 10.0)
    assert len(store.nearest(at(image_s), abs(offset_s) + 1e-6)) == 2
    if offset_s:
        side = 'older' if offset_s > 0 else 'newer'
        with pytest.raises(OutOfTime, match=f'are {abs(offset_s):.2f} s {side}'):
            store.nearest(at(image_s), abs(offset_s) - 1e-3)


@pytest.mark.parametrize('late_s, share', [(0.12, 1.0), (0.2, 0.5)])
@pytest.mark.parametrize('time_s', [None, [0.0, 0.1]])
def test_a_late_lidar_stamped_at_the_start_of_its_sweep(late_s, share, time_s):
    # 10 sweeps and 16 images a second, which ask for points 50 ms after they were taken.
    anchored_s, came = [], 0
    store = ReadingStore(decode, 256)
    for image_s in np.arange(16, 64) / 16:
        while came * 0.1 + late_s <= image_s + 0.05:
            store.add(cloud(at(came * 0.1), time_s))
            came += 1
        try:
            store.nearest(at(image_s), 0.1)
            anchored_s.append(image_s)
        except OutOfTime:
            pass
    assert len(anchored_s) >= share * 48 and max(np.diff(anchored_s)) < 0.2


def test_the_sweep_during_which_the_image_was_taken_is_the_nearest():
    # The stamp of the next one is nearer.
    store = points_of(SWEEPS_S, time_s=[0.0, 0.1])
    store.nearest(at(0.5), 0.1)  # tells how long they last
    assert store.nearest(at(0.58), 0.1).stamp_ns == at(0.5)
    unknown = points_of(SWEEPS_S)
    assert unknown.nearest(at(0.58), 0.1).stamp_ns == at(0.6)


def test_messages_far_apart_are_no_sweep_after_sweep():
    store = points_of([0, 1, 2, 3])
    with pytest.raises(OutOfTime, match='0.30 s'):
        store.nearest(at(3.3), 0.2)


def test_points_that_cannot_be_decoded_are_forgotten():
    store = points_of([1])
    store.add(cloud(at(2))[:60])
    with pytest.raises(BadFrameError) as raised:
        store.nearest(at(2), 0.1)
    assert raised.value.reason == 'undecodable_message'
    assert store.nearest(at(1), 0.1).stamp_ns == at(1)


def held(store):
    """Return the sizes of the messages in a store."""
    return [len(data) for _, data in store._entries]


def test_memory_is_bounded_by_bytes_and_by_count():
    store = ReadingStore(decode, 2)
    for i in range(50):
        store.add(cloud(at(i)))
    assert len(held(store)) == 20
    for i in range(50, 60):
        store.add(cloud(at(i), size=MIB // 2))
    assert len(held(store)) == 3 and sum(held(store)) <= 2 * MIB
    store.add(cloud(at(60), size=2 * MIB - 1000))
    assert len(held(store)) == 1 and store.nearest(at(60), 0.1).stamp_ns == at(60)
    with pytest.raises(BadFrameError, match=r'exceed limits.sensor_memory \(2 MiB\)') as raised:
        store.add(cloud(at(61), size=3 * MIB))
    assert raised.value.reason == 'points_too_large'
    assert store.nearest(at(60), 0.1).stamp_ns == at(60)


# Subscriptions


@pytest.fixture(scope='module', autouse=True)
def ros():
    """Initialise rclpy once for this file."""
    rclpy.init()
    yield
    rclpy.shutdown()


@pytest.fixture
def robot():
    """Return a node that publishes."""
    made = rclpy.create_node('robot')
    yield made
    made.destroy_node()


class Images:
    """Keeps what comes."""

    def __init__(self):
        self.kept = []
        self.add = self.kept.append


class Listener:
    """The inputs of one camera, as the node has them."""

    def __init__(self, node, config):
        self.node, self.refused, images = node, [], Images()
        self.images = images.kept
        transforms = TransformListener(node, [config.scale], self.refused.append)
        sensors = self.sensors = Sensors(config)
        self.surroundings = Surroundings(
            config, Transforms(config.scale, transforms.buffer), node.resolve_topic_name, sensors
        )
        kind = self.surroundings.image_kind
        wanted = {
            'image': Input(kind, images, 1, config.image_transport), **self.surroundings.inputs
        }
        self._inputs = Inputs(node, wanted, self.refused.append)
        self.matched, self.close = self._inputs.matched, self._inputs.close


@pytest.fixture
def listen():
    """Return what makes Inputs of a node of their own."""

    def make(config=None, **parameters):
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        node = rclpy.create_node('listener', parameter_overrides=overrides)
        make.nodes.append(node)
        return Listener(node, config or Config())

    make.nodes = []
    yield make
    for node in make.nodes:
        node.destroy_node()


def spin_until(inputs, condition, again=lambda: None):
    """Let messages come until a condition holds; do something again and again meanwhile."""
    for _ in range(300):
        again()
        rclpy.spin_once(inputs.node, timeout_sec=0.1)
        if condition():
            return
    raise AssertionError('nothing came within the time')


LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def test_what_is_matched_is_told_by_name(listen, robot):
    inputs = listen()
    silent = dict.fromkeys(
        ['image', 'camera_info', 'points', 'scan', 'sensor_depth/image']
        + ['sensor_depth/camera_info', 'right/image', 'right/camera_info', 'range'],
        0,
    )
    assert inputs.matched() == silent
    for kind, topic, qos in (
        (Image, 'image', 1),
        (CameraInfo, 'camera_info', LATCHED),
        (CameraInfo, 'camera_info', 1),
        (PointCloud2, 'points', QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)),
    ):
        robot.create_publisher(kind, topic, qos)
    expected = {**silent, 'image': 1, 'camera_info': 2, 'points': 1}
    spin_until(inputs, lambda: inputs.matched() == expected)
    assert set(listen(with_values(Config(), {'scale.method': 'none'})).matched()) == {
        'image', 'camera_info'
    }


def known_focal_px(inputs, stamp_ns):
    """Return the focal length for an image, 0 where none is known."""
    try:
        return focal_px(inputs.surroundings.cameras, stamp_ns)
    except BadFrameError:
        return 0.0


def test_latched_camera_info_from_before_the_node(listen, robot):
    robot.create_publisher(CameraInfo, 'camera_info', LATCHED).publish(camera_info(0, 700.0))
    inputs = listen()
    spin_until(inputs, lambda: known_focal_px(inputs, at(1)) == 700)


def test_latched_camera_info_of_the_second_camera(listen, robot):
    info = camera_info(0, 700.0)
    info.p = [700.0, 0.0, 320.0, -84.0, 0.0, 700.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    robot.create_publisher(CameraInfo, 'right/camera_info', LATCHED).publish(info)
    robot.create_publisher(CameraInfo, 'camera_info', LATCHED).publish(camera_info(0, 700.0))
    inputs = listen()

    def baseline_m():
        try:
            return -inputs.surroundings.second._camera_of(PICTURE, at(1)).T_stereo_optical[0, 3]
        except BadFrameError:
            return 0.0

    spin_until(inputs, lambda: baseline_m() == pytest.approx(-0.12))
    spin_until(inputs, lambda: known_focal_px(inputs, at(1)) == 700)


def test_volatile_camera_info(listen, robot):
    warnings = []
    publisher = robot.create_publisher(
        CameraInfo,
        'camera_info',
        1,
        event_callbacks=PublisherEventCallbacks(incompatible_qos=warnings.append),
    )
    inputs = listen()
    looks = []
    look = inputs._inputs._look.callback
    inputs._inputs._look.callback = lambda: looks.append(look())
    spin_until(
        inputs,
        lambda: known_focal_px(inputs, at(1)) == 600,
        lambda: publisher.publish(camera_info(at(1), 600.0)),
    )
    # It has been looked for a latched one, and the camera's driver has heard nothing of that.
    looks.clear()
    spin_until(inputs, lambda: len(looks) > 1)
    rclpy.spin_once(robot, timeout_sec=0.0)
    assert warnings == []


def test_durability_can_be_overridden(listen, robot):
    robot.create_publisher(LaserScan, 'scan', LATCHED).publish(
        stamped(LaserScan(range_max=9.0, ranges=[5.0]), at(1))
    )
    overrides = {
        'qos_overrides./scan.subscription.durability': 'transient_local',
        'qos_overrides./scan.subscription.reliability': 'reliable',
    }
    inputs = listen(**overrides)
    spin_until(inputs, lambda: inputs.sensors.nearest_points(at(1), 0.1) is not None)


@pytest.mark.parametrize(
    'policy, value', [('durability', 'forever'), ('reliability', 'always'), ('depth', 'many')]
)
def test_wrong_overrides_are_one_line(listen, policy, value):
    with pytest.raises(ConfigError, match='points .* its qos_overrides say') as raised:
        listen(**{f'qos_overrides./points.subscription.{policy}': value})
    assert '\n' not in str(raised.value)
    assert list(listen.nodes[-1].subscriptions) == []


def test_points_first_and_scan_where_they_are_too_far(listen, robot):
    clouds = robot.create_publisher(PointCloud2, 'points', 10)
    scans = robot.create_publisher(LaserScan, 'scan', 10)
    inputs = listen()
    around = inputs.sensors
    assert around.nearest_points(at(1), 0.1) is None

    def publish():
        clouds.publish(cloud(at(1)))
        for stamp_s in (1, 2):
            scans.publish(stamped(LaserScan(range_max=9.0, ranges=[5.0]), at(stamp_s)))

    spin_until(inputs, lambda: all(len(store._entries) > 2 for store in around._points), publish)
    assert len(around.nearest_points(at(1.01), 0.1)) == 2
    assert len(around.nearest_points(at(2.01), 0.1)) == 1
    with pytest.raises(OutOfTime, match=r'\(lidar\) are 9.00 s older'):
        around.nearest_points(at(10), 0.1)


def test_points_out_of_time_keep_no_image_alive(listen):
    inputs = listen()
    for store, message in zip(
        inputs.sensors._points, (PointCloud2(), LaserScan(range_max=9.0, angle_increment=0.1))
    ):
        message.header.frame_id = 'lidar'
        if isinstance(message, PointCloud2):
            numbers, fields = encode_points(SensorPoints(np.ones((3, 3), np.float32), 0, 'lidar'))
            message = PointCloud2(fields=[PointField(**field) for field in fields], **numbers)
        store.add(serialize_message(stamped(message, at(9))))
    images = []

    def frame():
        image = np.zeros(3)
        images.append(weakref.ref(image))
        with pytest.raises(OutOfTime):
            inputs.sensors.nearest_points(at(1), 0.1)

    gc.collect()
    gc.disable()  # what only it would free waits for long, and images are large
    try:
        frame()
        assert images[0]() is None
    finally:
        gc.enable()


def test_bytes_that_are_no_message_change_nothing(listen, robot):
    kinds = {'camera_info': CameraInfo, 'points': PointCloud2, 'scan': LaserScan}
    publishers = [robot.create_publisher(kind, topic, 10) for topic, kind in kinds.items()]
    inputs = listen()

    def publish():
        for publisher in publishers:
            for data in (b'', b'\x00\x01\x00', b'\x00\x01\x00\x00\x07', bytes(range(1, 90))):
                publisher.publish(data)

    spin_until(inputs, lambda: len(inputs.refused) >= 9, publish)
    publishers[0].publish(camera_info(at(1), 600.0))
    spin_until(
        inputs,
        lambda: known_focal_px(inputs, at(1)) == 600,
        lambda: publishers[0].publish(camera_info(at(1), 600.0)),
    )


def test_close_leaves_nothing_behind(listen):
    inputs = listen()
    before = threading.active_count()
    listening = {name for name, _ in inputs.node.get_topic_names_and_types()}
    assert {'/image', '/camera_info', '/points', '/scan', '/right/image'} <= listening
    inputs.close()
    inputs.close()
    assert [s.topic_name for s in inputs.node.subscriptions] == []
    assert inputs.matched() == {} and threading.active_count() == before
