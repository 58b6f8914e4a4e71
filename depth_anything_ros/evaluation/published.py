# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What others found on the same data sets, and which of it nobody finds again."""

from __future__ import annotations

# AbsRel and delta1, zero-shot, of Depth Anything S, B and L (arXiv 2401.10891, Table 2) and its V2
# (arXiv 2406.09414, Table 2).
PAPER: dict[str, dict[str, tuple[float, float]]] = {
    'kitti': {'MiDaS 3.1': (0.127, 0.850), 'S': (0.080, 0.936), 'B': (0.080, 0.939),
              'L': (0.076, 0.947),
              'V2 S': (0.078, 0.936), 'V2 B': (0.078, 0.939), 'V2 L': (0.074, 0.946)},
    'nyu': {'MiDaS 3.1': (0.048, 0.980), 'S': (0.053, 0.972), 'B': (0.046, 0.979),
            'L': (0.043, 0.981),
            'V2 S': (0.053, 0.973), 'V2 B': (0.049, 0.976), 'V2 L': (0.045, 0.979)},
    'sintel': {'MiDaS 3.1': (0.587, 0.699), 'S': (0.464, 0.739), 'B': (0.432, 0.756),
               'L': (0.458, 0.760),
               'V2 S': (0.500, 0.718), 'V2 B': (0.495, 0.734), 'V2 L': (0.487, 0.752)},
    'ddad': {'MiDaS 3.1': (0.251, 0.766), 'S': (0.247, 0.768), 'B': (0.232, 0.786),
             'L': (0.230, 0.789)},
    'eth3d': {'MiDaS 3.1': (0.139, 0.867), 'S': (0.127, 0.885), 'B': (0.126, 0.884),
              'L': (0.127, 0.882),
              'V2 S': (0.142, 0.851), 'V2 B': (0.137, 0.858), 'V2 L': (0.131, 0.865)},
    'diode': {'MiDaS 3.1': (0.075, 0.942), 'S': (0.076, 0.939), 'B': (0.069, 0.946),
              'L': (0.066, 0.952),
              'V2 S': (0.073, 0.942), 'V2 B': (0.068, 0.950), 'V2 L': (0.066, 0.952)},
}

# AbsRel in depth of the published V2 checkpoints, after a least squares fit in inverse depth:
# github.com/kmatzen/plumbline at fc61592, REPRODUCTIONS.md and docs/*_HANDOFF.md.
REPRODUCED: dict[str, dict[str, float]] = {
    'kitti': {'V2 S': 0.0770, 'V2 B': 0.0756, 'V2 L': 0.0710},
    'nyu': {'V2 S': 0.0510, 'V2 B': 0.0456, 'V2 L': 0.0428},
    'sintel': {'V2 L': 0.2321},
    'eth3d': {'V2 S': 0.1012, 'V2 B': 0.0936, 'V2 L': 0.0888},
    'diode': {'V2 S': 0.2196, 'V2 B': 0.2182, 'V2 L': 0.2142},
}

# AbsRel that MoGe's harness itself gives, on its own copy of the data; found there too
# (docs/DA_V2_TABLE2_UPSTREAM_EVAL.md).
IN_MOGE: dict[str, dict[str, float]] = {
    'sintel': {'V2 L': 0.2138}, 'eth3d': {'V2 L': 0.0471}, 'diode': {'V2 L': 0.0529},
}

# Data sets whose rows in the papers nobody is known to have found again, and what is known of why.
NOT_REPRODUCIBLE: dict[str, str] = {
    'sintel': 'half the error is found, .232 for V2 L; neither the pass (clean: .222) nor a far '
              'limit of 70 m makes up for it, and the papers state neither',
    'eth3d': 'two thirds of the error are found; the papers state neither far limit nor which '
             'truth was taken, and a prediction that is at or below 0 after the fit, if not held '
             'to the farthest depth, makes the mean of any size',
    'diode': 'indoors they are found (.072 for V2 S), outdoors .33: the published masks keep '
             'pixels that MoGe\'s copy leaves out, by which outdoors is .07; the papers state '
             'neither mask nor far limit',
}

# Share of DA-2K's pairs in the right order, V2 (arXiv 2406.09414), Table 3.
DA2K: dict[str, float] = {
    'Marigold': 0.868, 'L': 0.885, 'V2 S': 0.953, 'V2 B': 0.970, 'V2 L': 0.971,
}


def reproducible(dataset: str) -> bool | None:
    """Return whether the papers' rows of a data set are found again; None if none is known."""
    if dataset in NOT_REPRODUCIBLE:
        return False
    return True if dataset in REPRODUCED else None
