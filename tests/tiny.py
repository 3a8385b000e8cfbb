# SPDX-License-Identifier: Apache-2.0
"""Options that make the networks of a bundle tiny."""

TINY = {
    "z_dim": 8,
    "network_def::encoder::channels": [8, 8, 8, 8],
    "network_def::encoder::norm_num_groups": 4,
    "network_def::decoder::channels": [8, 8, 8],
    "network_def::decoder::norm_num_groups": 4,
}
