# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from PIL import Image

from monai_diffae.results import MontageSaver


def draw(images: list[torch.Tensor], filename, batch_size: int = 2, **options) -> np.ndarray:
    engine = Engine(lambda engine, batch: [{"sample": image} for image in batch])
    MontageSaver(filename, "sample", **options).attach(engine)
    engine.run([images[i : i + batch_size] for i in range(0, len(images), batch_size)])
    assert [path.name for path in filename.parent.iterdir()] == [filename.name]
    return np.asarray(Image.open(filename)).astype(int)


@pytest.mark.parametrize("y_up", [True, False])
def test_images_stand_in_rows_the_right_way_up(tmp_path, y_up):
    """The first is brighter upwards (volumes, ``(C, X, Y)``) or downwards (pictures), the second to the right."""
    along_last = torch.linspace(-1, 1, 64).expand(1, 64, 64)
    images = [along_last, along_last.mT] if y_up else [along_last.mT, along_last]
    pixels = draw(images, tmp_path / "figures" / "a.png", y_up=y_up)
    assert pixels.shape == (64, 130, 3)
    first, second = pixels[:, :64, 0], pixels[:, 66:, 0]
    assert (pixels[:, 64:66] == 255).all()
    assert (np.diff(first[:, 0]) < 0).all() if y_up else (np.diff(first[:, 0]) > 0).all()
    assert (np.diff(second[0]) > 0).all()
    assert {int(first.min()), int(first.max())} == {0, 255}


def test_colours_are_kept_and_values_out_of_range_clipped(tmp_path):
    image = torch.tensor([-3.0, 0.0, 3.0])[:, None, None].expand(3, 70, 70)
    assert draw([image], tmp_path / "a.png").reshape(-1, 3).mean(axis=0).tolist() == [0, 128, 255]


def test_small_images_are_enlarged_by_whole_factors(tmp_path):
    assert draw([torch.zeros(1, 20, 30)], tmp_path / "a.png").shape == (120, 80, 3)


@pytest.mark.parametrize(("max_images", "shape"), [(4, (130, 130, 3)), (100, (130, 196, 3))])
def test_so_many_images_are_shown_at_most(tmp_path, max_images, shape):
    images = [torch.full((1, 64, 64), value) for value in torch.linspace(-1, 0.9, 5)]
    pixels = draw(images, tmp_path / "a.png", max_images=max_images)
    assert pixels.shape == shape
    assert pixels[0, 0, 0] == 0


def test_no_images_at_all_are_refused(tmp_path):
    with pytest.raises(ValueError, match="max_images must be 1 or more, got 0"):
        MontageSaver(tmp_path / "a.png", "sample", max_images=0)
