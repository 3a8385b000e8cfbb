# SPDX-License-Identifier: Apache-2.0
import warnings

import pytest

from monai_diffae.data import warn_of_shared_images


def test_files_in_both_lists_are_warned_of(tmp_path):
    for name in "abc":
        (tmp_path / name).write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    held_out = [{"image": str(tmp_path / name)} for name in ("a", "b")]
    with pytest.warns(UserWarning, match="1 of the 2 held-out images are training images"):
        warn_of_shared_images(held_out, [{"image": str(tmp_path / name)} for name in ("link", "c")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_shared_images(held_out, [{"image": str(tmp_path / "c")}])
        warn_of_shared_images(held_out, [])
