# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node as a process under attack, and the one question that counts: does it still see?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image, PointCloud2

from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.ros.domain import reserve_domain
from depth_anything_ros.ros.meeting import all_matched, NodeInputs
from helpers import edges, scene_depth_image, SCENE_T_CAMERA_LIDAR
from mutations import good, KINDS, Message, RIG, Rig, stamp_ns_of

TEST = Path(__file__).resolve().parents[1]
SHARED_MEMORY = TEST.parent / 'config' / 'fastdds_shm.xml'
QOS = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)
UNSEEN: dict[str, Any] = {
    'depth/points': PointCloud2,
    'depth/stddev': Image,
    'depth/relative': Image,
    'depth/image_color': Image,
    'depth/image_rect': Image,
}
REPEAT_S = 0.5  # a best-effort image may be lost, or overtaken
LATER_NS = 1_000_000_000
EXACT = [str(TEST / 'programs' / 'fake_network_node.py'), 'exact']


class NodeFailure(Exception):
    """The node did not do what it must.

    Attributes:
        kind: death (it ended), hang (nothing came), or wrong (what came is not right).
    """

    def __init__(self, kind: str, text: str) -> None:
        """Take both."""
        super().__init__(text)
        self.kind = kind


def private_domain() -> None:
    """Give this process and its children a ROS domain of their own, with shared memory."""
    os.environ['ROS_DOMAIN_ID'] = str(reserve_domain())
    for variable in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):
        os.environ[variable] = str(SHARED_MEMORY)


