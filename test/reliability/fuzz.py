# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Attack the node over DDS with broken messages; after every 25 a good frame must come out.

    python test/reliability/fuzz.py --count 100000 --seed 1 --transport raw

Each message follows from seed and index, so --from plays a failure again. A node that ends, hangs
or answers wrongly is told, its last messages are written to a file, and a new one takes its place.
The last line of output is one JSON object; the exit code says whether all was well.
"""

from __future__ import annotations

import argparse
from collections import Counter, deque
import json
from pathlib import Path
import pickle
import sys
import time
from typing import Any

import rclpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mutations import (  # noqa: E402
    BASE_NS,
    good,
    huge,
    INDEX_NS,
    Message,
    mutated,
    Rig,
    stamp_of,
)
from target import Memory, NodeFailure, private_domain, Target  # noqa: E402

BATCH = 25
SETTLED = 1000  # messages after which memory is first read
ANSWER_S = 0.05  # for the good image beside a broken message; it paces the attack, no more
SLOTS = 40  # more than a subscription of the node queues
BURSTS = 3
LARGEST = Rig(width=480, height=600)  # that the node takes; the attack holds far larger ones
OUTPUT_SLOTS = 6  # more than a publisher of the node keeps
GOOD_NS = 1_000_000  # from the stamp of a batch's last message to that of the good frame


def companions(message: Message, stamp_ns: int, image: str) -> list[Message]:
    """Return the good messages without which nobody would look at a broken one.

    An image asks for its camera and for its points, so each broken one of these gets an image. A
    whole good frame beside every message would be a fit of metres each: four times the time.
    """
    kinds = []
    if message.kind in ('image', 'compressed') and message.well_formed:
        kinds = ['points', 'camera_info']
    elif message.kind == 'camera_info':
        few = message.well_formed and stamp_ns // INDEX_NS % 3 == 0
        kinds = ['points', image] if few else [image]
    elif message.kind in ('points', 'scan'):
        kinds = ['camera_info', image]
    return [good(kind, stamp_ns) for kind in kinds]


def attack(target: Target, message: Message, stamp_ns: int) -> None:
    """Send a broken message among good ones of its stamp."""
    image = target.image
    beside = companions(message, stamp_ns, image)
    if message.kind == image:
        for each in beside:
            target.send(each)
        target.send(message)
        target.spin_until(lambda: stamp_ns in target.state, 0.002)
    else:
        target.send(message)
        for each in beside:
            target.send(each)
        target.spin_until(lambda: stamp_ns in target.state, ANSWER_S)
    target.check_alive()


def fill(target: Target, options: argparse.Namespace) -> None:
    """Send the largest messages of the attack: the middleware keeps room for the largest seen.

    Fast DDS never gives back what a slot of a subscription's queue has once held. Without this,
    memory would grow until chance has put the largest into each. The same goes for the slots of the
    node's outputs, which are as large as the image. A run too short to compare memory needs none.
    """
    if options.count <= SETTLED:
        return
    for kind in target.kinds:
        for _ in range(BURSTS):  # one slot serves all that come one by one
            for message in [huge(kind, BASE_NS)] * SLOTS:
                target.send(message)
            target.spin_until(lambda: False, 0.5)
    for stamp_ns in range(BASE_NS, BASE_NS + OUTPUT_SLOTS):
        target.answered(stamp_ns, LARGEST, 30.0)


def run(target: Target, options: argparse.Namespace) -> dict[str, Any]:
    """Attack, and return the report."""
    kinds: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    recent: deque[tuple[int, Message]] = deque(maxlen=BATCH)
    memory = Memory()
    slowest = (0.0, 0)
    sent = good_frames = 0
    target.start()
    fill(target, options)
    start = last_told = time.monotonic()
    index, end = options.first, options.first + options.count
    while index < end and len(failures) < options.failures:
        try:
            batch_end = min(index + BATCH, end)
            while index < batch_end:
                stamp_ns = stamp_of(index)
                message = mutated(options.seed, index, target.image)
                recent.append((index, message))
                index, sent = index + 1, sent + 1
                kinds[message.kind] += 1
                attack(target, message, stamp_ns)
            asked = time.monotonic()
            target.good_frame(stamp_of(index - 1) + GOOD_NS)
            slowest = max(slowest, (time.monotonic() - asked, index - 1))
            good_frames += 1
            memory.note(target.resident_mib(), sent >= SETTLED)
        except NodeFailure as failure:
            failures.append({'kind': failure.kind, 'index': index - 1, 'text': str(failure)})
            tell_failure(target, failure, list(recent), options)
            target.kill()
            target.start()
            fill(target, options)
            memory = Memory()
        if time.monotonic() - last_told > 10:
            last_told = time.monotonic()
            print(f'{sent} messages, {sent / (last_told - start):.0f}/s, '
                  f'node {memory.last_mib:.0f} MiB, {len(failures)} failures', flush=True)
    duration_s = time.monotonic() - start
    counts = {k: int(v) for k, v in target.counts.items() if k.startswith(('drop', 'incomp'))}
    target.stop()
    found = Counter(each['kind'] for each in failures)
    return {
        'seed': options.seed, 'transport': options.transport, 'first': options.first,
        'messages': sent, 'by_kind': dict(kinds), 'good_frames': good_frames,
        'good_frames_repeated': target.repeats,
        'slowest_good_frame_s': round(slowest[0], 2), 'slowest_good_frame_at': slowest[1],
        'images_examined': target.received - counts.get('dropped_superseded', 0),
        'deaths': found['death'], 'hangs': found['hang'], 'wrong': found['wrong'],
        'duration_s': round(duration_s, 1), 'messages_per_s': round(sent / duration_s, 1),
        **memory.report(), 'counts': counts, 'failures': failures,
    }


def tell_failure(
    target: Target,
    failure: NodeFailure,
    recent: list[tuple[int, Message]],
    options: argparse.Namespace,
) -> None:
    """Write the last messages to a file, and say how to send them again."""
    target.where_it_hangs()
    (first, _), (last, _) = recent[0], recent[-1]
    dump = options.dump / f'{options.seed}_{options.transport}_{last}.pickle'
    dump.write_bytes(pickle.dumps([(i, m.kind, m.what, m.data) for i, m in recent]))
    print(f'{failure.kind} at {last}: {failure}', f'    messages: {dump}',
          f'    again: fuzz.py --seed {options.seed} --transport {options.transport} '
          f'--from {first} --count {last - first + 1}', sep='\n', flush=True)


def main() -> int:
    """Attack, report, and return 0 where the node stood all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--count', type=int, default=100_000, help='of messages')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--transport', choices=('raw', 'compressed'), default='raw')
    parser.add_argument('--from', type=int, default=0, dest='first', metavar='INDEX',
                        help='of the first message')
    parser.add_argument('--failures', type=int, default=20, help='after so many it gives up')
    parser.add_argument('--patience', type=float, default=30.0, help='seconds for a good frame')
    parser.add_argument('--memory', type=float, default=30.0,
                        help=f'MiB by which the node may grow after {SETTLED} messages')
    parser.add_argument('--dump', type=Path, default=Path('build', 'fuzz'),
                        help='folder for the log and for what went before a failure')
    options = parser.parse_args()
    options.dump.mkdir(parents=True, exist_ok=True)
    log = options.dump / f'node_{options.seed}_{options.transport}.log'
    log.unlink(missing_ok=True)
    image = 'image' if options.transport == 'raw' else 'compressed'
    private_domain()
    rclpy.init()
    pixels = LARGEST.width * LARGEST.height
    limits = {'limits__image_pixels': pixels}  # what an output's slot holds is bounded by this
    with Target(log, image, patience_s=options.patience, **limits) as target:
        report = run(target, options)
    rclpy.try_shutdown()
    print(json.dumps(report))
    return int(bool(report['failures']) or (report['grown_mib'] or 0.0) > options.memory)


if __name__ == '__main__':
    sys.exit(main())
