# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How old is depth when it arrives? From an image's stamp to depth and cloud, over real DDS.

    python benchmarks/node_latency.py [--rates 5 10 20 0] [--sizes 640x480 1280x720] [--json]
    python benchmarks/node_latency.py --soak 10     # minutes flat out: memory and age

Camera, node and listener are processes of their own. The camera publishes a street of the
synthetic world with its lidar points at each rate, 0 being flat out, without a pause; the node
runs its full path (fit, refinement, depth, cloud). Beside each rate stands a bare rclpy publisher
of the same two messages at the rate the node reached, and at the end the node's own publishing
code alone, in turns with the bare one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
import json
from multiprocessing import get_context
import os
from pathlib import Path
import subprocess
import sys
import time
from typing import Any

from builtin_interfaces.msg import Time
import cv2
import numpy as np
from numpy.typing import NDArray
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header
from world_frames import world_frame

from depth_anything_ros.evaluation.frames import Frame
from depth_anything_ros.metric_depth.scale import unanchored
from depth_anything_ros.pipeline import DepthFrame
from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.ros.domain import reserve_domain
from depth_anything_ros.ros.messages import (
    encode_cloud,
    encode_image,
    ns_to_stamp,
    serialized_stamp_ns,
)
from depth_anything_ros.ros.outputs import OutputPublishers
from depth_anything_ros.ros.sensor_publisher import SensorPublisher

SEED, FRAME_ID = 910_000, 'camera'
QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
TOPICS: dict[str, Any] = {'depth/image': Image, 'depth/points': PointCloud2}
WARM_UP_S, LAST_S, MEETING_S = 2.0, 1.0, 60.0
SHARED_MEMORY = Path(__file__).resolve().parents[1] / 'config' / 'fastdds_shm.xml'
PROCESSES = get_context('spawn')

Samples = dict[str, list[tuple[int, int]]]  # topic -> (stamp, arrival) in nanoseconds


def street(width: int, height: int) -> Frame:
    """Return a frame of the world at this size with a lidar of 16 rings."""
    frame = world_frame(SEED, 'street').frame
    assert frame.points is not None and frame.points.ring is not None
    few = (frame.points.ring % 4 == 0) & (np.arange(len(frame.points.ring)) % 4 == 0)
    points = replace(frame.points, xyz_m=frame.points.xyz_m[few], ring=frame.points.ring[few])
    image = cv2.resize(frame.image_rgb, (width, height), interpolation=cv2.INTER_AREA)
    return replace(frame, image_rgb=np.ascontiguousarray(image), points=points,
                   camera=frame.camera.scaled(width, height))


# Processes --------------------------------------------------------------------------------------


def _pace(rate_hz: float, stop: Any) -> Iterator[int]:
    """Yield the time at a steady rate, or at once again for a rate of 0."""
    start, count = time.monotonic(), 0
    while not stop.is_set():
        yield time.time_ns()
        count += 1
        if rate_hz:
            time.sleep(max(0.0, start + count / rate_hz - time.monotonic()))


def camera_process(frame: Frame, rate_hz: float, stop: Any, sent: Any) -> None:
    """Publish the frame's image, calibration and points."""
    rclpy.init()
    publisher = SensorPublisher(rclpy.create_node('camera'), FRAME_ID)
    assert frame.points is not None
    for stamp_ns in _pace(rate_hz, stop):
        publisher.publish_points(replace(frame.points, stamp_ns=stamp_ns))
        publisher.publish_image(frame.image_rgb, frame.camera, stamp_ns)
        sent.value += 1
    rclpy.shutdown()


