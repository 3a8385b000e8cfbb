# SPDX-License-Identifier: Apache-2.0
"""What encoder and denoiser refuse alike."""

import pytest
from arguments import ARGUMENTS

from monai_diffae.networks import DiffAEUNet, SemanticEncoder


def make(kind: type, **arguments) -> None:
    kind(**ARGUMENTS | ({"out_channels": 1} if kind is DiffAEUNet else {}) | arguments)


@pytest.mark.parametrize("kind", [DiffAEUNet, SemanticEncoder])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention_levels": (True,)}, r"attention_levels .* 3 levels of channels, got \(True,\)"),
        ({"num_res_blocks": (1, 2)}, r"num_res_blocks .* 3 levels of channels, got \(1, 2\)"),
        ({"num_head_channels": (4,)}, r"num_head_channels .* 3 levels of channels, got \(4,\)"),
        ({"num_head_channels": 5}, "got 12 channels and num_head_channels 5"),
        ({"channels": (8, 12, 18)}, r"norm_num_groups \(4\), or smaller; got 18 channels"),
    ],
)
def test_arguments_that_do_not_fit_are_an_error_that_names_them(kind, arguments, message):
    make(kind)
    with pytest.raises(ValueError, match=message):
        make(kind, **arguments)


def test_dropout_is_the_denoisers():
    with pytest.raises(ValueError, match=r"dropout .* 1.5"):
        make(DiffAEUNet, dropout=1.5)


@pytest.mark.parametrize("kind", [DiffAEUNet, SemanticEncoder])
@pytest.mark.parametrize(
    ("name", "value"),
    [("spatial_dims", 4), ("norm_num_groups", 0), ("patch_size", 0), ("num_res_blocks", -1), ("num_res_blocks", 0)],
)
def test_argument_out_of_range_is_an_error_that_names_it(kind, name, value):
    with pytest.raises(ValueError, match=name):
        make(kind, **{name: value})
