# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM end the node's process, whatever it is in the middle of."""

from contextlib import contextmanager
from pathlib import Path
import re
import signal
import subprocess
import sys
import threading

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
import pytest
import rclpy
from sensor_msgs.msg import Image

from depth_anything_ros.ros.messages import encode_image
from depth_anything_ros.ros.stopping import what_runs
from helpers import scene_image, TEST

SIGNALS = [signal.SIGINT, signal.SIGTERM]
STUBBORN = TEST / 'programs' / 'stubborn_node.py'
PATIENCE_S = 60


@contextmanager
def started(*command):
    """Start a Python program whose output can be read; it is killed in the end."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_line(process, part):
    """Read the output up to a line with this in it."""
    for line in process.stdout:
        if part in line:
            return
    raise AssertionError(f'ended before "{part}"')


def rest_of(process):
    """Return the output that has not been read; Popen.communicate would skip what is buffered."""
    output = process.stdout.read()
    process.wait(PATIENCE_S)
    return output


def catches(process, number):
    """Return whether a process handles a signal itself."""
    status = Path(f'/proc/{process.pid}/status').read_text()
    mask = next(line for line in status.splitlines() if line.startswith('SigCgt'))
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)


def segments_of(process):
    """Return the shared memory of Fast DDS that is a process's own."""
    maps = Path(f'/proc/{process.pid}/maps').read_text()
    return {Path(path) for path in re.findall(r'/dev/shm/fast[a-z]+_[0-9a-z]{16}', maps)}


@pytest.mark.parametrize('number', SIGNALS)
def test_while_it_imports(number):
    with started('-m', 'depth_anything_ros.ros.depth_node') as process:
        while not catches(process, signal.SIGTERM):  # which Python by itself does not
            assert process.poll() is None
        process.send_signal(number)
        output = rest_of(process)
    assert (process.returncode, output) == (0, '')


@pytest.mark.parametrize('number', SIGNALS)
def test_while_a_network_loads(number):
    with started(STUBBORN, 'load') as process:
        wait_for_line(process, 'it hangs')
        segments = segments_of(process)
        process.send_signal(number)
        process.send_signal(number)
        output = rest_of(process)
    assert process.returncode == 0 and 'Traceback' not in output, output
    assert segments and not any(segment.exists() for segment in segments)


@pytest.mark.parametrize('number', SIGNALS)
def test_while_it_waits_for_a_lifecycle_manager(number):
    with started(STUBBORN, 'load', '--ros-args', '-p', 'autostart:=false') as process:
        rclpy.init()
        node = rclpy.create_node('manager')
        client = node.create_client(GetState, 'depth_anything/get_state')
        assert client.wait_for_service(PATIENCE_S)
        rclpy.shutdown()
        process.send_signal(number)
        output = rest_of(process)
    assert process.returncode == 0 and 'Traceback' not in output, output


@pytest.fixture
def camera():
    """Return a node and a function that publishes images until the process says something."""
    rclpy.init()
    node = rclpy.create_node('camera')
    publisher = node.create_publisher(Image, 'image', 1)
    node.create_subscription(Image, 'depth/relative', lambda message: None, 1)
    image = Image(**encode_image(scene_image(), 'rgb8'))

    def film(process, said):
        waits = threading.Thread(target=wait_for_line, args=(process, said))
        waits.start()
        while waits.is_alive():
            publisher.publish(image)
            waits.join(0.2)

    yield node, film
    node.destroy_node()
    rclpy.shutdown()


@pytest.mark.parametrize('deactivate', [False, True])
def test_with_a_network_that_hangs(camera, deactivate):
    node, film = camera
    change = node.create_client(ChangeState, 'depth_anything/change_state')
    get = node.create_client(GetState, 'depth_anything/get_state')
    with started(STUBBORN, 'image') as process:
        film(process, 'it hangs')
        if deactivate:
            assert change.wait_for_service(PATIENCE_S) and get.wait_for_service(PATIENCE_S)
            change.call_async(ChangeState.Request(transition=Transition(label='deactivate')))
            state = None
            while state != 'deactivating':
                future = get.call_async(GetState.Request())
                rclpy.spin_until_future_complete(node, future, timeout_sec=PATIENCE_S)
                state = future.result().current_state.label
        process.send_signal(SIGNALS[deactivate])
        output = rest_of(process)
    last = output.splitlines()[-1]
    assert process.returncode == 1
    assert 'depth_worker at stubborn_node.py' in last and 'in hang' in last
    assert 'Traceback' not in output


def test_a_bug_ends_the_process_with_a_traceback(camera):
    _, film = camera
    with started(STUBBORN, 'bug') as process:
        film(process, 'Traceback')
        output = rest_of(process)
    assert process.returncode == 1 and 'ZeroDivisionError' in output


def test_what_hangs_is_named_and_what_waits_for_work_is_not():
    hung, may_go = threading.Event(), threading.Event()

    def hang():
        hung.set()
        may_go.wait(10)

    thread = threading.Thread(target=hang, name='depth_test')
    thread.start()
    assert hung.wait(10)
    assert what_runs('depth_test').startswith('depth_test at test_stopping.py:')
    assert what_runs('depth_test').endswith('in hang')
    may_go.set()
    thread.join()
    assert what_runs('depth_test').startswith('MainThread at')
