# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Package for colcon (ament_python) and for pip alike."""

from glob import glob
import os
from pathlib import Path
import re

from setuptools import find_packages, setup

NAME = 'depth_anything_ros'
SHARE = f'share/{NAME}'


def requirements():
    """Return section -> requirements of requirements.txt, where `# word` alone starts a section."""
    sections, current = {}, []
    for line in Path(__file__).with_name('requirements.txt').read_text().splitlines():
        if heading := re.fullmatch(r'# (\w+)', line):
            current = sections.setdefault(heading[1], [])
        elif line and not line.startswith('#'):
            current.append(line)
    return sections


def installed(pattern):
    """Return the data_files entries of the files that match, folder by folder as they lie here."""
    folders = {}
    for path in sorted(filter(os.path.isfile, glob(pattern))):
        folders.setdefault(f'{SHARE}/{os.path.dirname(path)}', []).append(path)
    return list(folders.items())


needed = requirements()

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
        *installed('checkpoints/*/*'),
    ],
    zip_safe=False,
    python_requires='>=3.10',
    install_requires=needed['network'] + needed['ros'],
    extras_require={'test': needed['test']},
    entry_points={
        'console_scripts': [
            f'depth_node = {NAME}.ros.depth_node:main',
            f'play_frames = {NAME}.tools.play_frames:main',
            f'world_robot = {NAME}.tools.world_robot:main',
            f'evaluate = {NAME}.tools.evaluate:main',
            f'train = {NAME}.training.train:main',
            f'demo = {NAME}.tools.demo:main',
            f'export_onnx = {NAME}.tools.export_onnx:main',
        ],
    },
)
