# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Memory of the node over rounds of configure, activate, deactivate and cleanup.

Needs rclpy. Usage: python3 benchmarks/lifecycle_memory.py --checkpoint bundled --rounds 1000
Prints the resident memory after round 100 (or a tenth of the rounds) and at the end, in MB, each as
the median over as many rounds: the allocator's level swings by several MB from round to round.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from statistics import median
import sys

import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.logging import LoggingSeverity
from rclpy.parameter import Parameter

from depth_anything_ros.ros.node import DepthNode


def resident_mb() -> float:
    """Return this process's resident memory in 10^6 bytes."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 1e6


def run_rounds(node: DepthNode, rounds: int, settled: int) -> tuple[float, float]:
    """Take the node through all transitions again and again.

    Args:
        node: an unconfigured node.
        rounds: how often.
        settled: the round after which memory is first read, before it caches fill; also over how
            many rounds a median is taken.

    Returns:
        Median resident memory in MB over the rounds after `settled` and over the last ones.

    Raises:
        RuntimeError: a transition did not succeed.
    """
    after_round_mb = []
    for count in range(1, rounds + 1):
        for transition in (
            node.trigger_configure,
            node.trigger_activate,
            node.trigger_deactivate,
            node.trigger_cleanup,
        ):
            if transition() is not TransitionCallbackReturn.SUCCESS:
                raise RuntimeError(f'round {count}: {transition.__name__} did not succeed')
        after_round_mb.append(resident_mb())
    return median(after_round_mb[settled : 2 * settled]), median(after_round_mb[-settled:])


def main() -> int:
    """Run the rounds on a real checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--checkpoint', default='bundled')
    parser.add_argument('--rounds', type=int, default=1000)
    options = parser.parse_args()
    rclpy.init()
    overrides = {
        'autostart': False,
        'model.checkpoint': options.checkpoint,
        'runtime.device': 'auto',
    }
    node = DepthNode(
        parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()]
    )
    node.get_logger().set_level(LoggingSeverity.WARN)
    settled = max(options.rounds // 10, 1)
    first_mb, last_mb = run_rounds(node, options.rounds, settled)
    print(f'rounds {settled + 1} to {2 * settled}: {first_mb:.1f} MB')
    print(f'the last {settled}: {last_mb:.1f} MB, grown by {last_mb - first_mb:.1f} MB')
    node.close()
    rclpy.shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
