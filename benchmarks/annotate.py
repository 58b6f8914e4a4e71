# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""annotate on a drive of the world: frames a second, what each stage costs, memory, same bytes.

    OMP_NUM_THREADS=1 python benchmarks/annotate.py [--cache FOLDER] [--against-node] [--json]

The bag has what the demo's robot says, at 10 Hz: image, camera_info, points of 16 rings. Each run
is a process of its own, whose clock starts when the network is loaded. CPU is that of the thread
that is at a stage, without the stages inside it; what is left of the process's is the network's,
which may have threads of its own. The long bag repeats the messages with later stamps.
--against-node plays the bag once, as it was recorded, to a node.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
import hashlib
import json
from multiprocessing import get_context
import os
from pathlib import Path
import shutil
import subprocess
import sys
from tempfile import TemporaryDirectory
import threading
import time
from typing import Any

import numpy as np
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import Writer

from depth_anything_ros.annotation.bag_output import BagOutput
from depth_anything_ros.annotation.recording import Recording
from depth_anything_ros.annotation.unit import annotate_unit, Request
from depth_anything_ros.annotation.unit_report import Unit
from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig, with_values
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.pipeline import DepthPipeline
from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.ros import frame_step
from depth_anything_ros.ros.bags import BagWriter, open_bag, read_recorded
from depth_anything_ros.ros.cdr import NANOSECONDS, restamped, stamp_of
from depth_anything_ros.ros.domain import reserve_domain
from depth_anything_ros.ros.frame_step import FrameStep
from depth_anything_ros.ros.messages import (
    encode_camera,
    encode_image,
    encode_points,
    ns_to_stamp,
    serialized_stamp_ns,
)
from depth_anything_ros.world.drive import CAMERA, T_CAMERA_LIDAR, WorldDrive

SEED = 10_001_008  # the demo's
RATE_HZ, START_NS = 10, 1_700_000_000 * NANOSECONDS
TYPES = {'/camera_info': 'CameraInfo', '/points': 'PointCloud2', '/image': 'Image'}
FRAMES = {'/camera_info': 'camera', '/points': 'lidar', '/image': 'camera'}
POSE = matrix_to_pose(T_CAMERA_LIDAR)
STAGES = (
    'reading', 'decoding', 'network', 'around network', 'gathering', 'fit', 'encoding', 'writing',
)
MEETING_S, LAST_S = 90.0, 3.0
PROCESSES = get_context('spawn')


# Bags -------------------------------------------------------------------------------------------


def drive_bag(path: Path, count: int) -> Path:
    """Write a drive of so many images, unless it is there; return its path."""
    if path.exists():
        return path
    world = WorldDrive(SEED, 'street')
    with _new_bag(path) as bag:
        for i in range(count):
            moment, stamp_ns = world.moment(i / RATE_HZ), START_NS + i * NANOSECONDS // RATE_HZ
            assert moment.sweep is not None
            ring = moment.sweep.ring.astype(np.int64)
            sweep = SensorPoints(moment.sweep.points_lidar, stamp_ns, 'lidar', ring=ring)
            for topic, message in _messages(moment.image_rgb, sweep).items():
                stamp = message.header.stamp
                stamp.sec, stamp.nanosec = ns_to_stamp(stamp_ns).values()
                message.header.frame_id = FRAMES[topic]
                bag.write(topic, stamp_ns, serialize_message(message))
    return path


def _messages(image_rgb: Any, sweep: SensorPoints) -> dict[str, Any]:
    from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

    numbers, fields = encode_points(sweep)
    return {
        '/camera_info': CameraInfo(**encode_camera(CAMERA)),
        '/points': PointCloud2(fields=[PointField(**field) for field in fields], **numbers),
        '/image': Image(**encode_image(image_rgb, 'rgb8')),
    }


