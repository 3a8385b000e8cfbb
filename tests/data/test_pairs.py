# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import LoadImaged
from PIL import Image

from monai_diffae.data import ImageChains, VolumeSlices, find_chains, find_images, items_of_chains

FILES = ("a.png", "b.png", "sub/a.png", "sub/c.png")


@pytest.fixture
def dataset_dir(tmp_path) -> Path:
    """Pictures with the value of their place."""
    for value, name in enumerate(FILES):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), value, np.uint8)).save(path)
    return tmp_path / "data"


def relative(chains: list[list[str]], dataset_dir: Path) -> list[list[str]]:
    return [[Path(file).relative_to(dataset_dir).as_posix() for file in chain] for chain in chains]


def write_table(path: Path, *rows: str, header: str = "file,file_to") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_by_default_each_file_is_joined_with_the_next(dataset_dir):
    chains = find_chains(find_images(dataset_dir), dataset_dir)
    assert relative(chains, dataset_dir) == [["a.png", "b.png"], ["b.png", "sub/a.png"], ["sub/a.png", "sub/c.png"]]


@pytest.mark.parametrize("kind", [list, tuple])
def test_given_pairs_are_joined_in_their_order(dataset_dir, kind):
    pairs = kind([kind(["sub/c.png", "a.png"]), kind(["sub/c.png", str(dataset_dir / "b.png")])])
    chains = find_chains(find_images(dataset_dir), dataset_dir, pairs=pairs)
    assert relative(chains, dataset_dir) == [["sub/c.png", "a.png"], ["sub/c.png", "b.png"]]


def test_a_chain_may_end_where_it_begins(dataset_dir):
    files = ["sub/../a.png", "sub/c.png", Path("b.png"), "a.png"]
    chains = find_chains(find_images(dataset_dir), dataset_dir, chain=files)
    assert relative(chains, dataset_dir) == [["a.png", "sub/c.png", "b.png", "a.png"]]


def test_files_of_a_relative_folder_are_found_by_relative_names(dataset_dir, monkeypatch):
    monkeypatch.chdir(dataset_dir.parent)
    assert find_chains(find_images("data"), "data", chain=["a.png", "b.png"]) == [["data/a.png", "data/b.png"]]


def test_files_of_a_table_are_relative_to_the_dataset(dataset_dir, tmp_path):
    table = write_table(tmp_path / "pairs.csv", "a.png,1,sub/a.png", "a.png,2,b.png", header="\ufefffile,note,file_to")
    chains = find_chains(find_images(dataset_dir), dataset_dir, pairs_file=table)
    assert relative(chains, dataset_dir) == [["a.png", "sub/a.png"], ["a.png", "b.png"]]


