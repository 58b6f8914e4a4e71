# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of every program whose work may go to the workers of a Ray cluster."""

from __future__ import annotations

import argparse

from depth_anything_ros.errors import ConfigError


def count(text: str) -> int:
    """Return a number of workers, or of what each has; argparse names this function in its line.

    Raises:
        ValueError: it is none.
    """
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to a program's own."""
    add = parser.add_argument
    add('--engine', choices=('local', 'ray'), default='local',
        help='local: in this process; ray: on the workers of a Ray cluster (docs/fleet.md)')
    add('--address', metavar='HOST:PORT',
        help='Ray cluster; default: what RAY_ADDRESS names, or a new one on this machine')
    add('--workers', type=count, metavar='N',
        help='workers of --engine ray; default as many as there is room for')
    add('--cpus-per-worker', type=count, metavar='N',
        help='cores that each of them asks for and uses; default 1')


def ray_of(args: argparse.Namespace) -> tuple[str | None, int | None, int] | None:
    """Return what was said of Ray, None where the work is to be done in this process.

    Returns:
        Address, number of workers and cores of each, as RayWorkers takes them.

    Raises:
        ConfigError: what is for Ray alone was said to the other engine.
    """
    if args.engine == 'ray':
        return args.address, args.workers, args.cpus_per_worker or 1
    if any(said is not None for said in (args.address, args.workers, args.cpus_per_worker)):
        raise ConfigError('--address, --workers and --cpus-per-worker are for --engine ray')
    return None