def repeated_bag(bag: Path, path: Path, times: int) -> Path:
    """Write a bag so many times as long: its messages again and again, with later stamps."""
    with open_bag(bag) as reader, _new_bag(path) as writer:
        connections = [c for c in reader.connections if c.topic in TYPES]
        last_ns = reader.end_time - 1  # which is the first instant after it
        period_ns = last_ns - reader.start_time + NANOSECONDS // RATE_HZ
        for i in range(times):
            for connection, time_ns, data in read_recorded(reader, connections):
                later_ns = i * period_ns
                data = restamped(data, stamp_of(data) + later_ns)
                writer.write(connection.topic, time_ns + later_ns, data)
    return path


@contextmanager
def _new_bag(path: Path) -> Iterator[BagWriter]:
    """Give a bag with the topics of a drive; it is there when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + '.part')
    shutil.rmtree(part, ignore_errors=True)
    with BagWriter(part) as bag:
        for topic, kind in TYPES.items():
            bag.add_topic(topic, f'sensor_msgs/msg/{kind}')
        bag.write_static_transforms(START_NS, [('camera', 'lidar', POSE)])
        yield bag
    part.rename(path)


# Stages -----------------------------------------------------------------------------------------


class Laps:
    """CPU and wall time by stage, each without the stages inside it; of all threads.

    Attributes:
        cpu_s: of the threads that were at it.
        wall_s: likewise; stages on several threads overlap.
    """

    def __init__(self) -> None:
        """Start at nothing."""
        self.cpu_s = dict.fromkeys(STAGES, 0.0)
        self.wall_s = dict.fromkeys(STAGES, 0.0)
        self._inside = threading.local()

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._lap(stage):
                return function(*args, **kwargs)

        return call

    def timed_steps(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a generator's function, whose steps are timed."""

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Iterator[Any]:
            steps, end = function(*args, **kwargs), object()
            while True:
                with self._lap(stage):
                    step = next(steps, end)
                if step is end:
                    return
                yield step

        return call

    @contextmanager
    def _lap(self, stage: str) -> Iterator[None]:
        open_laps = self._inside.__dict__.setdefault('laps', [])
        inside = [0.0, 0.0]
        open_laps.append(inside)
        cpu_s, wall_s = time.thread_time(), time.perf_counter()
        try:
            yield
        finally:
            took = time.thread_time() - cpu_s, time.perf_counter() - wall_s
            open_laps.pop()
            for known, lap_s, inner_s in zip((self.cpu_s, self.wall_s), took, inside):
                known[stage] += lap_s - inner_s
            if open_laps:
                open_laps[-1][0] += took[0]
                open_laps[-1][1] += took[1]


class TimedPredictor:
    """The network, timed."""

    def __init__(self, predictor: Any, laps: Laps) -> None:
        """Take what a pipeline asks of it."""
        self.spec, self.device = predictor.spec, predictor.device
        self._call = laps.timed('network', predictor)

    def __call__(self, image: Any) -> Any:
        """Return the prediction."""
        return self._call(image)


def _time_stages(laps: Laps) -> None:
    """Time the parts of annotate_unit(), in this process."""
    parts: list[tuple[Any, str, str]] = [
        (frame_step, 'deserialize', 'decoding'),
        (frame_step, 'decode_image', 'decoding'),
        (DepthPipeline, 'predict', 'around network'),
        (FrameStep, 'gather', 'gathering'),
        (FrameStep, 'measure', 'fit'),
        (BagOutput, 'write_frame', 'encoding'),
        (Writer, 'write', 'writing'),
    ]
    for owner, name, stage in parts:
        setattr(owner, name, laps.timed(stage, getattr(owner, name)))
    Recording.images = laps.timed_steps('reading', Recording.images)


# Runs -------------------------------------------------------------------------------------------


