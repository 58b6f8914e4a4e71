# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What pip and colcon make of the package, and what lies in it beside the Python code."""

from __future__ import annotations

import configparser
import importlib
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile

from catkin_pkg.package import parse_package
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
NAME = 'depth_anything_ros'
PACKAGED = (
    *('LICENSE', 'package.xml', 'pyproject.toml', 'requirements.txt', 'setup.cfg', 'setup.py'),
    *('resource', 'launch', 'config', 'checkpoints', NAME),
)
EXECUTABLES = {
    'depth_node', 'play_frames', 'evaluate', 'train', 'demo', 'world_robot', 'export_onnx',
}


def run(*command, cwd):
    """Run a command to its end and return what it printed."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """Return a copy of the sources, so that builds leave nothing in the tree."""
    copy = tmp_path_factory.mktemp('source') / NAME
    copy.mkdir()
    for name in PACKAGED:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, copy / name, ignore=shutil.ignore_patterns('__pycache__')
            )
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, copy)
    return copy


@pytest.fixture(scope='module')
def colcon_prefix(source):
    """Return the install prefix of a colcon build of the package."""
    run(sys.executable, '-m', 'colcon', '--log-base', 'log', 'build', cwd=source)
    return source / 'install' / NAME


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory):
    """Return the wheel that pip builds of the package, open."""
    folder = tmp_path_factory.mktemp('wheel')
    options = ('--quiet', '--no-deps', '--no-build-isolation', '--disable-pip-version-check')
    run(sys.executable, '-m', 'pip', 'wheel', *options, '-w', folder, '.', cwd=source)
    with zipfile.ZipFile(next(folder.glob('*.whl'))) as opened:
        yield opened


def entry_points(wheel):
    """Return executable -> 'module:function' as the wheel declares them."""
    name = next(name for name in wheel.namelist() if name.endswith('entry_points.txt'))
    parser = configparser.ConfigParser()
    parser.read_string(wheel.read(name).decode())
    return dict(parser['console_scripts'])


def expected_share():
    """Return the files that belong under share/depth_anything_ros."""
    patterns = ('package.xml', 'launch/*.launch.py', 'config/*', 'checkpoints/*/*')
    return {
        path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern)
    }


def test_package_xml_is_valid_and_says_what_setup_says(wheel):
    package = parse_package(str(ROOT / 'package.xml'))  # validates the maintainer's address too
    metadata = wheel.read(next(n for n in wheel.namelist() if n.endswith('METADATA'))).decode()
    assert (package.package_format, package.get_build_type()) == (3, 'ament_python')
    assert package.licenses == ['Apache-2.0']
    assert 'Apache License' in (ROOT / 'LICENSE').read_text()
    assert f'Name: {NAME}\nVersion: {package.version}\n' in metadata
    assert f'Maintainer-email: {package.maintainers[0].email}\n' in metadata


def test_colcon_takes_it_for_a_ros_package(source):
    listed = run(sys.executable, '-m', 'colcon', '--log-base', 'log', 'list', cwd=source)
    assert listed.split() == [NAME, '.', '(ros.ament_python)']


def test_colcon_installs_where_ros2_run_and_launch_look(colcon_prefix):
    executables = {path.name for path in (colcon_prefix / 'lib' / NAME).iterdir()}
    assert executables == EXECUTABLES
    assert all(os.access(colcon_prefix / 'lib' / NAME / name, os.X_OK) for name in executables)
    assert (colcon_prefix / 'share/ament_index/resource_index/packages' / NAME).exists()
    for path in expected_share():
        assert (colcon_prefix / 'share' / NAME / path).is_file(), path


def test_pip_installs_the_same_files_and_console_scripts(wheel):
    inside = {name.partition('.data/data/')[2] for name in wheel.namelist() if '.data/' in name}
    assert {f'share/{NAME}/{path}' for path in expected_share()} <= inside
    assert f'share/ament_index/resource_index/packages/{NAME}' in inside
    assert set(entry_points(wheel)) == EXECUTABLES


def test_the_wheel_holds_every_module_and_no_test(wheel):
    names = set(wheel.namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / NAME).rglob('*.py')}
    assert modules == {name for name in names if name.endswith('.py') and '.data/' not in name}


def test_every_executable_has_a_function_behind_it(wheel):
    for target in entry_points(wheel).values():
        module, function = target.split(':')
        assert callable(getattr(importlib.import_module(module), function)), target


def test_every_requirement_is_pinned_in_the_one_list(wheel):
    lines = (ROOT / 'requirements.txt').read_text().splitlines()
    listed = [line for line in lines if line and not line.startswith('#')]
    unpinned = [line for line in listed if not re.match(r'[\w-]+==[\w.]+(;|$)', line)]
    assert not unpinned
    metadata = wheel.read(next(n for n in wheel.namelist() if n.endswith('METADATA'))).decode()
    required = re.findall(r'^Requires-Dist: ([\w-]+)==', metadata, re.MULTILINE)
    assert sorted(required) == sorted(re.split('==', line)[0] for line in listed)


def test_shared_memory_profile_has_room_for_a_cloud_and_keeps_udp():
    dds = '{http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles}'
    profiles = ET.parse(ROOT / 'config' / 'fastdds_shm.xml').getroot()
    transports = {
        item.findtext(f'{dds}type'): item for item in profiles.iter(f'{dds}transport_descriptor')
    }
    assert set(transports) == {'SHM', 'UDPv4'}
    assert transports['SHM'].findtext(f'{dds}segment_size') == str(32 * 2**20)
    used = {item.text for item in profiles.find(f'.//{dds}userTransports')}
    assert used == {item.findtext(f'{dds}transport_id') for item in transports.values()}
    assert profiles.find(f'{dds}participant').get('is_default_profile') == 'true'


def test_rviz_shows_what_the_node_publishes():
    shown = yaml.safe_load((ROOT / 'config' / 'depth_anything.rviz').read_text())
    displays = shown['Visualization Manager']['Displays']
    topics = {item['Topic']['Value']: item['Class'] for item in displays if 'Topic' in item}
    assert topics == {
        '/image': 'rviz_default_plugins/Image',
        '/depth/image': 'rviz_default_plugins/Image',
        '/depth/image_color': 'rviz_default_plugins/Image',
        '/depth/points': 'rviz_default_plugins/PointCloud2',
    }
    assert 'rviz_default_plugins/TF' in {item['Class'] for item in displays}
