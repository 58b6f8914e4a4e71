# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How far this pipeline is from the authors' code of Depth Anything V2, from picture to prediction.

    python benchmarks/parity.py --authors CHECKOUT --frames ../shared/data/kitti [--backend torch]

One network of official size with the same random weights on both sides, float32 on the CPU: first
the network alone at three shapes, then pictures through all of it. V1's run.py and V2's
infer_image() prepare a picture alike and stretch the result differently; both are told.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import json
import os
from pathlib import Path
import tempfile
from typing import Any

import cv2
from latency import save_preprocessor, save_random_network
import numpy as np
from numpy.typing import NDArray
from rivals import AuthorsCode
import torch
import torch.nn.functional as F

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.network.preprocessing import Preprocessor
from depth_anything_ros.network.self_check import test_image

SHAPES = ((518, 518), (518, 686), (518, 1722))
STRETCHES = {'as V1\'s run.py': False, 'as V2\'s infer_image()': True}  # from corner to corner?


def pictures(folder: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield name and HxWx3 uint8 RGB of the pictures in a folder."""
    for path in sorted((*folder.glob('*.png'), *folder.glob('*.jpg'))):
        bgr = cv2.imread(str(path))
        if bgr is not None:
            yield path.name, np.ascontiguousarray(bgr[..., ::-1])


@torch.no_grad()
def compare(authors: Path, frames: Path | None, backend: str) -> list[dict[str, Any]]:
    """Return a row for each comparison: what, and the largest and the mean difference."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, 'checkpoint')
        os.environ['XDG_CACHE_HOME'] = name
        save_random_network('S', folder)
        save_preprocessor(folder, 518)
        ours = load_predictor(
            ModelConfig(checkpoint=str(folder)),
            RuntimeConfig(device='cpu', precision='float32', backend=backend),
        )
        camera = Camera.from_calibration(640, 480, np.diag([640.0, 640, 1]))
        theirs = AuthorsCode(authors, folder, camera, 518, torch.device('cpu')).network
        for size in SHAPES:
            image = test_image(*size)
            wanted = theirs(image)[0]
            relative = (ours(image) - wanted).abs() / wanted
            rows.append({'what': f'network alone, {size[0]}x{size[1]}, relative to each pixel',
                         'largest': float(relative.max()), 'mean': float(relative.mean())})
        for picture, rgb in pictures(frames) if frames else ():
            height, width, _ = rgb.shape
            preprocess = Preprocessor(
                Camera(width, height, np.diag([width, width, 1.0])), ours.spec, 0, ours.device)
            given = preprocess.at_image_size(ours(preprocess(rgb)))
            small = theirs(theirs.image2tensor(rgb[..., ::-1], 518)[0].float())
            for stretch, corners in STRETCHES.items():
                wanted = F.interpolate(
                    small[None], (height, width), mode='bilinear', align_corners=corners)[0, 0]
                difference = (given - wanted).abs()
                rows.append({
                    'what': f'{picture}, {height}x{width}, {stretch}, of the range and the mean',
                    'largest': float(difference.max() / (wanted.max() - wanted.min())),
                    'mean': float(difference.mean() / wanted.mean())})
    return rows


def main() -> None:
    """Measure, print a table, and with --json one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--authors', type=Path, required=True,
                        help='checkout of Depth-Anything-V2')
    parser.add_argument('--frames', type=Path, help='folder of pictures')
    parser.add_argument('--backend', default='torch', help='torch, onnxruntime, openvino')
    parser.add_argument('--json', action='store_true', help='end with one JSON object')
    arguments = parser.parse_args()
    rows = compare(arguments.authors, arguments.frames, arguments.backend)
    for row in rows:
        print(f'{row["largest"]:9.1e} {row["mean"]:9.1e}  {row["what"]}')
    if arguments.json:
        print(json.dumps({'parity': rows}))


if __name__ == '__main__':
    main()
