# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Six cameras and one lidar through one node: what they get, what that takes, what they share.

    python benchmarks/several_cameras.py FOLDER [--only live starving memory batch line] [--json]

FOLDER is a nuScenes sample (calibration.json, six .jpg, LIDAR_TOP.bin). live: all at 2 Hz over real
DDS, robot and node in processes of their own. starving: the same with a network of 3 images a
second. memory: what the node holds with six cameras and with one. batch: six images at once against
one by one, processor time and wall time in turns, for each backend (a graph for several images is
exported for this alone: the node's has one). line: how well one camera's line is that of another.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
import io
import json
from multiprocessing import get_context
import os
from pathlib import Path
import resource
import tempfile
import time
from typing import Any
import warnings

from builtin_interfaces.msg import Time
from latency import save_preprocessor, save_random_network
from node_latency import SHARED_MEMORY
import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
import torch
from torch import Tensor

from depth_anything_ros.config import ModelConfig, RuntimeConfig, ScaleConfig
from depth_anything_ros.evaluation.frames import Frame, load_frames
from depth_anything_ros.network.any_size import use_any_size
from depth_anything_ros.network.checkpoint import open_checkpoint
from depth_anything_ros.network.hub import locate
from depth_anything_ros.network.onnx_file import _OnlyDepth
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.network.self_check import test_image
from depth_anything_ros.pipeline import DepthPipeline, load, Outputs
from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.ros.domain import reserve_domain
from depth_anything_ros.ros.messages import ns_to_stamp, serialized_stamp_ns
from depth_anything_ros.ros.rig import Rig
from depth_anything_ros.ros.sensor_publisher import CameraPublisher, PointsPublisher
from depth_anything_ros.ros.transforms import Transforms

PROCESSES = get_context('spawn')
RATE_HZ, SLOW_S, MEETING_S = 2.0, 1 / 3, 120.0
AROUND = ('CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_BACK_RIGHT', 'CAM_BACK', 'CAM_BACK_LEFT',
          'CAM_FRONT_LEFT')
QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


# Processes --------------------------------------------------------------------------------------


def robot_process(folder: str, names: list[str], stop: Any, sent: Any) -> None:
    """Publish the cameras and the lidar as they were taken, again and again."""
    rclpy.init()
    node = rclpy.create_node('robot')
    frames = [frame for frame in load_frames(folder) if frame.name in names]
    cameras = [CameraPublisher(node, f.name, f'{f.name}/image') for f in frames]
    lidar = PointsPublisher(node)
    start, count = time.monotonic(), 0
    while not stop.is_set():
        offset_ns = time.time_ns() - frames[0].points.stamp_ns
        points = frames[0].points
        lidar.publish(replace(points, stamp_ns=points.stamp_ns + offset_ns))
        for frame, camera in zip(frames, cameras):
            camera.publish(frame.image_rgb, frame.camera, frame.stamp_ns + offset_ns)
        count += 1
        sent.value = count
        time.sleep(max(0.0, start + count / RATE_HZ - time.monotonic()))
    rclpy.shutdown()


class Slowed:
    """A network that takes SLOW_S an image at least."""

    def __init__(self, predictor: Any) -> None:
        """Take the network."""
        self._predictor, self.spec, self.device = predictor, predictor.spec, predictor.device

    def __call__(self, image: Tensor) -> Tensor:
        """Predict, late."""
        end = time.monotonic() + SLOW_S
        said: Tensor = self._predictor(image)
        time.sleep(max(0.0, end - time.monotonic()))
        return said


def node_process(arguments: list[str], slow: bool) -> None:
    """Run the node."""
    from depth_anything_ros.ros.node import main  # what only the node needs is loaded there

    def slowed(model: ModelConfig, runtime: RuntimeConfig) -> Any:
        return Slowed(load_predictor(model, runtime))

    main(['depth_node', *arguments], load=slowed if slow else load_predictor)


@contextmanager
def running(target: Callable[..., None], *arguments: Any, stop: Any = None) -> Iterator[Any]:
    """Run a process until the block ends."""
    process = PROCESSES.Process(target=target, args=arguments)
    process.start()
    try:
        yield process
    finally:
        if stop is not None:
            stop.set()
        elif process.pid is not None:
            process.terminate()
        process.join()


# Over DDS ---------------------------------------------------------------------------------------


class Listener:
    """What comes of each camera, by topic and stamp."""

    def __init__(self, names: list[str]) -> None:
        """Subscribe."""
        self.node = rclpy.create_node('listener')
        self.stamps: dict[str, list[int]] = defaultdict(list)
        for name in names:
            for topic, kind in (('image', Image), ('depth/image', Image),
                                ('depth/camera_info', CameraInfo)):
                key = f'{name}/{topic}'
                self.node.create_subscription(kind, key, self._note(key), QOS, raw=True)

    def _note(self, key: str) -> Callable[[bytes], None]:
        return lambda data: self.stamps[key].append(serialized_stamp_ns(data))

    def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Listen until something holds, or for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not condition():
            rclpy.spin_once(self.node, timeout_sec=0.05)


def watched(folder: str, frames: list[Frame], seconds: float, slow: bool) -> dict[str, Any]:
    """Run the node on some of the cameras; tell what came of each, and what memory it took."""
    names = [frame.name for frame in frames]
    arguments = ['--ros-args', '-p', 'model.checkpoint:=bundled', '-p',
                 f'cameras:=[{", ".join(names)}]']
    for frame in frames:
        pose = ', '.join(f'{x:.9f}' for x in matrix_to_pose(frame.T_camera_sensor))
        arguments += ['-p', f'{frame.name}.scale.T_camera_sensor:=[{pose}]']
    rclpy.init()
    listener = Listener(names)
    stop, sent = PROCESSES.Event(), PROCESSES.Value('i', 0)
    depths = [listener.stamps[f'{name}/depth/image'] for name in names]
    with running(node_process, arguments, slow) as node, running(
        robot_process, folder, names, stop, sent, stop=stop
    ):
        listener.until(lambda: all(depths), MEETING_S)
        for stamps in listener.stamps.values():
            stamps.clear()
        before = sent.value
        listener.until(lambda: False, seconds)
        memory_mib = anonymous_mib(node.pid)
        rounds = sent.value - before
    rows = {}
    for name in names:
        of = {topic: set(listener.stamps[f'{name}/{topic}'])
              for topic in ('image', 'depth/image', 'depth/camera_info')}
        inside = {s for s in of['depth/image'] if s >= min(of['image'], default=0)}
        rows[name] = {
            'depth': len(of['depth/image']),
            'stamps_of_no_image': len(inside - of['image']),
            'without_camera_info': len(inside - of['depth/camera_info']),
        }
    listener.node.destroy_node()
    rclpy.shutdown()
    return {'sent': rounds, 'memory_mib': round(memory_mib, 1), 'cameras': rows}


def anonymous_mib(pid: int) -> float:
    """Return the memory that a process holds of its own: no code, no shared memory of DDS."""
    status = Path(f'/proc/{pid}/status').read_text()
    return int(status.partition('RssAnon:')[2].split()[0]) / 1024


# The network alone ------------------------------------------------------------------------------


def batches(
    model: str, size: tuple[int, int], rounds: int, device: str
) -> dict[str, dict[str, float]]:
    """Return for each backend what six images at once take of what they take one by one.

    On a card only PyTorch is asked, and only the wall's time counts.
    """
    import onnxruntime
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        if model == 'bundled':
            path = locate(model)
        else:
            save_random_network(model, path)
            save_preprocessor(path, 518)
        network = open_checkpoint(path, ModelConfig(checkpoint=str(path))).load().eval()
    use_any_size(network)
    content: Any = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            _OnlyDepth(network), (torch.cat([test_image(140, 182)] * 2),), content, dynamo=False,
            opset_version=17, input_names=['image'], output_names=['prediction'],
            dynamic_axes={'image': {0: 'n', 2: 'h', 3: 'w'},
                          'prediction': {0: 'n', 1: 'h', 2: 'w'}},
        )
    graph, threads = content.getvalue(), os.cpu_count() or 1
    torch.set_num_threads(threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    session = onnxruntime.InferenceSession(graph, options, ['CPUExecutionProvider'])
    core = openvino.Core()
    settings = {'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': 'f32',
                'INFERENCE_NUM_THREADS': threads}
    request = core.compile_model(core.read_model(graph), 'CPU', settings).create_infer_request()

    def by_torch(images: Tensor) -> Any:
        with torch.inference_mode():
            return network(images.to(device)).predicted_depth.cpu()

    runs: dict[str, Callable[[Tensor], Any]] = {
        'openvino': lambda images: request.infer([images.numpy()])[0],
        'onnxruntime': lambda images: session.run(None, {'image': images.numpy()})[0],
        'torch': by_torch,
    }
    if device != 'cpu':
        network.to(device)
        runs = {'torch': by_torch}
    images = [test_image(*size) + 0.01 * i for i in range(6)]
    together = torch.cat(images)
    found = {}
    for name, run in runs.items():
        run(images[0])
        run(together)
        ratios = []
        for _ in range(rounds):
            ratios.append(np.divide(_taken(run, [together]), _taken(run, images)))
        cpu, wall = np.median(ratios, axis=0)
        found[name] = {'cpu': round(float(cpu), 2), 'wall': round(float(wall), 2)}
        print(f'{model} {size[1]}x{size[0]} {name}: a batch of 6 takes {cpu:.2f} of the processor '
              f'time and {wall:.2f} of the wall time of six single runs', flush=True)
    return found


def _taken(run: Callable[[Tensor], Any], inputs: list[Tensor]) -> tuple[float, float]:
    """Return what runs take of the processors, and of the wall's time, in seconds."""
    before, since_s = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for each in inputs:
        run(each)
    wall_s, after = time.perf_counter() - since_s, resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall_s


# What cameras could share -----------------------------------------------------------------------


def lines(frames: list[Frame]) -> dict[str, Any]:
    """Return how far depth is off at the lidar's points by one's own line and by a neighbour's.

    Each is the median of log depth over the camera's points of 1 to 80 m. Then without the lidar,
    by the points that the others have measured.
    """
    network = load('bundled', device='cpu').predictor
    wanted = Outputs(relative=True, stddev=True)
    fits, seen, depths, pixels = {}, {}, {}, {}
    for frame in frames:
        made = depths[frame.name] = DepthPipeline(network).process(
            frame.image_rgb, frame.camera, frame.points, frame.T_camera_sensor,
            stamp_ns=frame.stamp_ns, outputs=wanted)
        assert made.relative is not None
        xyz_m = frame.points.xyz_m @ frame.T_camera_sensor[:3, :3].T + frame.T_camera_sensor[:3, 3]
        xyz_m = xyz_m[(xyz_m[:, 2] > 1) & (xyz_m[:, 2] < 80)]
        pixel = xyz_m @ frame.camera.K.T
        u, v = (pixel[:, :2] / pixel[:, 2:]).round().astype(int).T
        height, width = frame.camera.size
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        seen[frame.name] = made.relative[v[inside], u[inside]], xyz_m[inside, 2]
        pixels[frame.name] = v[inside], u[inside]
        fits[frame.name] = made.fit

    def off(camera: str, other: str) -> float:
        (value, z_m), fit = seen[camera], fits[other]
        said = np.maximum(fit.scale * value + fit.shift, 1 / 80)
        return float(np.median(np.log(1 / said / z_m)))

    own = [off(name, name) for name in AROUND]
    beside = {
        f'{name} by {AROUND[(i + step) % 6]}': round(off(name, AROUND[(i + step) % 6]), 2)
        for i, name in enumerate(AROUND) for step in (1, -1)
    }
    for name in AROUND:
        print(f'{name:16} 1/z = {fits[name].scale:.3f} p {fits[name].shift:+.3f}')
    report: dict[str, Any] = {
        'own_rms': round(float(np.sqrt(np.mean(np.square(own)))), 3),
        'beside_rms': round(float(np.sqrt(np.mean(np.square(list(beside.values()))))), 3),
        'beside': beside,
    }
    print(f'log depth by the own line is off by {report["own_rms"]} (rms of the medians), by that '
          f'of a camera beside it by {report["beside_rms"]}: {beside}', flush=True)
    report['points'] = {}
    for frame in frames:
        rig = Rig()
        for other in frames:
            if other is not frame:
                header = Header(stamp=Time(**ns_to_stamp(other.stamp_ns)), frame_id=other.name)
                rig.tell(other.name, depths[other.name], header, _mounted(other))
        ask = partial(rig.ask, frame.name, frame.name, frame.stamp_ns, 0.1, _mounted(frame))
        pipeline = DepthPipeline(network)
        made = pipeline.measure(pipeline.predict(frame.image_rgb, frame.camera),
                                stamp_ns=frame.stamp_ns, outputs=wanted, neighbour=ask)
        row: dict[str, Any] = {'state': made.fit.state.value, 'sigma': round(made.sigma, 3)}
        if made.depth is not None and made.stddev_m is not None:
            off_m = np.log(made.depth[pixels[frame.name]] / seen[frame.name][1])
            row['median_abs_log'] = round(float(np.nanmedian(np.abs(off_m))), 3)
            row['within_sigma'] = round(float(np.nanmean(
                np.abs(off_m) < (made.stddev_m / made.depth)[pixels[frame.name]])), 2)
        report['points'][frame.name] = row
        print(f'{frame.name} by points of its neighbours: {row}', flush=True)
    return report


def _mounted(frame: Frame) -> Transforms:
    pose = tuple(matrix_to_pose(frame.T_camera_sensor))
    return Transforms(ScaleConfig(T_camera_sensor=pose), None)


def main() -> None:
    """Measure, print, and with --json end with one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('folder', help='a nuScenes sample')
    parts = ['live', 'starving', 'memory', 'line', 'batch']
    parser.add_argument('--only', nargs='+', default=parts, choices=parts)
    parser.add_argument('--seconds', type=float, default=30.0, help='of each run over DDS')
    parser.add_argument('--rounds', type=int, default=5, help='of batches and single runs')
    parser.add_argument('--models', nargs='+', default=['bundled', 'S'], help='of --only batch')
    parser.add_argument('--device', default='cpu', help='of --only batch')
    parser.add_argument('--json', action='store_true', help='end with one JSON object')
    options = parser.parse_args()
    os.environ['ROS_DOMAIN_ID'] = str(reserve_domain())
    for variable in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):
        os.environ[variable] = str(SHARED_MEMORY)
    frames = load_frames(options.folder)
    report: dict[str, Any] = {'cores': os.cpu_count()}
    for name, slow in (('live', False), ('starving', True)):
        if name in options.only:
            report[name] = watched(options.folder, frames, options.seconds, slow)
            print(f'{name}: {report[name]}', flush=True)
    if 'memory' in options.only:
        one = watched(options.folder, frames[:1], options.seconds, False)
        six = report.get('live') or watched(options.folder, frames, options.seconds, False)
        ratio = six['memory_mib'] / one['memory_mib']
        more_mib = (six['memory_mib'] - one['memory_mib']) / (len(frames) - 1)
        report['memory'] = {'one_mib': one['memory_mib'], 'six_mib': six['memory_mib'],
                            'ratio': round(ratio, 2), 'mib_a_camera': round(more_mib, 1)}
        print(f'memory: {report["memory"]}', flush=True)
    if 'line' in options.only:
        report['line'] = lines(frames)
    if 'batch' in options.only:
        report['batch'] = {}
        sizes = {'bundled': ((140, 252), (224, 392)), 'S': ((266, 476), (518, 924))}
        for model in options.models:
            for size in sizes[model]:
                key = f'{model} {size[1]}x{size[0]}'
                report['batch'][key] = batches(model, size, options.rounds, options.device)
    if options.json:
        print(json.dumps(report))


if __name__ == '__main__':
    main()
