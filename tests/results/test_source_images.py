# SPDX-License-Identifier: Apache-2.0
"""put_into_source: a result of a whole volume in its file, from Python; against what the workflows' saver writes."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedEvaluator
from monai.transforms import FlattenSubKeysd
from test_source_volumes import assert_same_geometry, prepare, unscaled, write

from monai_diffae.data import WholeVolumes, find_volumes
from monai_diffae.results import SourceVolumeSaver, put_into_source


@pytest.mark.parametrize("mode", ["decoded", "residual"])
@pytest.mark.parametrize(("dtype", "slope"), [("<i2", 0.25), ("<f4", 1)])
def test_a_result_is_put_where_the_workflow_puts_it(tmp_path, device, mode, dtype, slope):
    source = nib.load(write(tmp_path / "data" / "a.nii", dtype, slope=slope))
    preprocessing = prepare()
    volumes = CacheDataset(find_volumes(tmp_path / "data"), preprocessing, progress=False)
    files = [{"postfix": "edit", "key": "edit", "mode": mode, "minus": "image"}]
    SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(WholeVolumes(volumes), batch_size=1),
        network=torch.nn.Identity(),
        inferer=lambda inputs, network: {"edit": inputs.as_tensor() * 0.5 + 0.1},
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[SourceVolumeSaver(tmp_path, files, volumes, preprocessing, tmp_path / "data", spatial_dims=3)],
    ).run()
    image = volumes[0]["image"]
    result = image.as_tensor().to(device) * 0.5 + 0.1
    for _ in range(2):  # what undoes the preparation is not used up
        found = put_into_source(result, image, preprocessing, minus=None if mode == "decoded" else image)
    assert_same_geometry(found, source, besides=("scl_slope", "scl_inter"))  # nibabel has them apart until it writes
    nib.save(found, tmp_path / "found.nii.gz")
    written, found = nib.load(tmp_path / "a_edit.nii.gz"), nib.load(tmp_path / "found.nii.gz")
    assert_same_geometry(found, source)
    np.testing.assert_array_equal(unscaled(found), unscaled(written))
    assert (unscaled(found) != unscaled(source)).mean() > 0.1


def test_a_result_that_is_not_finite_is_refused(tmp_path):
    file = write(tmp_path / "data" / "a.nii")
    preprocessing = prepare()
    image = preprocessing(find_volumes(tmp_path / "data")[0])["image"]
    result = image.as_tensor().clone()
    result[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=rf"{file.name}: 1 of the {result.numel()} numbers of its result are NaN"):
        put_into_source(result, image, preprocessing)


def test_a_result_of_another_shape_is_refused(tmp_path):
    write(tmp_path / "data" / "a.nii")
    preprocessing = prepare()
    image = preprocessing(find_volumes(tmp_path / "data")[0])["image"]
    with pytest.raises(ValueError, match="Expected the shape of the prepared volume"):
        put_into_source(image[:, 1:], image, preprocessing)
    with pytest.raises(ValueError, match="Expected the shape of the prepared volume"):
        put_into_source(image, image, preprocessing, minus=image[..., 1:])
