# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Strong perturbations of pictures, those of UniMatch, by kornia, which `train` alone needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kornia.augmentation import ColorJitter, RandomErasing, RandomGaussianBlur, RandomGrayscale
import torch
from torch import Tensor

# ColorJitter's formulas are torchvision's, which UniMatch uses, unlike those of kornia's
# ColorJiggle; hue is in turns. 13 taps reach three times the largest sigma.
_STRONG = torch.nn.Sequential(
    ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.25, p=0.8),
    RandomGrayscale(p=0.2),
    RandomGaussianBlur(kernel_size=13, sigma=(0.1, 2.0), border_type='replicate', p=0.5),
)


@contextmanager
def _all_chance_from(generator: torch.Generator) -> Iterator[None]:
    """Let PyTorch's global generator, the only one kornia knows, be this one for a while."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        yield
        generator.set_state(torch.get_rng_state())


def strong_colours(image: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Change brightness, contrast, saturation and hue, make some pictures grey and blur some.

    Each picture has its own draws, but for the order of the four changes, which a batch shares.

    Source: UniMatch (arXiv 2208.09910), dataset/semi.py; Depth Anything, by the same authors, has
    the same changes and does not state how strong they are.

    Args:
        image: Bx3xHxW float32 RGB, 0 to 1.
        generator: on the CPU; nothing else decides, and the global generator is left as it was.
        strength: how far to go from the clean picture to the changed one: 0 leaves pictures as
            they are, 0.5 takes the mean of both, which is half the change of brightness, contrast
            and saturation.

    Returns:
        Of the same shape, 0 to 1, in float32 also where autocast computes in bfloat16.
    """
    if strength == 0:
        return image
    with _all_chance_from(generator), torch.autocast(image.device.type, enabled=False):
        return torch.lerp(image, _STRONG(image), strength).clamp(0, 1)


def cut_boxes(shape: torch.Size, probability: float, generator: torch.Generator) -> Tensor:
    """Draw CutMix masks: false in a random box of some pictures, which shows another picture.

    Source: UniMatch (arXiv 2208.09910), dataset/transform.py.

    Args:
        shape: B, H, W.
        probability: of a picture being cut; the others keep all pixels.
        generator: on the CPU.

    Returns:
        BxHxW bool. A box has 2 to 40 % of the area, less where it would be longer than the
        picture, and is 0.3 to 1 / 0.3 times as high as wide.
    """
    erasing = RandomErasing(scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3), p=probability)
    with _all_chance_from(generator):
        kept: Tensor = erasing(torch.ones(shape)[:, None])
    return kept[:, 0] > 0
