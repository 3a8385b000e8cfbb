# SPDX-License-Identifier: Apache-2.0
"""Small encoders and denoisers."""

ARGUMENTS = {
    "spatial_dims": 2,
    "in_channels": 1,
    "z_dim": 5,
    "channels": (8, 12, 16),
    "attention_levels": (False, True, False),
    "num_res_blocks": 1,
    "norm_num_groups": 4,
}
# Changes of theirs.
CASES = {
    "2d": {},
    "2d_three_channels": {"in_channels": 3},
    "2d_patches": {"patch_size": 2},
    "2d_heads_and_blocks_of_each_level": {"num_head_channels": (4, 6, 8), "num_res_blocks": (1, 2, 3)},
    "3d": {"spatial_dims": 3},
    "3d_patches": {"spatial_dims": 3, "patch_size": 2, "channels": (8, 8), "attention_levels": (False, True)},
}
