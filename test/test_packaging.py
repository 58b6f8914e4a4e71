# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What pip and colcon make of the package, and what lies in it beside the Python code."""

from __future__ import annotations

import configparser
import importlib
import importlib.metadata
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile

from catkin_pkg.package import parse_package
from packaging.requirements import Requirement
import pytest
import yaml

from depth_anything_ros.tools import programs

ROOT = Path(__file__).resolve().parents[1]
NAME = 'depth_anything_ros'
PACKAGED = (
    *('LICENSE', 'package.xml', 'pyproject.toml', 'setup.cfg', 'setup.py'),
    *('requirements', 'resource', 'launch', 'config', 'checkpoints', NAME),
)
EXECUTABLES = {
    'depth_node', 'play_frames', 'evaluate', 'annotate', 'fleet_report', 'inspect', 'train', 'demo',
    'world_robot', 'export_onnx', 'doctor', 'pack', 'label',
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
    patterns = ('package.xml', 'launch/*.launch.py', 'config/*', 'config/*/*', 'checkpoints/*/*')
    return {
        path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern)
        if path.is_file()
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


def test_every_executable_has_a_function_behind_it(wheel, monkeypatch):
    started = []
    monkeypatch.setattr(programs, 'import_module', lambda name: started.append(name) or Program)
    for name, target in entry_points(wheel).items():
        assert target == f'{NAME}.tools.programs:{name}'
        assert getattr(programs, name)() == 0
        assert callable(importlib.import_module(started[-1]).main), target
    assert len(set(started)) == len(EXECUTABLES)


class Program:
    """A module with a main()."""

    @staticmethod
    def main():
        """Do nothing, well."""
        return 0


def lines_of(name):
    """Return the lines of a list in requirements/, comments and options (-r) left out."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    stripped = [line.partition('#')[0].strip() for line in lines]
    return [line for line in stripped if line and not line.startswith('-')]


LISTS = ('network', 'standalone', 'ros', 'test', 'training', 'fleet', 'docs')
LISTED = {name: [Requirement(line) for line in lines_of(name)] for name in LISTS}
PINS = [Requirement(line) for line in lines_of('constraints')]


def test_pip_is_told_ranges_and_nothing_that_apt_brings_on_a_robot(wheel):
    metadata = wheel.read(next(n for n in wheel.namelist() if n.endswith('METADATA'))).decode()
    told = [Requirement(x) for x in re.findall(r'^Requires-Dist: (.*)$', metadata, re.MULTILINE)]
    assert not [str(x) for x in told if '==' in str(x.specifier)]
    always = {x.name for x in told if x.marker is None or 'extra' not in str(x.marker)}
    assert always == {x.name for x in LISTED['network']}
    assert not [name for name in always if name.startswith(('ros-', 'opencv'))]
    assert not always & {'numpy', 'scipy', 'rich', 'pyyaml'}
    extras = {name: {x.name for x in listed} for name, listed in LISTED.items()}
    for extra in LISTS[1:]:
        of_extra = {x.name for x in told if f'extra == "{extra}"' in str(x.marker)}
        assert of_extra == extras[extra]


@pytest.mark.parametrize('python', ['3.10', '3.11', '3.12', '3.13'])
def test_every_requirement_has_one_pin_inside_its_range(python):
    surroundings = {'python_version': python, 'python_full_version': f'{python}.0'}
    valid = [pin for pin in PINS if pin.marker is None or pin.marker.evaluate(surroundings)]
    pins = {}
    for pin in valid:
        (only,) = pin.specifier
        assert only.operator == '==' and pin.name not in pins, pin
        pins[pin.name] = only.version
    requirements = [x for listed in LISTED.values() for x in listed]
    assert {x.name for x in requirements} == set(pins)
    outside = [str(x) for x in requirements if not x.specifier.contains(pins[x.name])]
    assert not outside


def test_nothing_that_pip_brings_wants_another_numpy_than_jazzys():
    # Installed are the pins: the newest, so what an unpinned pip would take today.
    robot = {'python_version': '3.12', 'python_full_version': '3.12.3', 'extra': ''}
    names, wants = [x.name for x in LISTED['network']], {}
    for name in names:
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of another Python, or of a GPU
        for requirement in map(Requirement, needed):
            if requirement.marker is None or requirement.marker.evaluate(robot):
                if requirement.name == 'numpy' and not requirement.specifier.contains('1.26.4'):
                    wants[name] = str(requirement)
                elif requirement.name not in names:
                    names.append(requirement.name)
    assert 'onnx' in names and 'tokenizers' in names and not wants


def test_a_robots_numpy_stays_where_cv_bridge_is_built_for_it():
    numpy = next(x for x in map(Requirement, lines_of('robot')) if x.name == 'numpy')
    kept = {python: numpy.marker.evaluate({'python_version': python})
            for python in ('3.10', '3.12', '3.13', '3.14')}  # Humble, Jazzy and Kilted, later ones
    assert kept == {'3.10': True, '3.12': True, '3.13': False, '3.14': False}
    assert numpy.specifier.contains('1.26.4') and not numpy.specifier.contains('2.0.0')


def test_the_robots_line_of_the_docs_installs_the_robots_list():
    line = 'pip install -r src/depth_anything_ros/requirements/robot.txt'
    for page in ('README.md', 'docs/troubleshooting.md'):
        assert line in (ROOT / page).read_text(), page
    assert '-r network.txt' in (ROOT / 'requirements' / 'robot.txt').read_text()
    assert {'torch', 'onnx', 'onnxruntime', 'openvino'} <= {x.name for x in LISTED['network']}


def test_apt_brings_on_a_robot_what_pip_brings_elsewhere():
    keys = {
        'numpy': 'python3-numpy', 'scipy': 'python3-scipy', 'rich': 'python3-rich',
        'opencv-python-headless': 'python3-opencv', 'pyyaml': 'python3-yaml',
        'pillow': 'python3-pil',
    }
    depends = {item.name for item in parse_package(str(ROOT / 'package.xml')).exec_depends}
    assert {keys[x.name] for x in LISTED['standalone']} <= depends


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