def bare_process(frame: Frame, rate_hz: float, stop: Any, sent: Any) -> None:
    """Publish depth and cloud of the frame's size as a first rclpy program would."""
    rclpy.init()
    node = rclpy.create_node('bare')
    publishers = {topic: node.create_publisher(kind, topic, QOS) for topic, kind in TOPICS.items()}
    depth_m, cloud = _outputs(frame)
    names = ('x', 'y', 'z', 'rgb')
    fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
              for i, name in enumerate(names)]
    for stamp_ns in _pace(rate_hz, stop):
        header = Header(stamp=Time(**ns_to_stamp(stamp_ns)), frame_id=FRAME_ID)
        publishers['depth/image'].publish(Image(header=header, **encode_image(depth_m, '32FC1')))
        publishers['depth/points'].publish(
            PointCloud2(header=header, fields=fields, **encode_cloud(cloud, names)))
        sent.value += 1
    rclpy.shutdown()


def outputs_process(frame: Frame, rate_hz: float, stop: Any, sent: Any) -> None:
    """Publish the same with the node's own code."""
    rclpy.init()
    node = LifecycleNode('outputs')
    outputs = OutputPublishers(node)
    node.trigger_configure()
    node.trigger_activate()
    depth_m, cloud = _outputs(frame)
    for stamp_ns in _pace(rate_hz, stop):
        header = Header(stamp=Time(**ns_to_stamp(stamp_ns)), frame_id=FRAME_ID)
        fit = unanchored('inverse_depth', stamp_ns, 'transport alone is measured')
        outputs.publish(DepthFrame(frame.camera, frame.camera, fit, depth=depth_m, points=cloud,
                                   point_fields=('x', 'y', 'z', 'rgb')), header)
        sent.value += 1
    rclpy.shutdown()


def _outputs(frame: Frame) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    height, width = frame.image_rgb.shape[:2]
    return (rng.random((height, width), dtype=np.float32),
            rng.random((height, width, 4), dtype=np.float32))


@contextmanager
def running(target: Callable[..., None], frame: Frame, rate_hz: float) -> Iterator[Any]:
    """Run a publisher until the block ends; gives the counter of what it has sent."""
    stop, sent = PROCESSES.Event(), PROCESSES.Value('i', 0)
    process = PROCESSES.Process(target=target, args=(frame, rate_hz, stop, sent))
    process.start()
    try:
        yield sent
    finally:
        stop.set()
        process.join()


@contextmanager
def depth_node(options: argparse.Namespace, frame: Frame, node: Node
               ) -> Iterator[subprocess.Popen[bytes]]:
    """Run the node under test; begins when it can be seen, the rest is Listener.warm_up()."""
    pose = ', '.join(f'{x:.9f}' for x in matrix_to_pose(frame.T_camera_sensor))
    command = [sys.executable, '-m', 'depth_anything_ros.ros.depth_node', '--ros-args',
               '-p', f'model.checkpoint:={options.checkpoint}',
               '-p', f'runtime.device:={options.device}',
               '-p', f'scale.T_camera_sensor:=[{pose}]']
    process = subprocess.Popen(command)
    try:
        while node.count_subscribers('points') == 0:
            if process.poll() is not None:
                raise SystemExit('the node did not start: see its last line above')
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait()


