# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every line that the doctor can print: what it looks at, and what mends it where it fails."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

OK, NOTE, FAILED, SKIPPED = 'ok', 'note', 'failed', 'skipped'


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        about: what is looked at.
        cure: what mends it in general; a finding says it with names and numbers.
    """

    about: str
    cure: str


# By key, in the order in which they are printed.
LINES: dict[str, Line] = {
    'python': Line(
        'version of Python, NumPy and OpenCV with each other',
        'Python 3.10 or later; install NumPy and OpenCV from one place (apt or pip), not both',
    ),
    'cv_bridge': Line(
        'whether the installed cv_bridge was built for this NumPy',
        "`pip install 'numpy<2'` up to Kilted; the node itself does without cv_bridge",
    ),
    'torch': Line(
        'whether PyTorch can be imported',
        '`pip install -r requirements/robot.txt` into the Python that runs the node',
    ),
    'device': Line(
        'whether `runtime.device` is there; a card that is not used',
        "PyTorch's CUDA build and the driver, or `runtime.device: cpu`",
    ),
    'backend': Line(
        'ONNX Runtime with its providers and OpenVINO; whether `runtime.backend` is there',
        '`pip install onnx onnxruntime openvino`, or `runtime.backend: auto`',
    ),
    'checkpoint': Line(
        'whether `model.checkpoint` is here and whole, by its headers; `--download` fetches it',
        'start once where the hub can be reached, copy it here and give its path, or `bundled`',
    ),
    'cache': Line(
        'whether exported networks can be kept',
        'set `XDG_CACHE_HOME` to a folder that can be written and stays',
    ),
    'rmw': Line(
        'the middleware, its domain and how far it looks',
        'install the one that `RMW_IMPLEMENTATION` names, or unset it; the same for all processes',
    ),
    'shared_memory': Line(
        'whether large images get through between processes; room in /dev/shm',
        '`shm:=true`, `config/fastdds_shm.xml` for the driver too; `--shm-size=1g` in Docker',
    ),
    'graph': Line(
        'whether anybody else is seen',
        'the same `ROS_DOMAIN_ID` and range of discovery as the robot; its network and firewall',
    ),
    'image': Line(
        'whether images come on the topic, of the type that `image_transport` asks for',
        'remap `image`, start the camera, or set `image_transport`',
    ),
    'qos': Line(
        'whether each publisher of an input matches the subscription',
        'set `qos_overrides./TOPIC.subscription.POLICY`, or change the publisher',
    ),
    'rate': Line(
        'images a second, and how many of those with a camera_info do not arrive',
        '`config/fastdds_shm.xml` on both sides, or compressed images over the network',
    ),
    'camera_info': Line(
        'whether a camera_info comes beside the image',
        'remap `camera_info` to the topic beside the image',
    ),
    'calibration': Line(
        'whether K, distortion and projection describe a camera',
        'calibrate the camera, or have its driver load the file',
    ),
    'size': Line(
        'whether camera_info is of the size of the image',
        'publish the camera_info of this stream; resize both together',
    ),
    'stamps': Line(
        'image stamps against the clock, zero, standing or going back',
        'synchronise the clocks (chrony, PTP); mend the driver that stamps',
    ),
    'sensor': Line(
        'whether something comes that tells what a metre is',
        'remap `points`, `scan`, `sensor_depth/image` or `right/image`, or give the camera height',
    ),
    'sensor_stamps': Line(
        'time between an image and the nearest message of each sensor',
        '`scale.max_time_offset` with `scale.fixed_frame`; one clock for camera and sensor',
    ),
    'tf': Line(
        'the chain from the camera to each sensor at the time of the image',
        'publish the missing transform, in time; or `scale.T_camera_sensor`',
    ),
    'coverage': Line(
        'how much of the image the points reach',
        'the pose of the sensor, an optical frame for the camera, `scale.max_range`',
    ),
    'extrinsic': Line(
        'whether edges of the sweeps lie on edges of the images',
        'correct the transform between sensor and camera',
    ),
    'clock': Line(
        '`use_sim_time` against what comes on /clock',
        'run all on one clock: `use_sim_time:=true` with a running /clock, or neither',
    ),
    'node': Line(
        'whether the node runs, once, and in which state',
        '`ros2 lifecycle set NODE configure`, then `activate`; or `autostart: true`',
    ),
    'inputs': Line(
        'whether the running node listens to what was asked about',
        'start the node with the same remaps',
    ),
    'scale': Line(
        'the state on depth/scale, and why there are no metres',
        'see the lines above for the sensor that it misses',
    ),
    'drops': Line(
        'images that the node drops or makes without something, by reason, while being watched',
        'by reason: the node logs each with its cure',
    ),
    'listeners': Line(
        'who listens to the outputs, and whether the quality of service matches',
        'change the listener, or `qos_overrides./depth/TOPIC.publisher.POLICY`',
    ),
}


@dataclass(frozen=True)
class Finding:
    """What is known under one line.

    Attributes:
        line: a key of LINES.
        state: ok, note (worth knowing), failed or skipped (nothing to look at).
        said: what was found.
        cure: what mends it, for a failure.
    """

    line: str
    state: str
    said: str
    cure: str = ''


def ok(line: str, said: str) -> Finding:
    """Say that a line is fine."""
    return Finding(line, OK, said)


def note(line: str, said: str, cure: str = '') -> Finding:
    """Say what is worth knowing, and no fault."""
    return Finding(line, NOTE, said, cure)


def failed(line: str, said: str, cure: str) -> Finding:
    """Say what is wrong, and what mends it."""
    return Finding(line, FAILED, said, cure)


def skipped(line: str, why: str) -> Finding:
    """Say why a line could not be looked at."""
    return Finding(line, SKIPPED, why)


def is_healthy(findings: Iterable[Finding]) -> bool:
    """Tell whether nothing failed."""
    return all(finding.state != FAILED for finding in findings)


def markdown() -> str:
    """Return the table of docs/doctor.md."""
    rows = [f'| `{key}` | {line.about} | {line.cure} |' for key, line in LINES.items()]
    return '\n'.join(['| line | looks at | where it fails |', '|---|---|---|', *rows]) + '\n'


if __name__ == '__main__':
    print(markdown(), end='')
