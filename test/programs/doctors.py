# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real doctor in as many processes as are asked for, which share the seconds of its imports.

doctors.py AT_ONCE reads a line of JSON for each: [file for the output, environment, arguments ...].
A process is forked for it, whose exit code is written as one line of JSON: [file, code].
"""

import json
import os
from pathlib import Path
import sys
import traceback

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rclpy.serialization import deserialize_message  # noqa: E402

from depth_anything_ros.doctor import listening, watching  # noqa: E402, F401
from depth_anything_ros.tools import doctor  # noqa: E402
import fake_tf2  # noqa: E402


def with_tf():
    """Let the doctor read TF where tf2_msgs is not installed."""
    if listening.TFMessage is None:
        listening.TFMessage = fake_tf2.ON_TF
        listening.transforms_in = lambda data: [deserialize_message(data, fake_tf2.ON_TF)]


def examine(file, environment, *arguments):
    """Be the doctor, and end with its exit code."""
    code = 70
    try:
        for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
            name = {0: os.devnull, 1: file, 2: f'{file}.log'}[number]
            os.dup2(os.open(name, mode | os.O_CREAT, 0o600), number)
        os.environ.update(environment)
        code = doctor.main(arguments)
        sys.stdout.flush()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main(at_once):
    """Fork a doctor for each line, so many at once, and say how each ended."""
    with_tf()
    files = {}

    def until_at_most(count):
        while len(files) > count:
            pid, status = os.wait()
            print(json.dumps([files.pop(pid), os.waitstatus_to_exitcode(status)]), flush=True)

    for line in sys.stdin:
        until_at_most(at_once - 1)
        request = json.loads(line)
        if (pid := os.fork()) == 0:
            examine(*request)
        files[pid] = request[0]
    until_at_most(0)


if __name__ == '__main__':
    main(int(sys.argv[1]))
