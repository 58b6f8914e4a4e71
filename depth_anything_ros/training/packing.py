# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`pack`: pictures of folders, bags and data sets into shards, to train on them often."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
import sys

from rich.console import Console
from rich.progress import track
from torch.utils.data import Dataset

from depth_anything_ros.addresses import (
    Address,
    path_or_address,
    PathOrAddress,
    Unreachable,
    written_whole,
)
from depth_anything_ros.errors import ConfigError, DatasetError, DepthAnythingError
from depth_anything_ros.evaluation.datasets import DATASETS, load_samples
from depth_anything_ros.training import shard_folder
from depth_anything_ros.training.loading import open_samples
from depth_anything_ros.training.sample import own_sample, Sample, Samples
from depth_anything_ros.training.shards import encode, is_finished, Stored, write_shard

_OF_LIDAR = {'kitti', 'ddad'}  # data sets whose depth are single pixels


@dataclass(frozen=True)
class Settings:
    """What a shard is made by.

    Attributes:
        labelled: whether depth is packed; every picture then needs one.
        dataset: key of DATASETS whose layout the inputs have; None for one's own pictures.
        split: file that lists the images of a data set that are taken; None takes all.
        share: from where to where in each input pictures are taken, 0 to 1, in their order: a bag's
            in that of time, so that a stretch of it can be held out.
        per_shard: pictures in each.
        jpeg: quality of the pictures, 1 to 100; 0 writes PNG.
        source: what KEY.json calls the pictures' source; None is the path of the input.
        licence: of the pictures, as KEY.json says it.
    """

    labelled: bool = True
    dataset: str | None = None
    split: Path | None = None
    share: tuple[float, float] = (0.0, 1.0)
    per_shard: int = shard_folder.PER_SHARD
    jpeg: int = shard_folder.JPEG
    source: str | None = None
    licence: str | None = None

    def __post_init__(self) -> None:
        """Raise ConfigError on a value that means nothing."""
        shard_folder.check(self.per_shard, self.jpeg)
        if self.split is not None and self.dataset is None:
            raise ConfigError('--split lists images of a --dataset, and there is none')
        if not 0 <= self.share[0] < self.share[1] <= 1:
            raise ConfigError(f'--share {self.share[0]:g}:{self.share[1]:g}: a part from 0 to 1 is '
                              'needed, such as 0:0.8')


class _DatasetSamples(Dataset[Sample]):
    """The images of a data set that have a true depth."""

    def __init__(self, name: str, root: Path, split: Path | None, with_depth: bool) -> None:
        self._listed, self._with_depth = load_samples(name, root, split), with_depth
        self._sparse = name in _OF_LIDAR

    def __len__(self) -> int:
        return len(self._listed)

    def __getitem__(self, index: int) -> Sample:
        listed = self._listed[index]
        image_rgb = listed.image()
        depth_m = listed.depth_m() if self._with_depth else None
        if depth_m is not None and depth_m.shape != image_rgb.shape[:2]:
            raise DatasetError(f'{listed.name} is {image_rgb.shape[:2]} and its depth '
                               f'{depth_m.shape}: get a good copy of both')
        return own_sample(image_rgb, depth_m, self._sparse)