def test_files_of_a_table_are_relative_to_the_table_first(dataset_dir):
    table = write_table(dataset_dir / "sub" / "pairs.csv", "a.png,b.png", "c.png,a.png")
    chains = find_chains(find_images(dataset_dir), dataset_dir, pairs_file=table)
    assert relative(chains, dataset_dir) == [["sub/a.png", "b.png"], ["sub/c.png", "sub/a.png"]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"chain": ["a.png", "z.png"]}, r"'z.png' is not a file of the data set. .*4 files: a.png, b.png, sub/a.png"),
        ({"pairs": [["a.png", "c.png"]]}, "'c.png' is not a file of the data set"),
        ({"chain": ["a.png"]}, r"Chain means two files or more, got \['a.png'\]"),
        ({"chain": "a.png"}, "chain is a list such as"),
        ({"chain": []}, "chain is a list such as"),
        ({"pairs": []}, "pairs is a list such as"),
        ({"pairs": "a.png"}, "pairs is a list such as"),
        ({"pairs": ["a.png", "b.png"]}, r"pairs is a list such as \[\['a.png','b.png'\]\], got 'a.png'"),
        ({"pairs": [["a.png", "b.png", "sub/c.png"]]}, "Pair means two files, got"),
        ({"pairs": [["a.png"]]}, "Pair means two files, got"),
        ({"pairs": [["a.png", 3]]}, "Pair means two files, got"),
        ({"pairs": [["a.png", "b.png"], ["a.png", "b.png"]]}, "given twice"),
        ({"pairs": [["a.png", "b.png"]], "chain": ["a.png", "b.png"]}, "one of pairs, pairs_file and chain, got pairs"),
    ],
)
def test_what_cannot_be_joined_is_named(dataset_dir, given, message):
    with pytest.raises(ValueError, match=message):
        find_chains(find_images(dataset_dir), dataset_dir, **given)


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("file,to", ["a.png,b.png"], "has no column file_to; it has file, to"),
        ("file,file_to", [], "has no rows"),
        ("file,file_to", ["a.png,b.png", "a.png,"], "pair 2 of 2: file or file_to is empty"),
        ("file,file_to", ["a.png"], "line 2: 1 cells, expected 2"),
        ("file,file_to", ["a.png,z.png"], "'z.png' is not a file of the data set"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(dataset_dir, tmp_path, header, rows, message):
    table = write_table(tmp_path / "pairs.csv", *rows, header=header)
    with pytest.raises(ValueError, match=message):
        find_chains(find_images(dataset_dir), dataset_dir, pairs_file=table)


def test_a_single_file_cannot_be_joined_with_the_next(dataset_dir):
    with pytest.raises(ValueError, match=r"Two files or more are needed, .* has 1"):
        find_chains(find_images(dataset_dir)[:1], dataset_dir)


def test_the_items_of_chains_are_those_named_in_the_order_of_the_list():
    data = [{"image": name, "subject": name.upper()} for name in "abcde"]
    assert items_of_chains(data, [["d", "a"], ["a", "b"]]) == [data[0], data[1], data[3]]
    assert items_of_chains(data, []) == []


def pictures(dataset_dir: Path, **given) -> ImageChains:
    data = find_images(dataset_dir)
    loaded = Dataset(data, LoadImaged("image", ensure_channel_first=True))
    return ImageChains(loaded, data, find_chains(data, dataset_dir, **given))


def name(image: MetaTensor) -> str:
    return "/".join(Path(image.meta["filename_or_obj"]).parts[-2:])


def test_an_item_of_a_pair_of_pictures_holds_both(dataset_dir):
    chains = pictures(dataset_dir, pairs=[["sub/c.png", "a.png"], ["sub/c.png", "b.png"]])
    assert [(name(item["image"]), name(item["image_to"])) for item in chains] == [
        ("sub/c.png", "data/a.png"),
        ("sub/c.png", "data/b.png"),
    ]
    assert [float(item["image_to"].unique()) for item in chains] == [0, 1]


def test_an_item_of_a_chain_holds_all_that_follow_and_goes_through_a_batch(dataset_dir):
    chains = pictures(dataset_dir, chain=["sub/c.png", "a.png", "sub/a.png"])
    assert len(chains) == 1
    batch = next(iter(DataLoader(chains, batch_size=2)))
    assert [image.shape for image in batch["image_to"]] == [(1, 1, 4, 4)] * 2
    (item,) = decollate_batch(batch)
    assert [name(image) for image in item["image_to"]] == ["data/a.png", "sub/a.png"]
    assert [float(image.unique()) for image in (item["image"], *item["image_to"])] == [3, 0, 2]


def volumes(*depths: int) -> list[dict]:
    """Volumes whose values are 1000 times their number plus the index of the slice."""
    return [
        {
            "image": MetaTensor(
                (1000.0 * number + torch.arange(depth)).expand(1, 4, 3, depth).clone(),
                meta={"filename_or_obj": f"{number}.nii"},
            )
        }
        for number, depth in enumerate(depths)
    ]


def slice_chains(chains: list[list[int]], *depths: int) -> ImageChains:
    sources = [{"image": f"{number}.nii"} for number in range(len(depths))]
    return ImageChains(VolumeSlices(volumes(*depths)), sources, [[f"{i}.nii" for i in chain] for chain in chains])


def test_slices_at_the_same_place_are_joined():
    pairs = slice_chains([[0, 1], [0, 2], [2, 0]], 2, 2, 2)
    found = [(float(pair["image"].unique()), float(pair["image_to"].unique())) for pair in pairs]
    assert found == [(0, 1000), (1, 1001), (0, 2000), (1, 2001), (2000, 0), (2001, 1)]
    assert [pair["slice"] for pair in pairs] == [0, 1] * 3
    # One volume begins two chains, and its results make two files.
    assert [pair["volume"] for pair in pairs] == [0, 0, 1, 1, 2, 2]
    assert pairs[0]["image_to"].meta["filename_or_obj"] == "1.nii"


def test_slices_of_a_chain_follow_through_all_volumes():
    chain = slice_chains([[2, 0, 1]], 2, 2, 2)
    assert [[float(x.unique()) for x in (item["image"], *item["image_to"])] for item in chain] == [
        [2000, 0, 1000],
        [2001, 1, 1001],
    ]


@pytest.mark.parametrize("depths", [(2, 4), (4, 2)])
def test_the_surplus_of_the_longer_volume_is_left_out_with_a_warning(depths):
    with pytest.warns(UserWarning, match=f"0.nii, 1.nii have {depths[0]}, {depths[1]} slices; the first 2 of each"):
        pairs = slice_chains([[0, 1]], *depths)
    assert [(float(p["image"].unique()), float(p["image_to"].unique())) for p in pairs] == [(0, 1000), (1, 1001)]


def test_items_do_not_share_the_data_sets_dictionaries(dataset_dir):
    data = [{"image": torch.full((1, 2, 2), float(i)), "label": i} for i in range(2)]
    sources = [{"image": "a"}, {"image": "b"}]
    item = ImageChains(Dataset(data), sources, [["a", "b"]])[0]
    assert item["label"] == 0
    assert set(data[0]) == {"image", "label"}


@pytest.mark.parametrize(
    ("chains", "message"),
    [
        ([["a", "b"], ["a", "b", "a"]], r"chains of one length, two files or more, got chains of \[2, 3\]"),
        ([["a"]], r"got chains of \[1\]"),
        ([], "got chains of none"),
    ],
)
def test_chains_that_make_no_batch_are_refused(chains, message):
    data = [{"image": torch.zeros(1, 2, 2)}] * 2
    with pytest.raises(ValueError, match=message):
        ImageChains(Dataset(data), [{"image": "a"}, {"image": "b"}], chains)


def test_a_data_set_of_other_files_is_refused():
    with pytest.raises(ValueError, match="images of 3 files, but sources names 2 files"):
        ImageChains(Dataset([{"image": torch.zeros(1)}] * 3), [{"image": "a"}, {"image": "b"}], [["a", "b"]])


@pytest.mark.parametrize(
    "pairs",
    [[["a.png", "sub/c.png"], ["a.png", "sub_c.png"]], [["a.png", "x_to_b.png"], ["a_to_x.png", "b.png"]]],
)
def test_pairs_whose_results_would_get_one_name_are_refused(tmp_path, pairs):
    data = [{"image": str(tmp_path / name)} for name in dict.fromkeys([*pairs[0], *pairs[1]])]
    stem = "a_to_sub_c" if "sub_c.png" in pairs[1] else "a_to_x_to_b"
    with pytest.raises(ValueError, match=f"{pairs[0][0]} to {pairs[0][1]} and of .* would both be named {stem}; give"):
        find_chains(data, tmp_path, pairs=pairs)
    for pair in pairs:
        assert len(find_chains(data, tmp_path, pairs=[pair])) == 1


def test_a_file_with_a_number_sign_is_found_by_what_a_configuration_makes_of_it(tmp_path):
    data = [{"image": str(tmp_path / name)} for name in ("a#1.png", "b.png")]
    parser = ConfigParser({"pairs": [["a#1.png", "b.png"]]})
    pairs = parser.get_parsed_content("pairs")
    assert find_chains(data, tmp_path, pairs=pairs) == [[data[0]["image"], data[1]["image"]]]