def _annotate(bag: Path, out: Path, parameters: dict[str, Any], answer: Any) -> None:
    """Annotate in this process, and send what it took."""
    laps, begun = Laps(), [0.0, 0.0]
    _time_stages(laps)

    def load(model: ModelConfig, runtime: RuntimeConfig) -> Any:
        predictor = load_predictor(model, runtime)
        begun[:] = time.process_time(), time.perf_counter()
        return TimedPredictor(predictor, laps)

    resident_mib: list[float] = []  # by tenths of the bag

    def on_frame(done: int, of: int) -> None:
        if 10 * done // of > len(resident_mib):
            resident_mib.append(_memory_mib('VmRSS'))

    config = with_values(Config(), parameters)
    report = annotate_unit(Unit(str(bag)), Request(), config, load, out, on_frame)
    cpu_s, wall_s = time.process_time() - begun[0], time.perf_counter() - begun[1]
    laps.cpu_s['network'] += cpu_s - sum(laps.cpu_s.values())
    (camera,) = report.cameras.values()
    answer.send({
        'frames': camera.frames,
        'states': dict(camera.states),
        'frames_per_s': round(camera.frames / wall_s, 2),
        'times_real_time': round(camera.frames / wall_s / RATE_HZ, 2),
        'cpu_ms': round(1e3 * cpu_s / camera.frames, 2),
        'wall_ms': round(1e3 * wall_s / camera.frames, 2),
        'cpu_ms_by_stage': _per_frame(laps.cpu_s, camera.frames),
        'wall_ms_by_stage': _per_frame(laps.wall_s, camera.frames),
        'peak_mib': _memory_mib('VmHWM'),
        'resident_mib': resident_mib,
        'load': round(os.getloadavg()[0], 1),
    })


def _memory_mib(name: str) -> float:
    """Return a number of this process, which the kernel has in kB."""
    status = Path('/proc/self/status').read_text()
    return round(int(status.partition(f'{name}:')[2].split()[0]) / 1024, 1)


def _per_frame(seconds: dict[str, float], frames: int) -> dict[str, float]:
    return {stage: round(1e3 * s / frames, 2) for stage, s in seconds.items()}