class Memory:
    """What a process holds: when it has settled, last and most, in MiB."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.settled_mib = self.last_mib = self.most_mib = 0.0

    def note(self, now_mib: float, settled: bool) -> None:
        """Take a reading; the first one that is settled is what the last is compared with."""
        self.last_mib, self.most_mib = now_mib, max(self.most_mib, now_mib)
        if settled and not self.settled_mib:
            self.settled_mib = now_mib

    @property
    def grown_mib(self) -> float:
        """Growth since it settled."""
        return self.last_mib - self.settled_mib if self.settled_mib else 0.0

    def report(self) -> dict[str, float]:
        """Return all of it, rounded."""
        names = ('settled_mib', 'last_mib', 'most_mib', 'grown_mib')
        return {name: round(getattr(self, name), 1) for name in names}


class Target:
    """The node under attack.

    Attributes:
        process: of the node, None before start().
        node: a plain node that publishes to it and listens to it.
        kinds: of messages that it publishes, the inputs of the node.
        parameters: with which it is started.
        state: newest state by stamp in nanoseconds, of depth/scale: (state, reason).
        depth: newest depth image, serialised, by stamp.
        counts: dropped_... and the rest, as the node last said.
        repeats: how often a good frame had to be sent again.
    """

    def __init__(
        self,
        log: Path,
        image: str = 'image',
        command: list[str] = EXACT,
        exact: bool = True,
        patience_s: float = 30.0,
        **parameters: Any,
    ) -> None:
        """Prepare; start() starts it.

        Args:
            log: file for the node's output.
            image: 'image' or 'compressed'.
            command: Python program and arguments before --ros-args.
            exact: whether the depth of the good frame is to be right to 1 percent.
            patience_s: for a good frame; four times as long for a start.
            parameters: of the node, dots as double underscores.
        """
        pose = ', '.join(f'{x:.9f}' for x in matrix_to_pose(SCENE_T_CAMERA_LIDAR))
        self.parameters = values = {
            'image_transport': 'raw' if image == 'image' else 'compressed',
            'model.input_size': RIG.height,
            'scale.T_camera_sensor': f'[{pose}]',
            'scale.max_hold': 0.0,
            'scale.max_time_offset': 0.02,  # less than from one message to the next
            **{name.replace('__', '.'): value for name, value in parameters.items()},
        }
        self._command = [sys.executable, *command, '--ros-args']
        for name, value in values.items():
            self._command += ['-p', f'{name}:={value}']
        self._log, self.image, self._exact, self._patience_s = log, image, exact, patience_s
        self.process: subprocess.Popen[bytes] | None = None
        self.node = rclpy.create_node('attacker')
        self.state: dict[int, tuple[str, str]] = {}
        self.depth: dict[int, bytes] = {}
        self.counts: dict[str, str] = {}
        self.received = self.repeats = 0
        self.kinds = (image, 'camera_info', 'points', 'scan')
        self._publishers = {
            kind: self.node.create_publisher(KINDS[kind], self.topic(kind), QOS)
            for kind in self.kinds
        }
        self._inputs = NodeInputs(self.node)
        # What somebody subscribes to is computed; these are never taken, which costs nothing.
        self._idle = rclpy.create_node('audience')
        self._outputs = [
            self._idle.create_subscription(kind, topic, len, 1, raw=True)
            for topic, kind in UNSEEN.items()
        ]
        listen = self.node.create_subscription
        self._outputs.append(listen(Image, 'depth/image', self._take_depth, QOS, raw=True))
        self._outputs.append(listen(DiagnosticStatus, 'depth/scale', self._take_state, QOS))
        listen(DiagnosticArray, '/diagnostics', self._take_counts, QOS)
        self.executor = rclpy.executors.SingleThreadedExecutor()
        self.executor.add_node(self.node)

    @staticmethod
    def topic(kind: str) -> str:
        """Return the topic of a kind of message."""
        return 'image/compressed' if kind == 'compressed' else kind

    def _take_depth(self, data: bytes) -> None:
        self.depth[stamp_ns_of(data)] = data

    def _take_state(self, message: DiagnosticStatus) -> None:
        values = {pair.key: pair.value for pair in message.values}
        sec, _, nanosec = values['stamp'].partition('.')
        self.state[int(sec) * 10**9 + int(nanosec)] = (values['state'], values['reason'])

    def _take_counts(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith('pipeline'):
                self.counts = {pair.key: pair.value for pair in status.values}
                self.received += int(self.counts['received_since_last_report'])

    # The process ---------------------------------------------------------------------------------

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process and wait for nothing."""
        with self._log.open('ab') as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._inputs.forget()
        return self.process

    def meet(self) -> None:
        """Wait until node and attacker have matched in both directions.

        Raises:
            NodeFailure: it ended, or did not come up.
        """
        inputs = ['image', *(kind for kind in self._publishers if kind != self.image)]
        self.wait(
            lambda: self._inputs.matched(inputs)
            and all_matched(self._publishers.values())
            and all(each.get_publisher_count() for each in self._outputs),
            4 * self._patience_s, 'the node did not come up',
        )

    def start(self) -> None:
        """Start it and meet it."""
        self.launch()
        self.meet()

    def stop(self) -> None:
        """End the process, kindly first."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.kill()

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End the process at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def where_it_hangs(self) -> None:
        """Have the test program write what its threads are doing into its log."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR1)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(2)

    def resident_mib(self) -> float:
        """Return the memory that the process holds."""
        assert self.process is not None
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        return int(status.partition('VmRSS:')[2].split()[0]) / 1024

    def last_words(self) -> str:
        """Return the last line of its log that is not empty."""
        lines = self._log.read_text(errors='replace').split('\n')
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), 'no word')

    # Talking to it -------------------------------------------------------------------------------

    def check_alive(self) -> None:
        """Raise NodeFailure if the process has ended."""
        assert self.process is not None
        if (code := self.process.poll()) is not None:
            raise NodeFailure('death', f'exit code {code}: {self.last_words()}')

    def wait(self, condition: Callable[[], Any], seconds: float, otherwise: str) -> None:
        """Spin until something holds.

        Raises:
            NodeFailure: the process ended, or the time did.
        """
        end = time.monotonic() + seconds
        while not condition():
            self.check_alive()
            if time.monotonic() > end:
                raise NodeFailure('hang', otherwise)
            self.executor.spin_once(timeout_sec=0.02)

    def spin_until(self, condition: Callable[[], Any], seconds: float) -> bool:
        """Spin until something holds or the time is up; return whether it holds."""
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.002)
        return bool(condition())

    def send(self, message: Message) -> None:
        """Publish one serialised message."""
        self._publishers[message.kind].publish(message.data)

    def good_frame(self, stamp_ns: int, rig: Rig = RIG) -> None:
        """Send a good frame until its own depth has come, and check it.

        Well-formed lies about the scene teach the scale filter, which then holds the good frame
        for the lie. What it has learned is dropped where time runs backwards, as at the start of
        a bag that loops: each further attempt comes after a frame with a later stamp.

        Raises:
            NodeFailure: the node ended, said nothing of this frame, or something wrong.
        """
        self.depth.clear()
        self.state.clear()
        end, trouble, kind = time.monotonic() + self._patience_s, 'no answer', 'hang'
        for attempt in range(sys.maxsize):
            wait_s = REPEAT_S * 2 ** min(attempt, 4)  # a busy machine may need longer for it
            if attempt:
                self.repeats += 1
                self.answered(stamp_ns + LATER_NS, rig, wait_s)
            self.answered(stamp_ns, rig, wait_s)
            if stamp_ns in self.state:
                trouble, kind = self._trouble(stamp_ns, rig), 'wrong'
                if not trouble:
                    return
            if time.monotonic() > end:
                raise NodeFailure(kind, f'good frame at {stamp_ns / 1e9:.3f} s: {trouble}')

    def answered(self, stamp_ns: int, rig: Rig = RIG, wait_s: float = REPEAT_S) -> bool:
        """Send a good frame, and return whether something was said of it before long."""
        self.state.pop(stamp_ns, None)
        for kind in ('points', 'camera_info', self.image):  # as drivers send them
            self.send(good(kind, stamp_ns, rig))
        end = time.monotonic() + wait_s
        while time.monotonic() < end and stamp_ns not in self.state:
            self.check_alive()
            self.executor.spin_once(timeout_sec=0.02)
        return stamp_ns in self.state

    def _trouble(self, stamp_ns: int, rig: Rig) -> str:
        state, reason = self.state[stamp_ns]
        if state not in (('FITTED',) if self._exact else ('FITTED', 'METRIC')):
            return f'{state}: {reason}'
        if stamp_ns not in self.depth:
            return f'{state}, but no depth image'
        message = deserialize_message(self.depth[stamp_ns], Image)
        size = (rig.height, rig.width)
        if (message.height, message.width, message.encoding) != (*size, '32FC1'):
            return f'depth of {message.width}x{message.height} {message.encoding}'
        depth_m = np.frombuffer(message.data, '<f4').reshape(size)
        if not self._exact:
            return '' if np.isfinite(depth_m).mean() > 0.5 else 'depth without values'
        truth_m, clear = _truth(rig)
        error = np.abs(depth_m / truth_m - 1)[clear]
        wrong = ~(error <= 0.01)
        # Where the network does not see every pixel, its own resampling has a say.
        if wrong.mean() > (0.0 if rig == RIG else 0.1):
            return f'{wrong.sum()} of {wrong.size} pixels are wrong, by up to {error.max():.1%}'
        return ''


@lru_cache
def _truth(rig: Rig) -> tuple[Any, Any]:
    """Return the true depth in metres, and where resampling mixes no two surfaces."""
    truth_m = scene_depth_image(rig.camera)
    return truth_m, ~edges(truth_m, 3)
