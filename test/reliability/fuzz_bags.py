# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Break small bags in every known way; each must give messages and a loss, or one line.

    python test/reliability/fuzz_bags.py --count 2000 --seed 1

A broken bag follows from seed and index, so --from makes one again. It is a failure when reading
or inspecting it raises anything but DatasetError, takes too long or too much memory, tells a loss
on several lines, or loses messages without a word.

Every fourth one (--programs) goes through annotate and inspect besides, as users run them, with a
network that takes no time: one line or a whole output, nothing else left. The last line of output
is one JSON object.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
import json
from pathlib import Path
import random
import resource
import shutil
import signal
import sys
from tempfile import TemporaryDirectory
import time
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from programs_on_bags import annotated, inspected, Wrong  # noqa: E402

from broken_bags import damages, good, kinds, Message, messages, STORAGES  # noqa: E402
from depth_anything_ros.annotation.inspection import inspect, Wanted  # noqa: E402
from depth_anything_ros.config import Config  # noqa: E402
from depth_anything_ros.errors import DatasetError  # noqa: E402
from depth_anything_ros.ros.bags import open_bag, read_serialized  # noqa: E402
from depth_anything_ros.ros.loss import Loss  # noqa: E402

LONGEST_S = 20.0  # of CPU time for a bag of 30 kB; a bomb takes a second or two
MORE_MEMORY = 3 << 29  # bytes above what the process has before it begins with a bag
LONGEST_LINE = 2500


