# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Say why nothing arrives, or no metres: look at machine, robot and node, with a cure each.

Takes the node's own arguments (-r, -p, --params-file, --ros-args ...), and looks at what a node
that is started with them would subscribe to; where one runs, at what that one does.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import json
import os
import sys

from rich.console import Console

from depth_anything_ros.config import Config
from depth_anything_ros.doctor import machine
from depth_anything_ros.doctor.facts import Graph
from depth_anything_ros.doctor.findings import Finding, is_healthy
from depth_anything_ros.doctor.machine_checks import machine_findings, rmw
from depth_anything_ros.doctor.report import as_json, print_findings
from depth_anything_ros.errors import ConfigError, DepthAnythingError, one_line
from depth_anything_ros.ros.shared_memory import profile, PROFILE_VARIABLES

_ROS_ARGS, _END = '--ros-args', '--'


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Returns:
        0 where nothing failed, 1 where a line did, 2 after one line on a mistake of the user.
    """
    own, of_node = _split(list(sys.argv[1:] if argv is None else argv))
    options = _parser().parse_args(own)
    for flag in ('-r', '-p'):
        for each in getattr(options, {'-r': 'remap', '-p': 'param'}[flag]):
            of_node += [flag, each]
    if options.params_file is not None:
        of_node += ['--params-file', options.params_file]
    printed = sys.stdout
    if options.json:  # middlewares print what they please
        sys.stdout.flush()
        printed = os.fdopen(os.dup(1), 'w')
        os.dup2(2, 1)
    try:
        findings = _examine(options, [_ROS_ARGS, *of_node])
    except DepthAnythingError as error:
        print(f'doctor: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if options.json:
        print(json.dumps(as_json(findings)), file=printed, flush=True)
    else:
        print_findings(Console(), findings, 'depth_anything_ros')
    return 0 if is_healthy(findings) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='doctor', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--json', action='store_true', help='print one line of JSON in place of the table')
    add('--seconds', type=_seconds, default=5.0,
        help='how long to wait for what does not come (default 5)')
    add('--only', choices=('machine', 'graph'), help='look at one of the two alone')
    add('--camera', default='', metavar='NAME', help='one of several; default the first')
    add('--download', action='store_true', help='fetch the checkpoint where it is not here')
    add('-r', '--remap', action='append', default=[], metavar='NAME:=TOPIC',
        help='as for the node; repeatable')
    add('-p', '--param', action='append', default=[], metavar='NAME:=VALUE',
        help='as for the node; repeatable')
    add('--params-file', metavar='FILE', help='as for the node')
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError('must be 0.1 to 3600')
    return seconds


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Return the arguments of the program, and those between --ros-args and --."""
    own: list[str] = []
    of_node: list[str] = []
    inside = False
    for each in argv:
        if each == _ROS_ARGS:
            inside = True
        elif each == _END and inside:
            inside = False
        else:
            (of_node if inside else own).append(each)
    return own, of_node


def _examine(options: argparse.Namespace, of_node: list[str]) -> list[Finding]:
    environment = dict(os.environ)
    probes = {'ros': machine.Question('ros').answer()}
    config, graph = Config(), None
    if not probes['ros'].error:
        config, graph = _watch(options, of_node)
    if options.only != 'graph':  # now that the parameters are known of a node that runs
        asked = machine.questions(config, options.download)
        probes |= {name: question.answer() for name, question in asked.items()}
    facts = machine.machine_facts(config, probes, environment)
    if probes['ros'].error and options.only == 'graph':
        return [rmw(facts)]
    findings = [] if options.only == 'graph' else machine_findings(facts, graph)
    return findings if graph is None else [*findings, *_of_graph(graph)]


def _of_graph(graph: Graph) -> list[Finding]:
    from depth_anything_ros.doctor.image_checks import image_findings
    from depth_anything_ros.doctor.node_checks import node_findings
    from depth_anything_ros.doctor.sensor_checks import sensor_findings

    return [*image_findings(graph), *sensor_findings(graph), *node_findings(graph)]


def _watch(options: argparse.Namespace, of_node: list[str]) -> tuple[Config, Graph | None]:
    """Return the node's parameters, and what is seen of the robot."""
    _make_room()
    import rclpy
    from rclpy._rclpy_pybind11 import RCLError
    from rclpy.signals import SignalHandlerOptions

    from depth_anything_ros.doctor.asked import asked_config

    try:
        rclpy.init(args=of_node, signal_handler_options=SignalHandlerOptions.NO)
        config = asked_config()
    except RCLError as error:
        raise ConfigError(one_line(str(error).splitlines()[0])) from error
    try:
        graph = None if options.only == 'machine' else _graph(options)
        return config if graph is None else graph.config, graph
    finally:
        rclpy.try_shutdown()


def _graph(options: argparse.Namespace) -> Graph | None:
    """Watch the robot; None where this machine lacks what that takes, as its lines will say."""
    try:  # they take PyTorch and OpenCV along
        from depth_anything_ros.doctor.view import asked_view
        from depth_anything_ros.doctor.watching import watch
    except ImportError:
        if options.only == 'graph':
            raise
        return None
    return watch(asked_view(options.camera), options.seconds)


def _make_room() -> None:
    """Give this process the shared memory that images need, whatever the node will have.

    Else what its driver's images lack could not be told from what is lost here.
    """
    if not any(os.environ.get(name) for name in PROFILE_VARIABLES):
        os.environ.update(dict.fromkeys(PROFILE_VARIABLES, str(profile())))


if __name__ == '__main__':
    sys.exit(main())
