# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is installed -> findings."""

from __future__ import annotations

from depth_anything_ros.doctor.facts import Graph, Machine, Probe
from depth_anything_ros.doctor.findings import failed, Finding, LINES, note, ok, skipped

OLDEST_PYTHON = (3, 10)
SEGMENT_BYTES = 512 << 10  # of shared memory, that Fast DDS gives a process without a profile
_SMALL_SHM_BYTES = 64 << 20  # what a container has unless it is told otherwise: two processes'
_RECEIVED = 0.7  # share of the camera's rate that says that large images get through


def machine_findings(machine: Machine, graph: Graph | None) -> list[Finding]:
    """Judge a machine; the graph, where one was seen, tells how large its images are."""
    network = machine.probes.get('network', Probe(error='it was not asked'))
    return [
        _python(machine),
        _cv_bridge(machine),
        _torch(machine, network),
        _device(network),
        _backend(machine, network),
        _checkpoint(network),
        _cache(network),
        rmw(machine),
        _shared_memory(machine, graph),
    ]


def split(line: str, text: str) -> Finding:
    """Fail with one of the package's own lines, which say `cause: cure`."""
    cause, colon, cure = text.rpartition(': ')
    return failed(line, cause, cure) if colon else failed(line, text, LINES[line].cure)


def _python(machine: Machine) -> Finding:
    version = '.'.join(map(str, machine.python))
    if machine.python < OLDEST_PYTHON:
        return failed(
            'python', f'{machine.executable} is Python {version}', 'use Python 3.10 or later'
        )
    packages = machine.probes['packages']
    if packages.error:
        return failed(
            'python',
            f'NumPy and OpenCV do not go together in {machine.executable} ({packages.error})',
            "install both from one place: apt's with 'numpy<2', or both by pip",
        )
    return ok(
        'python',
        f'Python {version}, NumPy {packages.values["numpy"]}, OpenCV {packages.values["cv2"]} '
        f'({machine.executable})',
    )


def _cv_bridge(machine: Machine) -> Finding:
    packages = machine.probes['packages'].values
    if not packages:
        return skipped('cv_bridge', 'NumPy and OpenCV are not sound')
    if not packages['cv_bridge']:
        return ok('cv_bridge', 'not installed here, and not needed')
    if not packages['sound_encodings']:
        return failed(
            'cv_bridge',
            f'cv_bridge fails with NumPy {packages["numpy"]}; the node does without it, other '
            'nodes may crash',
            "pip install 'numpy<2' up to Kilted, or build cv_bridge for this NumPy",
        )
    return ok('cv_bridge', f'agrees in {len(packages["sound_encodings"])} encodings')


def _torch(machine: Machine, network: Probe) -> Finding:
    if network.error:
        return failed(
            'torch',
            f'{machine.executable} cannot use PyTorch ({network.error})',
            'pip install -r requirements/robot.txt into this Python, and build with it',
        )
    build = network.values['cuda_build']
    return ok('torch', f'{network.values["torch"]}, ' + (f'CUDA {build}' if build else 'CPU alone'))


def _device(network: Probe) -> Finding:
    if network.error:
        return skipped('device', 'there is no PyTorch')
    said = network.values
    if said['device_error']:
        return split('device', said['device_error'])
    if said['device'] == 'cpu' and said['nvidia'] and said['device_asked'] == 'auto':
        return failed(
            'device',
            'there is an NVIDIA card, and the network would run on the CPU',
            "install PyTorch's CUDA build and the driver, or set runtime.device to cpu",
        )
    return ok('device', said['device'])


def _backend(machine: Machine, network: Probe) -> Finding:
    if network.error:
        return skipped('backend', 'there is no PyTorch')
    if network.values['backend_error']:
        return split('backend', network.values['backend_error'])
    there, broken = [], []
    for name in ('openvino', 'onnxruntime'):
        probe = machine.probes[name]
        if probe.values:
            there.append(f'{name} {probe.values["version"]} ({probe.values["runs_on"]})')
        elif probe.error != 'not installed':
            broken.append(f'{name} cannot be imported ({probe.error})')
    if broken:
        return failed('backend', '; '.join(broken), 'install it again, or remove it')
    on_cpu = network.values['device'] in ('cpu', '')
    if not there and on_cpu:
        return note(
            'backend',
            'PyTorch alone, which is the slowest on a CPU',
            'pip install onnx onnxruntime openvino',
        )
    return ok('backend', ', '.join([*there, 'PyTorch']))


