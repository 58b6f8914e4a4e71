# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How many kernels a card would be given, and how often the host would wait for it."""

from __future__ import annotations

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# What only tells how memory is to be looked at, or asks for some.
NO_KERNEL = {
    '_reshape_alias', '_unsafe_view', 'alias', 'as_strided', 'detach', 'empty', 'empty_like',
    'empty_strided', 'expand', 'lift_fresh', 'new_empty', 'new_empty_strided', 'permute', 'select',
    'slice', 'split', 'split_with_sizes', 'squeeze', 't', 'transpose', 'unbind', 'unsqueeze',
    'unfold', 'view', 'is_pinned', '_pin_memory', 'resolve_conj', 'resolve_neg', 'detach_',
}
# What the host must read off the card before it can go on, be it only a size or an error.
WAITS = {
    '_local_scalar_dense', '_linalg_check_errors', '_unique2', 'bincount', 'equal',
    'masked_select', 'nanmedian', 'nonzero', 'unique_consecutive', 'unique_dim',
}


class Launches(TorchDispatchMode):
    """Counts what PyTorch is asked for, taken apart as a card would be given it.

    Attributes:
        kernels: name of an operation -> how often it was launched.
        waits: name of an operation -> how often it made the host wait for the card.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func._schema.name.partition('::')[2]
        if not name.startswith('upsample_'):  # one kernel, whatever Python would make of it
            with self:  # inference mode hands over compositions whole
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        if name not in NO_KERNEL:
            self.kernels[name] += 1
        indexed = args[1] if name in ('index', 'index_put', 'index_put_') else ()
        if name in WAITS or any(x.dtype == torch.bool for x in indexed if x is not None):
            self.waits[name] += 1
        return func(*args, **kwargs)

    def copied(self, target: torch.device, non_blocking: bool) -> None:
        """Count a copy between host and card."""
        self.kernels['copy'] += 1
        if not non_blocking:
            self.waits[f'copy to {target.type}'] += 1