def pack(inputs: Sequence[PathOrAddress], out: PathOrAddress, settings: Settings = Settings()
         ) -> list[str]:
    """Write the pictures of all inputs into shards; those that are finished are left as they are.

    Args:
        inputs: whatever can be trained on, or roots of settings.dataset.
        out: folder of the shards, made when absent.
        settings: must be those of before where a run goes on.

    Returns:
        What was wrong with pictures that were left out, of this run and of those before.

    Raises:
        DepthAnythingError: an input cannot be opened, a run before had other inputs or settings,
            another run is at work there, or nothing can be written.
    """
    opened = [_opened(path, settings) for path in inputs]
    taken = [_part(len(samples), settings.share) for samples in opened]
    counts = [len(indices) for indices in taken]
    about = {**{name: value if value is None or isinstance(value, int) else str(value)
                for name, value in vars(settings).items()},
             'inputs': [str(path) for path in inputs], 'counts': counts}
    left_out = out / 'left_out.txt'
    if not (total := sum(counts)):
        raise DatasetError('--share takes no picture of the inputs: make it larger')
    try:
        with shard_folder.filling(out, inputs, 'pack'):
            shard_folder.require_same(out / 'pack.json', about)
            for number in track(range(-(-total // settings.per_shard)), 'packing',
                                console=Console(stderr=True)):
                tar = out / f'{number:06d}.tar'
                if not is_finished(tar):
                    wanted = range(number * settings.per_shard,
                                   min((number + 1) * settings.per_shard, total))
                    write_shard(tar, _stored(inputs, opened, taken, wanted, settings, left_out))
            return _noted(left_out)
    except OSError as error:
        raise DepthAnythingError(
            f'cannot write to {out} ({error.strerror or error}): make room or give another OUT, '
            'then call it again') from error


def _noted(left_out: PathOrAddress) -> list[str]:
    return left_out.read_text().splitlines() if left_out.is_file() else []


def _opened(path: PathOrAddress, settings: Settings) -> Samples:
    if settings.dataset is not None:
        if isinstance(path, Address):
            raise DatasetError(f'{path} is not on this machine, as --dataset needs it: copy it '
                               'first')
        return _DatasetSamples(settings.dataset, path, settings.split, settings.labelled)
    return open_samples([path], settings.labelled)


def _part(count: int, share: tuple[float, float]) -> range:
    return range(*(round(end * count) for end in share))  # those that adjoin share no picture


def _stored(inputs: Sequence[PathOrAddress], opened: Sequence[Samples], taken: Sequence[range],
            wanted: range, settings: Settings, left_out: PathOrAddress) -> Iterator[Stored]:
    """Read pictures of all inputs by their numbers, and note those that are corrupt."""
    first, corrupt = 0, []
    for path, samples, indices in zip(inputs, opened, taken):
        begin, end = max(wanted.start - first, 0), max(wanted.stop - first, 0)
        for number, index in enumerate(indices[begin:end], start=first + begin):
            try:
                sample = samples[index]
            except Unreachable:
                raise  # left out, it would stay so when the store answers again
            except DatasetError as error:
                corrupt.append(str(error))
                continue
            about = {'source': settings.source or str(path), 'index': index,
                     'licence': settings.licence}
            yield encode(f'{number:08d}', sample, about, settings.jpeg)
        first += len(indices)
    if corrupt:
        lines = dict.fromkeys([*_noted(left_out), *corrupt])  # each once, begun twice or not
        with written_whole(left_out) as file:
            file.write(''.join(f'{line}\n' for line in lines).encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Returns:
        0; 2 after one line on a user's mistake, 130 where it was interrupted.
    """
    args = vars(_parser().parse_args(argv))
    inputs, out = args.pop('inputs'), args.pop('out')
    try:
        lines = pack(inputs, out, Settings(labelled=not args.pop('unlabelled'), **args))
    except DepthAnythingError as error:
        print(f'pack: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('pack: stopped; the same call goes on from here', file=sys.stderr)
        return 130
    if lines:
        print(f'{len(lines)} corrupt pictures were left out:', *lines, sep='\n', file=sys.stderr)
    return 0


def share(text: str) -> tuple[float, float]:
    """Return the ends of a stretch; argparse names this function where it is none."""
    start, end = text.split(':')
    return float(start), float(end)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='pack', description='Pack pictures into shards to train on; go on where it ended.')
    add = parser.add_argument
    add('inputs', nargs='+', type=path_or_address, metavar='IN',
        help='folders of pictures or shards, ROS 2 bags, or roots of --dataset')
    add('out', type=path_or_address, metavar='OUT', help='folder of the shards, or its address')
    add('--unlabelled', action='store_true', help='pack pictures alone, and no depth')
    add('--dataset', choices=DATASETS, help='whose layout the inputs have')
    add('--split', type=Path, metavar='FILE', help='lists the images of --dataset to take')
    add('--share', type=share, default=Settings.share, metavar='FROM:TO',
        help="of each input's pictures in their order, a bag's by time: 0:0.8 to train on, 0.85:1 "
             'to hold out; default 0:1')
    shard_folder.add_arguments(parser)
    add('--source', help='of the pictures, kept with each; default the path of its input')
    add('--licence', help='of the pictures, kept with each')
    return parser


if __name__ == '__main__':
    sys.exit(main())
