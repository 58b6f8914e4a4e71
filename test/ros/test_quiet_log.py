# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Log lines are bounded in number and in length."""

from depth_anything_ros.ros.quiet_log import QuietLog


class Lines:
    """A logger, and a clock that the test moves."""

    def __init__(self):
        self.lines, self.now_s = [], 1000.0
        self.log = QuietLog(self, lambda: self.now_s)

    def info(self, line):
        """Keep a line."""
        self.lines.append(line)

    warning = info


def test_an_hour_of_changes_ten_times_a_second():
    told = Lines()
    for tenth in range(36_000):
        told.now_s = 1000.0 + tenth / 10
        told.log.info('FITTED' if tenth % 2 else 'HELD', 'scale')
    # By hand: at 0, 5, 15, 35, 75, 155, 315, 635 s, then each 320 s up to 3515 s: 17 of each.
    assert len(told.lines) == 2 * 17
    assert told.lines[0] == 'scale'
    # The second of a kind came 5 s after the first; every 0.2 s one had been left out: 24.
    assert told.lines[2] == 'scale (and 24 times more since it was last said)'


def test_what_is_rare_is_always_told():
    told = Lines()
    for _ in range(20):
        told.log.warning('bad', 'text')
        told.now_s += 6.0
    assert told.lines == ['text'] * 20


def test_lines_are_clipped():
    told = Lines()
    told.log.warning('bad', 'x' * 1_000_000)
    assert len(told.lines[0]) == 499
