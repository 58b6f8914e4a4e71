# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node on a moving scene, scored live: `make demo`.

The node and the robot (or the bag that takes its place) are processes of their own; this one
listens. DURATION, CHECKPOINT, BAG, SOURCE, TRAFFIC and VIEWER in the environment are defaults of
the options.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
import json
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from rich.live import Live
from rich.table import Table
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.evaluation.contact_sheet import draw_contact_sheet
from depth_anything_ros.evaluation.demo_score import DemoScore
from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.ros.bags import BagWriter, find_sensors
from depth_anything_ros.ros.domain import reserve_domain
from depth_anything_ros.ros.images import depth_plane
from depth_anything_ros.ros.meeting import NodeInputs
from depth_anything_ros.ros.messages import stamp_to_ns
from depth_anything_ros.ros.running import running_node, SignalEvent
from depth_anything_ros.ros.shared_memory import profile, PROFILE_VARIABLES
from depth_anything_ros.tools.play_bag import topic_types
from depth_anything_ros.tools.world_robot import (
    DEMO_SEED,
    ODOM_FRAME,
    sensors_of,
    static_transforms,
    TOPICS,
)
from depth_anything_ros.world.drive import T_CAMERA_LIDAR, WorldDrive

OUTPUTS: dict[str, Any] = {
    '/depth/image': Image,
    '/depth/camera_info': CameraInfo,
    '/depth/points': PointCloud2,
    '/depth/stddev': Image,
    '/depth/image_color': Image,
    '/depth/relative': Image,
    '/depth/image_rect': Image,
    '/depth/scale': DiagnosticStatus,
    '/diagnostics': DiagnosticArray,
}
FIRST_OUTPUT_S = 30.0  # from when the node listens
LAST_OUTPUT_S = 2.0  # after the last message of a bag
STOPPING_S = 10.0


@dataclass(frozen=True)
class Source:
    """What feeds the node.

    Attributes:
        name: for people.
        module: program that publishes, and its arguments.
        topics: topic -> message class of what it publishes.
        inputs: of the node that it feeds, by the names in the contract.
        node_arguments: ROS arguments by which the node finds it.
        transforms: parent frame, child frame and 4x4 pose of the one in the other, for the recorded
            /tf_static.
    """

    name: str
    module: list[str]
    topics: dict[str, Any]
    inputs: list[str]
    node_arguments: list[str]
    transforms: list[tuple[str, str, NDArray[np.float64]]]


def world_source(source: str, traffic: bool) -> Source:
    """Return the synthetic robot, whose depth is known.

    Args:
        source: of metres, as in scale.method.
        traffic: whether people and vehicles move.

    Raises:
        DepthAnythingError: the robot has no such sensor.
    """
    drive = WorldDrive(DEMO_SEED, 'street', sensors=sensors_of(source))
    topics: dict[str, Any] = {'/image': Image, '/camera_info': CameraInfo}
    inputs = ['image', 'camera_info']
    for sensor in drive.sensors:
        topics |= {f'/{topic}': kind for topic, kind in TOPICS[sensor].items()}
        inputs += [topic for topic in TOPICS[sensor] if topic != 'tf']
    arguments = ['-p', f'scale.method:={source}']
    if 'lidar' in drive.sensors:
        arguments += _pose_argument(T_CAMERA_LIDAR)
    if 'motion' in drive.sensors:
        arguments += ['-p', f'scale.fixed_frame:={ODOM_FRAME}']
    if 'camera_height' in drive.sensors:
        arguments += ['-p', f'scale.camera_height:={drive.camera_height_m:.6f}']
        arguments += ['-p', f'scale.camera_pitch:={drive.camera_pitch_rad:.6f}']
    return Source(
        f'synthetic street, {", ".join(drive.sensors).replace("_", " ")}',
        ['depth_anything_ros.tools.world_robot', '--source', source, *['--traffic'] * traffic],
        {**topics, '/truth/depth': Image},
        inputs,
        arguments,
        static_transforms(drive),
    )


