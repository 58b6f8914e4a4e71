# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Machines on which something is missing or broken, and what the doctor says of each."""

from concurrent.futures import ThreadPoolExecutor
import os
import shutil

from doctor_calls import call, failures, PATIENCE_S
import pytest

from helpers import TEST

BUNDLED = TEST.parent / 'checkpoints' / 'depth_anything_world_tiny'
AT_ONCE = 2

pytestmark = pytest.mark.timeout(4 * PATIENCE_S)

# Machine -> line -> what is said, and what of its cure.
BROKEN = {
    'asked_for_more': {
        'device': ('runtime.device is cuda but', 'set runtime.device to cpu'),
        'checkpoint': ('"somebody/Absent-Small" is no local folder and not in the local cache',
                       'copy the checkpoint here'),
        'cache': ('cannot be written', 'XDG_CACHE_HOME'),
        'cv_bridge': ('cv_bridge fails with NumPy', "pip install 'numpy<2'"),
        'backend': ('onnxruntime cannot be imported (ImportError: libonnx is gone)',
                    'install it again'),
    },
    'half_downloaded': {
        'checkpoint': ('bytes of', 'download it again'),
        'python': ('NumPy and OpenCV do not go together', "'numpy<2'"),
        'shared_memory': ('/absent.xml is not there', 'name config/fastdds_shm.xml'),
    },
    'without_torch': {
        'torch': ('OSError: libcudart.so is gone', 'pip install -r requirements/robot.txt'),
    },
    'without_rmw': {
        'rmw': ('RMW_IMPLEMENTATION=rmw_cyclonedds_cpp', 'ros-$ROS_DISTRO-rmw-cyclonedds-cpp'),
    },
}


def broken(folder, **modules):
    """Return variables by which Python finds modules that fail before the real ones."""
    for name, line in modules.items():
        (folder / name).mkdir(parents=True)
        (folder / name / '__init__.py').write_text(line)
    return {'PYTHONPATH': os.pathsep.join([str(folder), os.environ.get('PYTHONPATH', '')])}


@pytest.fixture(scope='module')
def said(tmp_path_factory):
    """Return what is said of each machine."""
    folder = tmp_path_factory.mktemp('machines')
    (folder / 'file').touch()
    half = folder / 'half'
    shutil.copytree(BUNDLED, half)
    whole = (half / 'model.safetensors').read_bytes()
    (half / 'model.safetensors').write_bytes(whole[: len(whole) // 2])
    calls = {
        'asked_for_more': (
            ('-p', 'runtime.device:=cuda', '-p', 'model.checkpoint:=somebody/Absent-Small'),
            {
                'CUDA_VISIBLE_DEVICES': '',
                'HF_HOME': str(folder / 'hub'),
                'XDG_CACHE_HOME': str(folder / 'file'),
                **broken(
                    folder / 'first',
                    cv_bridge="raise AttributeError('_ARRAY_API not found')",
                    onnxruntime="raise ImportError('libonnx is gone')",
                ),
            },
        ),
        'half_downloaded': (
            ('-p', f'model.checkpoint:={half}'),
            {
                'FASTRTPS_DEFAULT_PROFILES_FILE': str(folder / 'absent.xml'),
                **broken(folder / 'second', cv2="raise ImportError('built for another NumPy')"),
            },
        ),
        'without_torch': (
            ('-p', 'model.checkpoint:=bundled'),
            broken(folder / 'third', torch="raise OSError('libcudart.so is gone')"),
        ),
        'without_rmw': (
            ('-p', 'model.checkpoint:=bundled'), {'RMW_IMPLEMENTATION': 'rmw_cyclonedds_cpp'}
        ),
    }

    def one(name):
        arguments, environment = calls[name]
        return call('--only', 'machine', *arguments, environment=environment)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return dict(zip(calls, threads.map(one, calls)))


@pytest.mark.parametrize(
    'name, line', [(name, line) for name, lines in BROKEN.items() for line in lines]
)
def test_what_is_broken_is_named_with_its_cure(said, name, line):
    code, found, errors = said[name]
    cause, cure = BROKEN[name][line]
    assert code == 1, errors
    assert found[line]['state'] == 'failed', found[line]
    assert cause in found[line]['said'] and cure in found[line]['cure'], found[line]
    failed = set(failures(found))
    if name == 'without_rmw':
        failed.discard('checkpoint')  # nobody could read the arguments
    assert failed == set(BROKEN[name])


@pytest.mark.parametrize(
    'arguments, line',
    [
        (('-p', 'scale.max_hold:=no'), 'doctor: '),
        (('-r', 'image'), 'doctor: '),
        (('--params-file', '/absent.yaml'), 'doctor: '),
        (('--seconds', 'never'), 'usage: '),
    ],
)
def test_a_mistake_in_the_call_is_one_line_and_2(arguments, line):
    code, found, errors = call('--only', 'machine', *arguments)
    assert code == 2 and not found
    assert any(each.startswith(line) for each in errors.splitlines()), errors
    assert 'Traceback' not in errors
