# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

__all__ = ["derive_seed"]


def derive_seed(*keys: int) -> int:
    """A 32-bit seed that is a function of non-negative integers such as (seed, epoch, index), and of their order.

    Zeros at the end do not count, since NumPy pads with zeros: one purpose takes keys of one length.
    """
    return int(np.random.SeedSequence(keys).generate_state(1)[0])
