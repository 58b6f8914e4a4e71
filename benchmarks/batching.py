# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Two images through the network at once against one after the other: CPU time of each.

    OMP_NUM_THREADS=1 python benchmarks/batching.py [--checkpoint bundled] [--rounds 30]

Rounds of one and of two take turns, so that what else the machine does meets both; the median of
each is told, and whether the second image's prediction is the same to the last bit.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
import time
from typing import Any

import numpy as np
import openvino
import torch

from depth_anything_ros.config import ModelConfig
from depth_anything_ros.network.cache import cached
from depth_anything_ros.network.checkpoint import open_checkpoint
from depth_anything_ros.network.hub import locate
from depth_anything_ros.network.threads import thread_count

SIZE = 224, 308  # the demo's, multiples of 14
Run = Callable[[Any], Any]


def by_torch(checkpoint: Any) -> Run:
    """Return the network in eager PyTorch."""
    network = checkpoint.load().eval()

    def run(images: Any) -> Any:
        with torch.inference_mode():
            found = network(torch.from_numpy(images))
        return np.asarray(found.predicted_depth)

    return run


def by_openvino(checkpoint: Any) -> Run:
    """Return the exported network with an open batch."""
    core = openvino.Core()
    model = core.read_model(cached(checkpoint).path)
    model.reshape([-1, 3, *SIZE])
    compiled = core.compile_model(model, 'CPU', {
        'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': 'f32',
        'INFERENCE_NUM_THREADS': thread_count(0),
    })
    request = compiled.create_infer_request()
    return lambda images: np.array(request.infer([images])[0])


def main() -> None:
    """Print a line for each backend."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--checkpoint', default='bundled')
    parser.add_argument('--rounds', type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(thread_count(0))
    checkpoint = open_checkpoint(
        locate(options.checkpoint), ModelConfig(checkpoint=options.checkpoint)
    )
    images = np.random.default_rng(0).normal(size=(2, 3, *SIZE)).astype(np.float32)
    alone = images[:1].copy(), images[1:].copy()
    print('| backend | two alone, ms CPU | two at once, ms CPU | ratio | the same bits |')
    print('|---|---|---|---|---|')
    for name, make in ('torch', by_torch), ('openvino', by_openvino):
        try:
            run = make(checkpoint)
            took: tuple[list[float], list[float]] = [], []
            for _ in range(options.rounds + 2):
                start_s = time.process_time()
                apart = [run(image) for image in alone]
                middle_s = time.process_time()
                together = run(images)
                took[0].append(middle_s - start_s)
                took[1].append(time.process_time() - middle_s)
        except RuntimeError as error:  # a graph of one image, say
            print(f'| {name} | {str(error).strip().splitlines()[-1][:80]} |')
            continue
        one_ms, two_ms = (1e3 * median(times[2:]) for times in took)
        same = np.array_equal(np.ravel(apart[1]), np.ravel(together[1]))
        print(f'| {name} | {one_ms:.1f} | {two_ms:.1f} | {two_ms / one_ms:.3f} | {same} |')


if __name__ == '__main__':
    main()
