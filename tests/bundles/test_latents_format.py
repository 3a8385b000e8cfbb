# SPDX-License-Identifier: Apache-2.0
"""``--latents_format`` in the workflows of both bundles that write a table of codes."""

from pathlib import Path

import numpy as np
import pytest
from latent_workflows import Bundle, read_table, weights_of
from test_several_processes import write_pictures, write_volumes

WORKFLOWS = [("inference",), ("inference", "encode"), ("inference", "sample"), ("inference", "fit_attributes")]


@pytest.fixture(scope="module", params=["brain_slices_diffae", "natural_images_diffae"])
def bundle(request, tmp_path_factory) -> Bundle:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "data").mkdir()
    options = {"z_dim": 8, "image_size": 16, "num_workers": 0, "dataset_dir": str(folder / "data"), "progress": False}
    options |= {"inversion": "explicit", "num_inference_steps": 1, "batch_size": 2}
    if request.param == "brain_slices_diffae":
        write_volumes(folder / "data")
        options |= {"image_size": 32, "pixdim": 6.0, "num_slices": 2, "slice_range": [0.1, 0.9]}
    else:
        write_pictures(folder / "data")
    rows = [f"{path.name},{k % 2}" for k, path in enumerate(sorted((folder / "data").iterdir()))]
    (folder / "data" / "labels.csv").write_text("\n".join(["file,trait", *rows]))
    made = Bundle(request.param, folder, **options).randomize()
    made.train(folder / "latent", val_fraction=0.4)
    made.latent = folder / "latent"
    return made


@pytest.mark.parametrize("names", WORKFLOWS, ids="+".join)
def test_the_codes_are_a_csv_or_the_same_in_parquet(bundle, names, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra 'parquet' is not installed")
    options: dict = {"attributes": ["trait"], "mask_labels": ["trait"]} if "fit_attributes" in names else {}
    if "sample" in names:
        options = {**weights_of(bundle.latent), "num_samples": 3, "num_latent_inference_steps": 2}
    for kind in ("csv", "parquet"):
        bundle.run(*names, output_dir=str(tmp_path / kind), latents_format=kind, **options)
        assert [path.name for path in (tmp_path / kind).glob("latents*")] == [f"latents.{kind}"]
    expected = read_table(tmp_path / "csv" / "latents.csv")
    table = parquet.read_table(Path(tmp_path / "parquet" / "latents.parquet"))
    assert table.column_names == list(expected[0])
    assert table["file"].to_pylist() == [row["file"] for row in expected]
    np.testing.assert_allclose(table["z_7"].to_numpy(), [float(row["z_7"]) for row in expected], rtol=1e-4, atol=1e-5)
