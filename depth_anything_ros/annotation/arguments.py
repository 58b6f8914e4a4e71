# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of every program that is told which cameras of a bag are meant, and of the node."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

from depth_anything_ros.annotation.calibration import read_camera_info
from depth_anything_ros.config import Config
from depth_anything_ros.errors import ConfigError
from depth_anything_ros.ros.parameter_files import load_config


class Told(NamedTuple):
    """What these arguments say.

    Attributes:
        cameras: topics of images; empty is all.
        remapped: input of the node -> topic.
        camera_info: serialised, for cameras that have none; None is none.
        config: the node's parameters.
    """

    cameras: tuple[str, ...]
    remapped: dict[str, str]
    camera_info: bytes | None
    config: Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to a program's own."""
    add = parser.add_argument
    add('--camera', action='append', default=[], metavar='TOPIC',
        help='images of this topic alone; may be repeated; default all colour and gray ones')
    add('-r', '--remap', action='append', default=[], metavar='NAME:=TOPIC',
        help='input of the node (points, scan, right/image ...) and the topic that it is')
    add('--camera-info', metavar='FILE',
        help='calibration (YAML of camera_calibration) of cameras that have none in the bag')
    add('--params-file', metavar='FILE', help="the node's parameters, as for ros2 run")
    add('-p', '--param', action='append', default=[], metavar='NAME:=VALUE',
        help='one parameter of the node')


def told(args: argparse.Namespace) -> Told:
    """Return what a user said.

    Raises:
        ConfigError: a remapping, parameter or file of parameters is wrong.
        DatasetError: the calibration cannot be read.
    """
    config, remapped = load_config(args.params_file, args.param), _remapped(args.remap)
    info = None if args.camera_info is None else read_camera_info(args.camera_info)
    return Told(tuple(args.camera), remapped, info, config)


def _remapped(rules: Sequence[str]) -> dict[str, str]:
    found = {}
    for rule in rules:
        name, is_rule, topic = rule.partition(':=')
        if not is_rule:
            raise ConfigError(f'-r {rule} is no remapping: write NAME:=TOPIC')
        found[name] = topic
    return found
