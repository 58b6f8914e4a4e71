# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Package for colcon (ament_python) and for pip alike."""

from glob import glob
import os
from pathlib import Path

from setuptools import find_packages, setup

NAME = 'depth_anything_ros'
SHARE = f'share/{NAME}'
EXECUTABLES = (
    'depth_node', 'play_frames', 'world_robot', 'evaluate', 'annotate', 'fleet_report', 'inspect',
    'doctor', 'pack', 'label', 'train', 'demo', 'export_onnx',
)
EXTRAS = ('standalone', 'ros', 'test', 'training', 'fleet', 'docs')


def required(name):
    """Return the requirements of one of the lists in requirements/."""
    lines = (Path(__file__).parent / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def installed(pattern):
    """Return the data_files entries of the files that match, folder by folder as they lie here."""
    folders = {}
    for path in sorted(filter(os.path.isfile, glob(pattern))):
        folders.setdefault(f'{SHARE}/{os.path.dirname(path)}', []).append(path)
    return list(folders.items())


setup(
    name=NAME,
    version='0.1.0',
    description='Metric depth images and point clouds from one ordinary camera, in ROS 2',
    author='The depth_anything_ros authors',
    maintainer='The depth_anything_ros authors',
    maintainer_email='maintainers@depth-anything-ros.dev',
    license='Apache-2.0',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (SHARE, ['package.xml']),
        *installed('launch/*.launch.py'),
        *installed('config/*'),
        *installed('config/*/*'),
        *installed('checkpoints/*/*'),
    ],
    zip_safe=False,
    python_requires='>=3.10',
    # Nothing that apt brings on a ROS machine: pip would put another NumPy or OpenCV over it.
    install_requires=required('network'),
    extras_require={name: required(name) for name in EXTRAS},
    entry_points={
        'console_scripts': [
            f'{name} = {NAME}.tools.programs:{name}' for name in EXECUTABLES
        ],
    },
)