def _checkpoint(network: Probe) -> Finding:
    if network.error:
        return skipped('checkpoint', 'there is no PyTorch')
    if network.values['checkpoint_error']:
        return split('checkpoint', network.values['checkpoint_error'])
    kind = 'metres' if network.values['metric'] else 'relative depth'
    return ok('checkpoint', f'{network.values["checkpoint"]}, predicts {kind}')


def _cache(network: Probe) -> Finding:
    if network.error:
        return skipped('cache', 'there is no PyTorch')
    if network.values['cache_error']:
        return split('cache', network.values['cache_error'])
    if network.values['cache_note']:
        return failed('cache', network.values['cache_note'], LINES['cache'].cure)
    return ok('cache', network.values['cache'])


def rmw(machine: Machine) -> Finding:
    """Judge the middleware, without which nothing is seen of the graph."""
    probe = machine.probes['ros']
    wanted = machine.environment.get('RMW_IMPLEMENTATION', '')
    if probe.error and wanted:
        package = f'ros-$ROS_DISTRO-{wanted.replace("_", "-")}'
        return failed(
            'rmw',
            f'ROS does not start with RMW_IMPLEMENTATION={wanted} ({probe.error})',
            f'apt install {package}, or unset RMW_IMPLEMENTATION',
        )
    if probe.error:
        return failed(
            'rmw',
            f'{machine.executable} has no ROS 2 that starts ({probe.error})',
            'source the setup.bash of your ROS 2 installation',
        )
    told = [f'{k}={v}' for k, v in machine.environment.items() if k != 'RMW_IMPLEMENTATION']
    return ok('rmw', ', '.join([probe.values['rmw'], *told]))


def _shared_memory(machine: Machine, graph: Graph | None) -> Finding:
    line, memory = 'shared_memory', machine.memory
    if 'fastrtps' not in machine.probes['ros'].values.get('rmw', ''):
        return skipped(line, 'the middleware is not Fast DDS')
    if memory.profile and not memory.segment_bytes:
        return failed(
            line,
            f'{memory.profile} is not there, or gives no segment of shared memory',
            'name config/fastdds_shm.xml in FASTRTPS_DEFAULT_PROFILES_FILE and '
            'FASTDDS_DEFAULT_PROFILES_FILE',
        )
    if memory.size_bytes <= _SMALL_SHM_BYTES:
        return failed(
            line,
            f'/dev/shm has {memory.size_bytes / 1e6:.0f} MB for all processes',
            'start the container with --ipc=host, or --shm-size=1g',
        )
    if memory.free_bytes < 2 * max(memory.segment_bytes, SEGMENT_BYTES):
        dead = f', {memory.dead_bytes / 1e6:.0f} MB of them of killed processes'
        return failed(
            line,
            f'/dev/shm is full: {memory.free_bytes / 1e6:.0f} MB are free{dead}',
            'fastdds shm clean, or start the node, which clears what killed processes left',
        )
    if memory.profile:
        return ok(line, f'{memory.segment_bytes / 1e6:.0f} MB for each process, {memory.profile}')
    image = None if graph is None else graph.inputs.get('image')
    if image is None or not image.count:
        return note(
            line,
            'no profile: images over half a megabyte get lost between processes',
            'shm:=true for the node, config/fastdds_shm.xml for the driver',
        )
    if image.largest_bytes < SEGMENT_BYTES:
        return ok(line, f'not needed for images of {image.largest_bytes / 1e6:.2f} MB')
    node, rate_hz = graph.node if graph else None, image.facts.rate_hz if image.facts else None
    if node is not None and rate_hz and node.received_hz >= _RECEIVED * rate_hz:
        return ok(line, f'the node receives {node.received_hz:.1f} images a second')
    return failed(
        line,
        f'images of {image.largest_bytes / 1e6:.1f} MB, and no profile with room for them here',
        'start with shm:=true, and the driver with FASTRTPS_DEFAULT_PROFILES_FILE and '
        'FASTDDS_DEFAULT_PROFILES_FILE set to config/fastdds_shm.xml',
    )
