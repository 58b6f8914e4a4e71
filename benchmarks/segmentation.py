# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Does an encoder trained for depth help segmentation, the last claim of Depth Anything?

Encoders of `benchmarks/ablation.py` are fine-tuned on the world's semantic classes, beside the
same encoder from its initial state, with the same pictures, steps and rates.

`python benchmarks/segmentation.py --ablation build/ablation` goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
import json
from pathlib import Path

from ablation import (
    folder_name,
    NETWORK,
    ONLY_CLASSES,
    Pictures,
    render_missing,
    settings,
    SIZE,
    TEACHER,
    TESTS,
)
import numpy as np
from numpy.typing import NDArray
import torch
import torch.nn.functional as F

from depth_anything_ros.evaluation.segmentation import confusion_matrix, mean_iou
from depth_anything_ros.training.network import build_network, Trainee
from depth_anything_ros.training.state import read_weights
from depth_anything_ros.training.train import train
from depth_anything_ros.training.world_data import open_world
from depth_anything_ros.world.primitives import Semantic

PICTURES: Pictures = ('segmentation', 320, 700_000, None)
INITIAL = 'initial state'
ENCODERS = (INITIAL, TEACHER, '+ strong perturbations', '+ feature alignment, margin 0.85')


@torch.no_grad()
def segment(trainee: Trainee, image_rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the class of each pixel of a HxWx3 picture."""
    image = torch.from_numpy(np.array(image_rgb)).permute(2, 0, 1)[None].float() / 255
    image = F.interpolate(image, SIZE, mode='bilinear', antialias=True)
    logits = F.interpolate(trainee(image)[2], image_rgb.shape[:2], mode='bilinear')
    classes: NDArray[np.int64] = logits[0].argmax(dim=0).numpy()
    return classes


def run(ablation: Path, encoder: str, seed: int, steps: int) -> float:
    """Fine-tune one encoder and return its mIoU on the ablation's test pictures."""
    data = ablation / 'data'
    folder = ablation / f'seed_{seed}' / f'segmentation_{folder_name(encoder)}'
    scores = folder / 'scores.json'
    if not scores.is_file():
        start = None if encoder == INITIAL else folder.parent / folder_name(encoder) / 'checkpoint'
        config = replace(settings(folder, data, seed, steps), data=(data / PICTURES[0],),
                         init=start, loss=ONLY_CLASSES)
        train(config)
        trainee = Trainee(build_network(NETWORK)).eval()
        read_weights(folder, 'trainee', trainee)
        found = np.zeros((len(Semantic), len(Semantic)), np.int64)
        for name, _, _, _ in TESTS.values():
            pictures = open_world(data / name)
            for image_rgb, truth in zip(pictures.image_rgb, pictures.semantic):
                found += confusion_matrix(segment(trainee, image_rgb), truth, len(Semantic))
        scores.write_text(json.dumps({'mean_iou': mean_iou(found)}))
    return float(json.loads(scores.read_text())['mean_iou'])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--ablation', type=Path, default=Path('build/ablation'))
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--steps', type=int, default=300)
    args = parser.parse_args()
    render_missing(args.ablation / 'data', [PICTURES])
    print('| encoder from | mIoU, mean ± spread | - initial state, by seed |\n|---|---|---|')
    initial = np.zeros(args.seeds)
    for encoder in ENCODERS:
        found = np.array([run(args.ablation, encoder, seed, args.steps)
                          for seed in range(args.seeds)])
        gain = '' if encoder == INITIAL else ', '.join(f'{x:+.3f}' for x in found - initial)
        initial = found if encoder == INITIAL else initial
        print(f'| {encoder} | {found.mean():.3f} ± {found.std(ddof=1):.3f} | {gain} |', flush=True)


if __name__ == '__main__':
    main()