def bag_source(path: str) -> Source:
    """Return the player of a ROS 2 bag.

    Raises:
        DatasetError: it is no bag, or lacks a colour image or its calibration.
    """
    sensors = find_sensors(path)
    remaps = {'image': sensors.image, 'camera_info': sensors.camera_info}
    if sensors.points:
        remaps['scan' if sensors.is_scan else 'points'] = sensors.points
    arguments = [part for name, topic in remaps.items() for part in ('-r', f'{name}:={topic}')]
    if sensors.compressed:
        arguments += ['-p', 'image_transport:=compressed']
    transforms = []
    if sensors.T_camera_sensor is not None:
        arguments += _pose_argument(sensors.T_camera_sensor)
        transforms = [(*sensors.frames, sensors.T_camera_sensor)]
    return Source(
        f'{path} ({", ".join(remaps.values())})',
        ['depth_anything_ros.tools.play_bag', path],
        topic_types(sensors),
        list(remaps),
        arguments,
        transforms,
    )


def _pose_argument(T_camera_sensor: NDArray[np.float64]) -> list[str]:
    pose = ', '.join(f'{x:.9f}' for x in matrix_to_pose(T_camera_sensor))
    return ['-p', f'scale.T_camera_sensor:=[{pose}]']


class Program:
    """A process of the demo with its log; out of reach of Ctrl-C, which is for the demo."""

    def __init__(self, module: list[str], log: Path) -> None:
        """Start a Python module with arguments; its standard input is a pipe."""
        self._log = log
        with log.open('w') as file:
            self._process = subprocess.Popen(
                [sys.executable, '-m', *module],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def returned(self) -> int | None:
        """Exit code, None while it runs."""
        return self._process.poll()

    def go(self, audience: int) -> None:
        """Let it begin when each of its sensors' publishers has matched so many subscriptions."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, which its exit code tells
            self._process.stdin.write(f'{audience}\n'.encode())
            self._process.stdin.flush()

    def last_words(self) -> str:
        """Return the last line of its log."""
        lines = self._log.read_text(errors='replace').strip().splitlines()
        if not lines:
            return f'without a word in {self._log}'
        return re.sub(r'^(\[[^]]*\] ?)+: ', '', lines[-1])  # level, time and node

    def stop(self) -> None:
        """End it, kindly first."""
        if self.returned is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOPPING_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@contextmanager
def started(module: list[str], log: Path) -> Iterator[Program]:
    """Run a program until the block ends."""
    program = Program(module, log)
    try:
        yield program
    finally:
        program.stop()


class Listener:
    """Subscribes to everything: into the bag, the score and the viewer."""

    def __init__(self, node: Node, source: Source, bag: BagWriter, viewer: Any) -> None:
        """Subscribe.

        Args:
            node: where the subscriptions live.
            source: its topics are recorded beside the node's outputs.
            bag: open for writing.
            viewer: anything with show(topic, message), or None.
        """
        self.score = DemoScore()
        self._bag, self._viewer = bag, viewer
        self._subscriptions: list[Subscription] = []
        if source.transforms:
            poses = [(one, other, matrix_to_pose(T)) for one, other, T in source.transforms]
            bag.write_static_transforms(time.time_ns(), poses)
        qos = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)
        for topic, kind in (OUTPUTS | source.topics).items():
            package = kind.__module__.partition('.')[0]
            bag.add_topic(topic, f'{package}/msg/{kind.__name__}')
            self._subscriptions.append(
                node.create_subscription(kind, topic, self._receiver(topic, kind), qos, raw=True)
            )

    @property
    def matched(self) -> bool:
        """Whether every topic that is recorded has a publisher."""
        return all(each.get_publisher_count() > 0 for each in self._subscriptions)

    def _receiver(self, topic: str, kind: Any) -> Any:
        decoded = topic in ('/depth/image', '/depth/scale', '/truth/depth') or self._viewer

        def receive(data: bytes, info: dict[str, int]) -> None:
            received_ns = info['received_timestamp']
            self._bag.write(topic, received_ns, data)
            if decoded:
                self._take(topic, deserialize_message(data, kind), received_ns)

        return receive

    def _take(self, topic: str, message: Any, received_ns: int) -> None:
        if topic == '/depth/image':
            stamp_ns = stamp_to_ns(message.header.stamp)
            self.score.add_depth(depth_plane(message), stamp_ns, received_ns)
        elif topic == '/truth/depth':
            self.score.add_truth(depth_plane(message), stamp_to_ns(message.header.stamp))
        elif topic == '/depth/scale':
            values = {pair.key: pair.value for pair in message.values}
            self.score.add_state(message.message, values['reason'])
        if self._viewer is not None:
            self._viewer.show(topic, message)


def table(score: DemoScore, title: str, caption: str) -> Table:
    """Draw the numbers so far, of the last frames and of the whole run."""
    drawn = Table(title=title, caption=caption, title_style='bold')
    drawn.add_column('')
    drawn.add_column('last frame', justify='right')
    drawn.add_column('whole run', justify='right')
    whole = score.summary()

    def row(name: str, last: float | None, overall: float | None, form: str) -> None:
        cells = [form.format(x) if x is not None else '-' for x in (last, overall)]
        drawn.add_row(name, *cells)

    newest = asdict(score.scores[-1]) if score.scores else {}
    latency_ms = score.latencies_ms[-1] if score.frames else None
    row('metric depth images', None, score.frames, '{}')
    row('rate', score.rate_hz(last=5), whole['rate_hz'], '{:.1f} Hz')
    row('latency, median', latency_ms, whole.get('latency_ms_p50'), '{:.0f} ms')
    row('AbsRel to truth', newest.get('abs_rel'), whole.get('abs_rel'), '{:.4f}')
    row('delta1', newest.get('delta1'), whole.get('delta1'), '{:.4f}')
    states = ', '.join(f'{count} {state}' for state, count in score.states.items())
    drawn.add_row('scale', score.state or '-', states or '-')
    if score.state == 'UNANCHORED':
        drawn.caption = f'{score.reason}\n{caption}'.strip()
    return drawn


def remaining(left_s: float) -> str:
    """Return what stands under the table while the demo runs."""
    domain = f'ROS_DOMAIN_ID={os.environ["ROS_DOMAIN_ID"]}'
    return f'{max(0.0, left_s):.0f} s to go, Ctrl-C ends it; {domain}'


def meet(
    executor: SingleThreadedExecutor,
    inputs: NodeInputs,
    listener: Listener,
    source: Source,
    programs: dict[str, Program],
    stop: SignalEvent,
) -> str:
    """Wait until node, source and recorder have met, then let the source begin.

    A bag plays once, and what comes before somebody listens is lost: the node must have matched
    the source, as it says itself, and so must the recorder; the source waits for both in turn.

    Returns:
        What went wrong, empty for nothing.
    """
    while not (inputs.matched(source.inputs) and listener.matched or stop.is_set()):
        executor.spin_once(timeout_sec=0.1)
        for name, program in programs.items():
            if program.returned is not None:
                return f'the {name} ended: {program.last_words()}'
    programs['source'].go(audience=2)
    return ''


def listen(
    executor: SingleThreadedExecutor,
    listener: Listener,
    programs: dict[str, Program],
    duration_s: float,
    stop: SignalEvent,
    live: Live,
    title: str,
) -> str:
    """Receive until the time is up; return what went wrong, empty for nothing."""
    score = listener.score
    end_s, first = time.monotonic() + FIRST_OUTPUT_S, True
    while not stop.is_set() and time.monotonic() < end_s:
        executor.spin_once(timeout_sec=0.1)
        if first and score.states:
            first, end_s = False, time.monotonic() + duration_s
        live.update(table(score, title, remaining(end_s - time.monotonic())))
        for name, program in programs.items():
            if program.returned not in (None, 0):
                return f'the {name} ended: {program.last_words()}'
        # A short bag may end before the node has answered its first image.
        if programs['source'].returned == 0 and score.states:
            end_s = min(end_s, time.monotonic() + LAST_OUTPUT_S)
    end_s = time.monotonic() + LAST_OUTPUT_S
    # The node tells the state last: with it the outputs of the last image are complete.
    while score.states.total() < score.frames and time.monotonic() < end_s:
        executor.spin_once(timeout_sec=0.1)
    return ''


def run(options: argparse.Namespace) -> int:
    """Run the demo and write its results.

    Returns:
        0, or 1 after one line that says why no metric depth came out.

    Raises:
        DepthAnythingError: the bag or the viewer is not to be had.
    """
    if options.bag and options.source:
        raise DepthAnythingError('SOURCE is of the world: a bag has the sensors that it has')
    source = (
        bag_source(options.bag)
        if options.bag
        else world_source(options.source or 'lidar', options.traffic)
    )
    viewer = _viewer(options.viewer)
    output = Path(options.output)
    summary_path, sheet_path = output / 'summary.json', output / 'contact_sheet.png'
    bag_path = output / ('replay' if options.bag else 'bag')  # so that BAG=demo_output/bag plays
    if options.bag and bag_path.resolve() in (p := Path(options.bag).resolve(), *p.parents):
        raise DepthAnythingError(f'{bag_path} is written anew by this run: play a copy of it')
    output.mkdir(parents=True, exist_ok=True)
    for path in (summary_path, sheet_path):
        path.unlink(missing_ok=True)
    shutil.rmtree(bag_path, ignore_errors=True)
    parameters = {'model.checkpoint': options.checkpoint, 'cloud.stride': 2}
    arguments = [part for item in parameters.items() for part in ('-p', '{}:={}'.format(*item))]
    depth_node = [
        'depth_anything_ros.ros.depth_node', '--ros-args', *arguments, *source.node_arguments
    ]
    title = f'{options.checkpoint} on {source.name}'
    with (
        running_node('demo', []) as (node, stop),
        started(depth_node, output / 'node.log') as depth_program,
        BagWriter(bag_path) as bag,
        Live(table(DemoScore(), title, 'starting'), refresh_per_second=4) as live,
    ):
        listener, inputs = Listener(node, source, bag, viewer), NodeInputs(node)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        with started([*source.module, '--wait'], output / 'source.log') as source_program:
            programs = {'node': depth_program, 'source': source_program}
            trouble = meet(executor, inputs, listener, source, programs, stop) or listen(
                executor, listener, programs, options.duration, stop, live, title
            )
        live.update(table(listener.score, title, ''))
    if not live.console.is_terminal:
        live.console.line()  # which Live leaves out
    score = listener.score
    summary_path.write_text(json.dumps(score.summary(), indent=2) + '\n')
    if not score.frames:
        trouble = trouble or score.reason or depth_program.last_words()
        print(f'demo: no metric depth came out: {trouble}', file=sys.stderr)
        return 1
    draw_contact_sheet(bag_path, sheet_path)
    print(summary_path, sheet_path, bag_path, sep='\n')
    if trouble:
        print(f'demo: ended early: {trouble}', file=sys.stderr)
    return 0


def _viewer(name: str) -> Any:
    if not name:
        return None
    if name != 'rerun':
        raise DepthAnythingError(f'VIEWER={name} is not known: use VIEWER=rerun, or none')
    from depth_anything_ros.ros.rerun_viewer import RerunViewer

    return RerunViewer()


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float('inf'):
        raise ValueError
    return value


_positive.__name__ = 'positive number of seconds'  # argparse tells it


def main(args: list[str] | None = None) -> int:
    """Run the demo."""
    given = os.environ.get
    parser = argparse.ArgumentParser(prog='demo', description=__doc__)
    parser.add_argument('--duration', type=_positive, default=given('DURATION') or '20',
                        help='seconds from the first output')
    parser.add_argument('--checkpoint', default=given('CHECKPOINT') or 'bundled',
                        help='hub id, folder or .pth file')
    parser.add_argument('--bag', default=given('BAG'), help='ROS 2 bag in place of the world')
    parser.add_argument('--source', default=given('SOURCE'),
                        help='of metres in the world, as in scale.method; lidar')
    parser.add_argument('--traffic', action='store_true', default=bool(given('TRAFFIC')),
                        help='people and vehicles move in the world')
    parser.add_argument('--viewer', default=given('VIEWER'), help='rerun')
    parser.add_argument('--output', default='demo_output', help='folder for the results')
    options = parser.parse_args(args)
    try:
        # A domain of its own: no robot's topics get in, and none of these get out.
        os.environ['ROS_DOMAIN_ID'] = str(reserve_domain())
        for variable in PROFILE_VARIABLES:
            os.environ[variable] = str(profile())
        return run(options)
    except DepthAnythingError as error:
        print(f'demo: {error}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())