def annotated(bag: Path, out: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Annotate a bag in a new process.

    Returns:
        frames and their states, frames_per_s, times_real_time, milliseconds of CPU and wall a
        frame and by stage, peak_mib of the process and resident_mib after each tenth, the machine's
        load at the end, and a digest of the file.

    Raises:
        SystemExit: it failed; why stands above.
    """
    shutil.rmtree(out, ignore_errors=True)
    ours, theirs = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_annotate, args=(bag, out, parameters, theirs))
    process.start()
    theirs.close()
    try:
        found: dict[str, Any] = ours.recv()
    except EOFError:
        raise SystemExit('annotate did not come to its end: see above') from None
    finally:
        process.join()
    found['sha256'] = _digest(out)
    shutil.rmtree(out)
    return found


def _digest(out: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(out.glob('*.mcap')):
        with file.open('rb') as content:
            while part := content.read(1 << 20):
                digest.update(part)
    return digest.hexdigest()


def through_node(bag: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Play a bag once to a node at the rate at which it was recorded; return what it answered."""
    import rclpy
    from sensor_msgs.msg import Image

    from depth_anything_ros.ros.meeting import NodeInputs

    with open_bag(bag) as reader:
        sent = sum(c.msgcount for c in reader.connections if c.topic == '/image')
    os.environ['ROS_DOMAIN_ID'] = str(reserve_domain())
    told = [f'{name}:={value}' for name, value in parameters.items()]
    told.append(f'scale.T_camera_sensor:={list(POSE)}')
    module = [sys.executable, '-m']
    rclpy.init()
    listener, stamps = rclpy.create_node('listener'), set[int]()
    listener.create_subscription(
        Image, 'depth/image', lambda data: stamps.add(serialized_stamp_ns(data)), 50, raw=True
    )
    inputs, cpu = NodeInputs(listener), os.times()

    def listen_until(condition: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            rclpy.spin_once(listener, timeout_sec=0.1)

    node = subprocess.Popen([*module, 'depth_anything_ros.ros.depth_node', '--ros-args',
                             *(part for each in told for part in ('-p', each))])
    player = subprocess.Popen([*module, 'depth_anything_ros.tools.play_bag', str(bag), '--wait'],
                              stdin=subprocess.PIPE)
    try:
        listen_until(lambda: inputs.matched(['image', 'camera_info', 'points']), MEETING_S)
        assert player.stdin is not None
        player.stdin.write(b'1\n')
        player.stdin.close()
        listen_until(lambda: player.poll() is not None, MEETING_S + 2 * sent / RATE_HZ)
        listen_until(lambda: len(stamps) == sent, LAST_S)
    finally:
        player.terminate()
        node.terminate()
        player.wait()
        node.wait()
        listener.destroy_node()
        rclpy.shutdown()
    used_s = os.times().children_user + os.times().children_system
    used_s -= cpu.children_user + cpu.children_system
    return {'sent': sent, 'answered': len(stamps), 'dropped': sent - len(stamps),
            'cpu_s_with_start_and_player': round(used_s, 1)}


# Words ------------------------------------------------------------------------------------------


def print_runs(runs: Sequence[dict[str, Any]]) -> None:
    """Print a table of runs, and one of the stages of the fastest."""
    print('| frames | frames/s | times real time | CPU, ms/frame | wall, ms/frame | peak, MiB '
          '| load |\n|---|---|---|---|---|---|---|')
    for run in runs:
        print('| {frames} | {frames_per_s} | {times_real_time} | {cpu_ms} | {wall_ms} '
              '| {peak_mib} | {load} |'.format(**run))
    best = min(runs, key=lambda run: run['wall_ms'])
    print('\n| stage | CPU, ms/frame | wall, ms/frame |\n|---|---|---|')
    for stage in STAGES:
        print(f'| {stage} | {best["cpu_ms_by_stage"][stage]} | {best["wall_ms_by_stage"][stage]} |')


def main() -> None:
    """Measure, print tables, and with --json one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--frames', type=int, default=200)
    parser.add_argument('--runs', type=int, default=3)
    parser.add_argument('--longer', type=int, default=20, help='times the long bag; 0 is none')
    parser.add_argument('--checkpoint', default='bundled', help='as model.checkpoint')
    parser.add_argument('--threads', type=int, default=0, help='as runtime.threads')
    parser.add_argument('--cache', type=Path, help='folder where rendered bags are kept')
    parser.add_argument('--against-node', action='store_true', help='play the bag to a node too')
    parser.add_argument('--quick', action='store_true', help='few frames: a test')
    parser.add_argument('--json', action='store_true', help='end with one JSON object')
    options = parser.parse_args()
    if options.quick:
        options.frames, options.runs, options.longer = 4, 1, 0
    parameters = {'model.checkpoint': options.checkpoint, 'runtime.threads': options.threads}
    with TemporaryDirectory() as name:
        folder = Path(name)
        bag = drive_bag((options.cache or folder) / f'drive_{options.frames}', options.frames)
        runs = [annotated(bag, folder / 'out', parameters) for _ in range(options.runs)]
        print_runs(runs)
        report: dict[str, Any] = {
            'cores': len(os.sched_getaffinity(0)),
            'parameters': parameters,
            'runs': runs,
            'same_bytes': len({run['sha256'] for run in runs}) == 1,
        }
        print(f'\nthe same bytes in {len(runs)} runs: {report["same_bytes"]}')
        if options.longer:
            long = repeated_bag(bag, folder / 'long', options.longer)
            report['long'] = annotated(long, folder / 'out', parameters)
            print(f'\n{options.longer} times as long:\n')
            print_runs([report['long']])
            print(f'\nresident after each tenth, MiB: {report["long"]["resident_mib"]}')
        if options.against_node:
            report['node'] = through_node(bag, parameters)
            print('\nplayed to the node as recorded: {sent} images, {answered} answered, '
                  '{dropped} dropped'.format(**report['node']))
    if options.json:
        print(json.dumps(report))


if __name__ == '__main__':
    main()
