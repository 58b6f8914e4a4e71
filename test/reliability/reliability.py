# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a robot does to a node without meaning harm; the last line of output is one JSON object.

    python test/reliability/reliability.py kill --count 200     # while starting, exporting, running
    python test/reliability/reliability.py change --minutes 10  # sizes, lidars, subscribers
    python test/reliability/reliability.py parameters           # each at both ends of its range

The exit code says whether all was well.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
import itertools
import json
import os
from pathlib import Path
import random
import shutil
import sys
import tempfile
import time
from typing import Any

from rcl_interfaces.srv import SetParameters
import rclpy
from rclpy.parameter import Parameter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from depth_anything_ros.config import parameters  # noqa: E402
from mutations import BASE_NS, good, Rig  # noqa: E402
from target import Memory, NodeFailure, private_domain, Target, UNSEEN  # noqa: E402

STEP_NS = 50_000_000
REAL = ['-m', 'depth_anything_ros.ros.depth_node']


def stamps() -> Iterator[int]:
    """Give stamps in nanoseconds, each later than the one before."""
    return itertools.count(BASE_NS, STEP_NS)


# Kills ------------------------------------------------------------------------------------------


def shared_memory_mib() -> float:
    """Return what Fast DDS keeps in shared memory on this machine."""
    sizes = []
    for file in Path('/dev/shm').glob('fast*'):
        try:
            sizes.append(file.stat().st_blocks * 512)
        except FileNotFoundError:  # its process has just ended
            continue
    return sum(sizes) / 2**20


def kill(target: Target, options: argparse.Namespace) -> dict[str, Any]:
    """Kill the node while it starts, while it exports its network, and while it runs, in turns.

    Every start that is not killed must end in a good frame, whatever the kills before it have left
    in the cache and in shared memory.
    """
    cache = Path(os.environ['XDG_CACHE_HOME'])
    rng, stamp = random.Random(options.seed), stamps()
    begin = time.monotonic()
    target.start()
    target.good_frame(next(stamp))
    start_s = time.monotonic() - begin
    target.kill()
    before_mib, kills, half_written, starts = shared_memory_mib(), Counter[str](), 0, 0
    most_mib = before_mib
    while kills.total() < options.count:
        target.launch()
        time.sleep(rng.uniform(0.0, start_s))  # chance is what is tested here
        target.kill()
        kills['starting'] += 1
        shutil.rmtree(cache)
        target.launch()
        target.spin_until(lambda: any(cache.rglob('*.*')), 4 * start_s)
        time.sleep(rng.uniform(0.0, 1.0))
        half_written += any(cache.rglob('*.part'))
        target.kill()
        kills['exporting'] += 1
        target.start()
        target.good_frame(next(stamp))
        starts += 1
        for _ in range(rng.randrange(5)):
            target.answered(next(stamp))
        target.send(good('points', next(stamp)))
        target.send(good('image', next(stamp)))
        time.sleep(rng.uniform(0.0, 0.05))
        target.kill()
        kills['running'] += 1
        most_mib = max(most_mib, shared_memory_mib())
        print(f'{kills.total()} kills, {starts} starts, shared memory {most_mib:.0f} MiB',
              flush=True)
    target.start()
    target.good_frame(next(stamp))
    target.stop()
    return {
        'kills': dict(kills), 'while_writing': half_written, 'starts': starts + 1,
        'cache_files': sorted(path.suffix for path in cache.rglob('*') if path.is_file()),
        'shared_memory_before_mib': round(before_mib), 'shared_memory_most_mib': round(most_mib),
        'shared_memory_after_mib': round(shared_memory_mib()),
    }


# Changes ----------------------------------------------------------------------------------------

SIZES = ((84, 56), (168, 112), (112, 112), (320, 240), (640, 480), (641, 481), (100, 75))
LIDARS = ((8, 24), (4, 60), (16, 100), (64, 500))


