# SPDX-License-Identifier: Apache-2.0
"""Bundles of public data sets without the data."""

import pytest
import workflows

from monai_diffae.support.root_cause import root_cause


@pytest.mark.parametrize(("name", "kind"), [("train", "train"), ("inference", "infer")])
@pytest.mark.parametrize(
    ("bundle", "archive"),
    [("mednist_diffae", "MedNIST.tar.gz"), ("hippocampus_mri_diffae", "Task04_Hippocampus.tar")],
)
def test_a_missing_data_set_ends_with_what_to_do(tmp_path, bundle, archive, name, kind):
    folders = {"dataset_dir": str(tmp_path / "none"), "output_dir": str(tmp_path / "out")}
    with pytest.raises(Exception) as raised:  # noqa: PT011  (MONAI wraps it)
        workflows.run(workflows.BUNDLES / bundle, name, workflow_type=kind, **folders)
    assert f"unpack {archive} so that" in str(root_cause(raised.value))
    assert not (tmp_path / "out").exists()
