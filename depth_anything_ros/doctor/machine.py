# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is installed on this machine, asked in processes of their own: some of it crashes."""

from __future__ import annotations

import json
import os
from pathlib import Path
import subprocess
import sys
from typing import Any
import xml.etree.ElementTree as ET

from depth_anything_ros.config import Config, parameters
from depth_anything_ros.doctor.facts import Machine, Probe, SharedMemory
from depth_anything_ros.errors import one_line
from depth_anything_ros.ros.shared_memory import PROFILE_VARIABLES, remove_dead_segments

_PROBE = 'depth_anything_ros.doctor.probe'
_PATIENCE_S = 120.0  # for an answer; PyTorch takes seconds, and a download minutes
_DOWNLOAD_S = 3600.0
_VARIABLES = (
    'ROS_DISTRO', 'ROS_DOMAIN_ID', 'RMW_IMPLEMENTATION', 'ROS_LOCALHOST_ONLY',
    'ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_STATIC_PEERS', 'ROS_DISCOVERY_SERVER', 'CYCLONEDDS_URI',
    'ZENOH_SESSION_CONFIG_URI', 'ROS_SECURITY_ENABLE',
)
_SHM = Path('/dev/shm')
_NAMESPACE = '{http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles}'


class Question:
    """A question that is being answered beside all else."""

    def __init__(self, name: str, asked: dict[str, Any] | None = None) -> None:
        """Ask."""
        self._patience_s = _DOWNLOAD_S if (asked or {}).get('download') else _PATIENCE_S
        self._process = subprocess.Popen(
            [sys.executable, '-m', _PROBE, name, json.dumps(asked or {})],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors='replace',
        )

    def answer(self) -> Probe:
        """Wait for the answer; a crash is one too."""
        try:
            output, errors = self._process.communicate(timeout=self._patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            return Probe(error=f'no answer within {self._patience_s:.0f} s')
        if self._process.returncode == 0:
            values = json.loads(output.splitlines()[-1])
            error = values.pop('error', '')
            return Probe(values, error)
        lines = [line for line in errors.splitlines() if line.strip()]
        why = lines[-1] if lines else f'it ended with {self._process.returncode}'
        return Probe(error=one_line(why.strip(), 200))


def questions(config: Config, download: bool) -> dict[str, Question]:
    """Ask all but `ros`, which has to be known before anything of ROS is imported."""
    defaults = {each.name: each.value for each in parameters()}
    changed = {
        each.name: each.value
        for each in parameters(config)
        if each.name.startswith(('model.', 'runtime.')) and each.value != defaults[each.name]
    }
    asked = {'parameters': changed, 'download': download}
    return {
        'packages': Question('packages'),
        'onnxruntime': Question('onnxruntime'),
        'openvino': Question('openvino'),
        'network': Question('network', asked),
    }


def machine_facts(
    config: Config, probes: dict[str, Probe], environment: dict[str, str]
) -> Machine:
    """Put together what is known.

    Args:
        config: the node's parameters.
        probes: answers by name.
        environment: as it was when the doctor was called.
    """
    return Machine(
        sys.executable,
        (sys.version_info.major, sys.version_info.minor),
        probes,
        config,
        {name: environment[name] for name in _VARIABLES if environment.get(name)},
        _shared_memory(environment),
    )


def segment_bytes(profile: Path) -> int:
    """Return the segment of shared memory that a profile of Fast DDS gives; 0 for none."""
    try:
        root = ET.parse(profile).getroot()
    except (OSError, ET.ParseError, ValueError):
        return 0
    sizes = [
        int(each.findtext(f'{_NAMESPACE}segment_size') or 0)
        for each in root.iter(f'{_NAMESPACE}transport_descriptor')
        if (each.findtext(f'{_NAMESPACE}type') or '').strip() == 'SHM'
    ]
    return max(sizes, default=0)


def _shared_memory(environment: dict[str, str]) -> SharedMemory:
    profile = next((environment[v] for v in PROFILE_VARIABLES if environment.get(v)), '')
    try:
        room = os.statvfs(_SHM)
        size, free = room.f_frsize * room.f_blocks, room.f_frsize * room.f_bavail
    except OSError:
        size = free = 0
    dead = remove_dead_segments(_SHM, remove=False)
    return SharedMemory(profile, segment_bytes(Path(profile)) if profile else 0, size, free, dead)
