# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Two runs side by side have two domains, whatever their process ids."""

from contextlib import suppress
import socket
import subprocess
import sys

import pytest

from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.ros import domain

RESERVE = """
import os, sys
from depth_anything_ros.ros.domain import reserve_domain
os.getpid = lambda: 4242
print(reserve_domain(), flush=True)
sys.stdin.read()
"""


def test_runs_with_the_same_number_take_different_domains():
    runs = [
        subprocess.Popen([sys.executable, '-c', RESERVE], text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    try:
        taken = [int(run.stdout.readline()) for run in runs]
        assert len(set(taken)) == 3 and all(1 <= number <= 100 for number in taken)
    finally:
        for run in runs:
            run.kill()
            run.communicate()


def test_a_domain_is_given_back_with_its_process_and_all_may_be_taken(monkeypatch):
    monkeypatch.setattr(domain, '_held', [])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        for number in range(7, 101):  # the first that no other run has now
            with suppress(OSError):
                # The last of its 250 ports; 9399 of domain 7.
                other.bind(('127.0.0.1', 7400 + number * 250 + 249))
                break
        monkeypatch.setattr(domain, '_DOMAINS', range(number, number + 1))
        with pytest.raises(DepthAnythingError, match='reserved'):
            domain.reserve_domain()
    assert domain.reserve_domain() == number
    with pytest.raises(DepthAnythingError, match='reserved'):
        domain.reserve_domain()
    domain._held.pop().close()
