# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Print config/depth_anything.yaml: every parameter with its default, unit, range and meaning.

Run `python3 -m depth_anything_ros.tools.write_config > config/depth_anything.yaml` after a change
to config.py.
"""

from __future__ import annotations

import textwrap
from typing import Any

from depth_anything_ros.config import Parameter, parameters

_HEADER = """\
# Every parameter of the node with its default. Copy this file, keep the lines that you change, and
# hand the copy over with `params_file:=` (ros2 launch) or `--params-file` (ros2 run).
# Written by depth_anything_ros/tools/write_config.py from depth_anything_ros/config.py.
/**:
  ros__parameters:
"""


def config_yaml() -> str:
    """Return the parameter file of all defaults, in the format of `ros2 run --params-file`."""
    lines: list[str] = []
    open_groups: list[str] = []
    for parameter in parameters():
        *groups, leaf = parameter.name.split('.')
        indent = ' ' * (4 + 2 * len(groups))
        if groups != open_groups:
            # Groups are one level deep and never reopened: config.py nests dataclasses once.
            lines += ['', *(f'    {group}:' for group in groups)]
            open_groups = groups
        lines += textwrap.wrap(_comment(parameter), 99, initial_indent=f'{indent}# ',
                               subsequent_indent=f'{indent}# ')
        lines.append(f'{indent}{leaf}: {_literal(parameter.value)}')
    return _HEADER + '\n'.join(lines) + '\n'


def _comment(parameter: Parameter) -> str:
    facts = [parameter.unit] if parameter.unit else []
    if parameter.choices:
        facts.append('one of ' + ', '.join(parameter.choices))
    if parameter.minimum is not None and parameter.maximum is not None:
        facts.append(f'{parameter.minimum:g} to {parameter.maximum:g}')
    elif parameter.minimum is not None:
        facts.append(f'at least {parameter.minimum:g}')
    if parameter.runtime:
        facts.append('settable while running')
    return parameter.description + (f' [{"; ".join(facts)}]' if facts else '')


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        return '[' + ', '.join(map(_literal, value)) + ']'
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)  # quotes strings, and keeps the point that makes a number a double


if __name__ == '__main__':
    print(config_yaml(), end='')
