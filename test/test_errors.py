# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What came from outside is quoted on one line of bounded length."""

import pytest

from depth_anything_ros.errors import BadFrameError, one_line


@pytest.mark.parametrize('length', [0, 1, 500, 501, 1_000_000])
def test_long_text_loses_its_middle(length):
    text = 'ab' * (length // 2) + 'z' * (length % 2)
    told = one_line(text)
    assert len(told) == min(length, 499 if length > 500 else 500)
    assert told[:200] == text[:200] and told[-200:] == text[-200:]


def test_line_ends_and_controls_become_spaces():
    assert one_line('a\nb\r\x1b[31mc\x00\u2028d') == 'a b  [31mc  d'


def test_a_bad_frame_quotes_no_more_than_that():
    assert len(str(BadFrameError('reason', 'x' * 1_000_000))) <= 500
