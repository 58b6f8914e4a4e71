# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's parameters where there is no node: its YAML files, and `name:=value`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from depth_anything_ros.config import Config, with_values
from depth_anything_ros.errors import ConfigError, reason

_NODES = ('/**', '/**/depth_anything', 'depth_anything', '/depth_anything')  # the last one wins
_OF_RCLPY = ('use_sim_time', 'start_type_description_service', 'qos_overrides')


def load_config(path: str | None, assignments: list[str]) -> Config:
    """Return the parameters of a file, changed by assignments.

    Args:
        path: YAML as `--params-file` takes it; None is no file.
        assignments: `name:=value` as `-p` takes them.

    Raises:
        ConfigError: there is no such file, it is none of parameters, or a value is wrong.
    """
    values = {} if path is None else dict(_of_file(Path(path)))
    for assignment in assignments:
        name, is_one, text = assignment.partition(':=')
        if not is_one:
            raise ConfigError(f'-p {assignment} is no parameter: write NAME:=VALUE')
        values[name] = _yaml(text, f'-p {assignment}')
    return with_values(
        Config(), {k: v for k, v in values.items() if k.partition('.')[0] not in _OF_RCLPY}
    )


def _of_file(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        text = path.expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path} cannot be read ({reason(error)}): name a YAML file') from error
    nodes = _yaml(text, str(path))
    if not isinstance(nodes, dict) or not any(node in nodes for node in _NODES):
        raise ConfigError(
            f'{path} has no parameters of depth_anything: begin as config/depth_anything.yaml does'
        )
    for node in _NODES:
        section = nodes.get(node)
        if isinstance(section, dict) and isinstance(section.get('ros__parameters'), dict):
            yield from _flat('', section['ros__parameters'])


def _flat(prefix: str, values: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(f'{prefix}{name}.', value)
        else:
            yield f'{prefix}{name}', value


def _yaml(text: str, what: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f'{what} is no YAML ({reason(error)})') from error