def change(target: Target, options: argparse.Namespace) -> dict[str, Any]:
    """Change image sizes, lidars and who subscribes; every step a good frame must come out."""
    target.start()
    rng, stamp = random.Random(options.seed), stamps()
    guests: list[Any] = []
    steps = subscriptions = 0
    memory = Memory()
    begin = time.monotonic()
    end, settled = begin + 60 * options.minutes, begin + 6 * options.minutes
    while time.monotonic() < end:
        rig = Rig(*rng.choice(SIZES), *rng.choice(LIDARS))
        if rng.random() < 0.5:
            kind = rng.choice(list(UNSEEN))
            guests.append(target.node.create_subscription(UNSEEN[kind], kind, len, 1, raw=True))
            subscriptions += 1
        if len(guests) > rng.randrange(6):
            target.node.destroy_subscription(guests.pop(rng.randrange(len(guests))))
        if rng.random() < 0.2:
            target.send(good('scan', next(stamp)))
        for _ in range(rng.randrange(3)):  # a lidar alone, a camera alone
            target.send(good(rng.choice(('points', 'image', 'camera_info')), next(stamp), rig))
        target.good_frame(next(stamp), rig)
        steps += 1
        memory.note(target.resident_mib(), time.monotonic() > settled)
    target.stop()
    return {
        'minutes': options.minutes, 'steps': steps, 'good_frames': steps,
        'subscriptions': subscriptions, 'good_frames_repeated': target.repeats,
        **memory.report(),
    }


# Parameters -------------------------------------------------------------------------------------


def ends(parameter: Any) -> list[Any]:
    """Return the values at the ends of a parameter's range."""
    if isinstance(parameter.value, bool):
        return [False, True]
    if isinstance(parameter.value, str):
        return list(parameter.choices)
    kind = type(parameter.value)
    low, high = parameter.minimum, parameter.maximum
    return [kind(-1e308 if low is None else low), kind(1e308 if high is None else high)]


def sweep(target: Target, options: argparse.Namespace) -> dict[str, Any]:
    """Set every runtime parameter to both ends on the living node, and back."""
    target.start()
    stamp = stamps()
    client = target.node.create_client(SetParameters, '/depth_anything/set_parameters')
    own = target.parameters

    def put(name: str, value: Any) -> bool:
        request = SetParameters.Request()
        request.parameters = [Parameter(name, value=value).to_parameter_msg()]
        future = client.call_async(request)
        target.wait(future.done, 30.0, f'set_parameters of {name} to {value} was not answered')
        return bool(future.result().results[0].successful)

    target.wait(client.service_is_ready, 30.0, 'there is no set_parameters service')
    target.good_frame(next(stamp))
    taken, refused, silent = 0, [], []
    for parameter in parameters():
        if not parameter.runtime:
            continue
        for value in ends(parameter):
            if not put(parameter.name, value):
                refused.append(f'{parameter.name} {value}')
                continue
            taken += 1
            # Some leave nothing to publish; what matters is that the node is there afterwards.
            if not any(target.answered(next(stamp)) for _ in range(3)):
                silent.append(f'{parameter.name} {value}')
            if not put(parameter.name, own.get(parameter.name, parameter.value)):
                raise NodeFailure('wrong', f'{parameter.name} cannot be set back')
            target.good_frame(next(stamp))
    target.stop()
    return {'settings': taken, 'refused': refused, 'without_output': silent}


def main() -> int:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    commands = parser.add_subparsers(dest='command', required=True)
    killing = commands.add_parser('kill', help=(kill.__doc__ or '').split('\n')[0])
    killing.add_argument('--count', type=int, default=200)
    killing.add_argument('--backend', default='auto', help='as runtime.backend')
    killing.set_defaults(run=kill)
    changing = commands.add_parser('change', help=change.__doc__)
    changing.add_argument('--minutes', type=float, default=10.0)
    changing.set_defaults(run=change)
    commands.add_parser('parameters', help=sweep.__doc__).set_defaults(run=sweep)
    for command in commands.choices.values():
        command.add_argument('--seed', type=int, default=1)
    options = parser.parse_args()
    private_domain()
    rclpy.init()
    failure: NodeFailure | None = None
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        os.environ['XDG_CACHE_HOME'] = str(Path(name, 'cache'))
        log = Path(name, 'node.log')
        made = Target(log)
        if options.command == 'kill':  # a network that is exported
            made = Target(log, command=REAL, exact=False, model__checkpoint='bundled',
                          runtime__backend=options.backend)
        with made as target:
            try:
                report = options.run(target, options)
            except NodeFailure as error:
                failure = error
                sys.stdout.write(log.read_text(errors='replace')[-5000:])
    rclpy.try_shutdown()
    found = {'death': 0, 'hang': 0, 'wrong': 0}
    if failure is not None:
        found[failure.kind] = 1
    print(json.dumps({
        'command': options.command, 'seed': options.seed, **report,
        'deaths': found['death'], 'hangs': found['hang'], 'wrong': found['wrong'],
        'failure': None if failure is None else str(failure),
    }))
    return int(failure is not None)


if __name__ == '__main__':
    sys.exit(main())