class Listener:
    """Notes when depth and cloud arrive; serialised, so that it costs itself little."""

    def __init__(self, node: Node) -> None:
        """Subscribe."""
        self.samples: Samples = {topic: [] for topic in TOPICS}
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        for topic, kind in TOPICS.items():
            node.create_subscription(kind, topic, self._receiver(topic), QOS, raw=True)

    def _receiver(self, topic: str) -> Callable[[bytes], None]:
        def receive(data: bytes) -> None:
            self.samples[topic].append((serialized_stamp_ns(data), time.time_ns()))
        return receive

    def listen(self, seconds: float) -> None:
        """Receive for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)

    def warm_up(self, sent: Any) -> None:
        """Receive until depth and cloud come of what is sent, and a little longer.

        Raises:
            SystemExit: nothing comes.
        """
        begin_ns, end = time.time_ns(), time.monotonic() + MEETING_S
        while not all(s and s[-1][0] > begin_ns for s in self.samples.values()):
            if time.monotonic() > end:
                raise SystemExit(f'{sent.value} frames were sent and no depth or cloud came')
            self.listen(0.1)
        self.listen(WARM_UP_S)

    def window(self, seconds: float, sent: Any) -> tuple[int, Samples]:
        """Receive what is stamped in the next seconds; returns how much was sent, and came."""
        self.warm_up(sent)
        begin_ns, before = time.time_ns(), sent.value
        self.listen(seconds)
        end_ns, count = time.time_ns(), sent.value - before
        self.listen(LAST_S)
        came = {topic: [s for s in samples if begin_ns <= s[0] < end_ns]
                for topic, samples in self.samples.items()}
        self.samples.update({topic: [] for topic in TOPICS})
        return count, came


# Measurements -----------------------------------------------------------------------------------


def latencies(samples: list[tuple[int, int]]) -> dict[str, float]:
    """Return count, p50, p99 and maximum of arrival minus stamp in milliseconds."""
    if not samples:
        return {'count': 0}
    ms = np.array([(arrival - stamp) / 1e6 for stamp, arrival in samples])
    return {'count': len(ms), 'p50': round(float(np.median(ms)), 2),
            'p99': round(float(np.percentile(ms, 99)), 2), 'max': round(float(ms.max()), 2)}


def print_row(name: str, sent: int, seconds: float, row: dict[str, dict[str, float]]) -> None:
    """Print one line of the table."""
    cells = []
    for topic in TOPICS:
        found = row[topic]
        cells.append('{p50:8.1f} {p99:8.1f} {max:8.1f}'.format(**found) if found['count']
                     else ' nothing came            ')
    came = row['depth/image']['count']
    print(f'{name:<34}{sent / seconds:7.1f}{came / seconds:7.1f}{sent - came:7d} |'
          + ' |'.join(cells), flush=True)


def measure_size(size: str, options: argparse.Namespace, node: Node, listener: Listener
                 ) -> dict[str, Any]:
    """Measure all rates at one image size."""
    width, height = map(int, size.split('x'))
    frame = street(width, height)
    report: dict[str, Any] = {'size': size, 'rates': []}

    def one(name: str, target: Callable[..., None], rate_hz: float) -> dict[str, Any]:
        with running(target, frame, rate_hz) as counter:
            sent, came = listener.window(options.seconds, counter)
        row = {topic: latencies(samples) for topic, samples in came.items()}
        print_row(name, sent, options.seconds, row)
        return {'sent': sent, **row}

    print(f'\n{size:<34}{"in/s":>7}{"out/s":>7}{"drops":>7} | depth: p50, p99, max ms      '
          '| cloud: p50, p99, max ms')
    for rate_hz in options.rates:
        told = f'{rate_hz:g} Hz' if rate_hz else 'flat out'
        with depth_node(options, frame, node):
            ours = one(f'{told}, node', camera_process, rate_hz)
        reached_hz = max(1.0, ours['depth/image']['count'] / options.seconds)
        bare = one(f'{told}, bare rclpy', bare_process, reached_hz)
        report['rates'].append({'rate_hz': rate_hz, 'node': ours, 'bare': bare})
    turns: dict[str, list[float]] = {topic: [] for topic in TOPICS}
    for _ in range(options.turns):
        rows = [one(f'transport alone, {name}', target, 5.0) for name, target in
                (('bare rclpy', bare_process), ('node\'s code', outputs_process))]
        for topic in TOPICS:
            turns[topic].append(rows[1][topic]['p50'] / rows[0][topic]['p50'])
    if options.turns:
        report['transport_ratio'] = {t: round(float(np.median(r)), 3) for t, r in turns.items()}
        print('transport, node\'s code over bare rclpy: ' + ', '.join(
            f'{topic} {ratio:.2f}' for topic, ratio in report['transport_ratio'].items()))
    return report


def resident_mib(process: subprocess.Popen[bytes]) -> float:
    """Return the memory that a process holds."""
    status = Path(f'/proc/{process.pid}/status').read_text()
    return int(status.partition('VmRSS:')[2].split()[0]) / 1024


def soak(minutes: float, options: argparse.Namespace, node: Node, listener: Listener
         ) -> dict[str, Any]:
    """Run flat out and tell memory and the age of the newest depth, block by block."""
    frame = street(640, 480)
    blocks = []
    block_s = 60.0 * minutes / 20
    print('minute  resident MiB  depth/s  age of newest depth: p50, max ms')
    with depth_node(options, frame, node) as process:
        with running(camera_process, frame, 0.0) as sent:
            listener.warm_up(sent)
            start = time.monotonic()
            for block in range(20):
                listener.samples.update({topic: [] for topic in TOPICS})
                ages_ms, newest_ns = [], time.time_ns()
                while time.monotonic() < start + (block + 1) * block_s:
                    listener.listen(0.1)
                    if depths := listener.samples['depth/image']:
                        newest_ns = depths[-1][0]
                    ages_ms.append((time.time_ns() - newest_ns) / 1e6)
                blocks.append({
                    'minute': round((block + 1) * block_s / 60, 2),
                    'resident_mib': round(resident_mib(process), 1),
                    'depth_hz': round(len(listener.samples['depth/image']) / block_s, 2),
                    'age_ms_p50': round(float(np.median(ages_ms)), 1),
                    'age_ms_max': round(float(np.max(ages_ms)), 1)})
                print('{minute:6.2f} {resident_mib:13.1f} {depth_hz:8.2f} {age_ms_p50:10.1f} '
                      '{age_ms_max:8.1f}'.format(**blocks[-1]), flush=True)
    halves = [blocks[5:10], blocks[-5:]]
    early, late = ({key: round(float(np.median([b[key] for b in half])), 1)
                    for key in ('resident_mib', 'age_ms_p50', 'age_ms_max')} for half in halves)
    print(f'second quarter: {early}\nlast quarter:   {late}')
    return {'blocks': blocks, 'second_quarter': early, 'last_quarter': late}


def main() -> None:
    """Measure, print tables, and with --json one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--checkpoint', default='bundled', help='as model.checkpoint')
    parser.add_argument('--device', default='auto', help='as runtime.device')
    parser.add_argument('--rates', type=float, nargs='*', default=[5.0, 10.0, 20.0, 0.0],
                        help='Hz; 0 is flat out')
    parser.add_argument('--sizes', nargs='+', default=['640x480', '1280x720'])
    parser.add_argument('--seconds', type=float, default=15.0, help='per row')
    parser.add_argument('--turns', type=int, default=3, help='of bare and own transport')
    parser.add_argument('--default-transport', action='store_true',
                        help="Fast DDS as it comes, without the project's shared-memory profile")
    parser.add_argument('--soak', type=float, metavar='MINUTES', help='flat out instead')
    parser.add_argument('--quick', action='store_true', help='one small size, 2 s a row: a test')
    parser.add_argument('--json', action='store_true', help='end with one JSON object')
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.rates, options.seconds, options.turns = ['160x120'], [5.0], 2.0, 0
    os.environ['ROS_DOMAIN_ID'] = str(reserve_domain())
    if not options.default_transport:
        for variable in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):
            os.environ[variable] = str(SHARED_MEMORY)
    rclpy.init()
    node = rclpy.create_node('listener')
    listener = Listener(node)
    report: dict[str, Any] = {'checkpoint': options.checkpoint, 'cores': os.cpu_count()}
    if options.soak:
        report['soak'] = soak(options.soak, options, node, listener)
    else:
        report['sizes'] = [measure_size(size, options, node, listener) for size in options.sizes]
    rclpy.shutdown()
    if options.json:
        print(json.dumps(report))


if __name__ == '__main__':
    main()