class Hang(BaseException):
    """Reading has taken too long; no Exception, so that nobody takes it for one of a library's."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise Hang in the block when it has taken so much CPU time."""

    def ring(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def memory_limit(more: int) -> Iterator[None]:
    """Let the process take so many bytes more of address space, and no further."""
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def read(path: Path) -> tuple[list[Message], Loss, dict[str, int]]:
    """Read all of a bag, twice: as it is, and checked as the programs read it."""
    with open_bag(path, recover=True) as bag:
        found = [(c.topic, t, bytes(data)) for c, t, data in bag.messages(bag.connections)]
        checked = sum(1 for _ in read_serialized(bag, list(bag.connections)))
        assert checked + sum(bag.refused.values()) == len(found)
        return found, bag.loss, bag.refused


def judged(path: Path) -> tuple[str, str]:
    """Read a broken bag; return what came of it, and in which words.

    Returns:
        whole, lost (messages and a loss), refused (one line), or a failure: hang, memory, raised,
        lines, silent.
    """
    wanted = Counter(messages())
    try:
        with time_limit(LONGEST_S), memory_limit(MORE_MEMORY):
            found, loss, _ = read(path)
            inspect(path, Wanted(), Config(), metric=False)
    except Hang:
        return 'hang', f'more than {LONGEST_S} s of CPU time'
    except MemoryError:
        return 'memory', f'more than {MORE_MEMORY} bytes'
    except DatasetError as error:
        return _one_line('refused', str(error))
    except Exception as error:  # what must not come out, of whatever kind
        return 'raised', f'{type(error).__name__}: {error}'
    if loss:
        return _one_line('lost', str(loss))
    if len(found) < wanted.total():
        return 'silent', f'{len(found)} of {wanted.total()} messages, and no word of it'
    return 'whole', '' if Counter(found) == wanted else 'changed'


def run_programs(path: Path, folder: Path, index: int) -> tuple[str, str]:
    """Run annotate and inspect on a broken bag; return what came of both, and in which words.

    Args:
        path: of the bag.
        folder: that is made and removed.
        index: of the bag; how annotate is called follows from it.
    """
    options = ([], ['--smooth'], ['--only-new'])[index // 4 % 3]
    try:
        with time_limit(LONGEST_S), memory_limit(MORE_MEMORY):
            return f'{inspected(path)}, {annotated(path, folder, options)}', ''
    except Hang:
        return 'hang', f'a program takes more than {LONGEST_S} s of CPU time'
    except MemoryError:
        return 'memory', f'a program takes more than {MORE_MEMORY} bytes'
    except Wrong as error:
        return 'wrong', str(error)
    except Exception as error:  # what must not come out, of whatever kind
        return 'raised', f'{type(error).__name__}: {error}'


def _one_line(outcome: str, text: str) -> tuple[str, str]:
    sound = text and '\n' not in text and len(text) < LONGEST_LINE
    return (outcome, text) if sound else ('lines', text)


def broken(seed: int, index: int, patterns: Path, folder: Path) -> tuple[str, str]:
    """Make the broken bag of a seed and an index; return its storage and its damage.

    Args:
        seed: of the run.
        index: of the bag in it; the first ones are one of each kind.
        patterns: folder of good bags, by storage.
        folder: that is made.
    """
    every = kinds()
    storage, name = every[index % len(every)]
    shutil.copytree(patterns / storage, folder)
    damages(storage)[name](folder, random.Random(f'{seed} {index}'))
    return storage, name


def run(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Break and read, and return the report."""
    patterns = work / 'good'
    patterns.mkdir()
    for storage in STORAGES:
        outcome = judged(good(patterns / storage, storage))
        assert outcome == ('whole', ''), (storage, outcome)
    outcomes: Counter[str] = Counter()
    programs: Counter[str] = Counter()
    by_programs = set()
    failures, slowest, start = [], (0.0, 0), time.process_time()
    indices: Iterable[int] = range(options.first, options.first + options.count)
    if options.quick:
        first = {name: index for index, (_, name) in reversed(list(enumerate(kinds())))}
        indices = sorted(first.values())
    for index in indices:
        folder = work / 'bag'
        storage, name = broken(options.seed, index, patterns, folder)
        files = [f for f in sorted(folder.iterdir()) if f.suffix in ('.mcap', '.db3')]
        alone = index // len(kinds()) % 4 == 3 and files and files[0].is_file()
        began = time.process_time()
        outcome, told = judged(files[0] if alone else folder)
        if alone and storage in ('split', 'mixed') and outcome == 'silent':
            outcome = 'whole'  # of two files one was asked for
        slowest = max(slowest, (round(time.process_time() - began, 2), index))
        outcomes[outcome] += 1
        if options.verbose:
            print(f'{index} {storage}, {name}: {outcome} {told}')
        if outcome not in ('whole', 'lost', 'refused'):
            failures.append({'index': index, 'storage': storage, 'damage': name,
                             'outcome': outcome, 'told': told[:300]})
            print(failures[-1], flush=True)
        if options.programs and index % options.programs == 0:
            by_programs.add(name)
            both, said = run_programs(folder, work / 'made', index)
            programs[both] += 1
            if said:
                failures.append({'index': index, 'storage': storage, 'damage': name,
                                 'outcome': both, 'told': said[:600]})
                print(failures[-1], flush=True)
                shutil.rmtree(work / 'made', ignore_errors=True)
        shutil.rmtree(folder)
    return {
        'seed': options.seed, 'first': options.first, 'bags': sum(outcomes.values()),
        'kinds': len(kinds()), 'damages': len({name for _, name in kinds()}), **outcomes,
        'inspect, annotate': dict(programs), 'damages of these': len(by_programs),
        'slowest_cpu_s': slowest[0], 'slowest_at': slowest[1],
        'cpu_s': round(time.process_time() - start, 1),
        'peak_mib': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        'failures': failures,
    }


def main() -> int:
    """Break bags, report, and return 0 where every one was read or refused."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--count', type=int, default=2000, help='of bags')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--from', type=int, default=0, dest='first', metavar='INDEX',
                        help='of the first bag')
    parser.add_argument('--programs', type=int, default=4, metavar='N',
                        help='every N-th bag by the programs too; 0 is none')
    parser.add_argument('--quick', action='store_true', help='one bag of each damage')
    parser.add_argument('--verbose', action='store_true', help='tell of each bag what came of it')
    options = parser.parse_args()
    with TemporaryDirectory() as work:
        report = run(options, Path(work))
    print(json.dumps(report))
    return int(bool(report['failures']))


if __name__ == '__main__':
    sys.exit(main())
