# SPDX-License-Identifier: Apache-2.0
import dataclasses
import math

import pytest
import torch
from torch.testing import assert_close

from monai_diffae.semantics import AttributeDirections, AttributeSummary, LatentStatistics

DIMENSIONS = 5


@pytest.fixture
def attributes() -> AttributeDirections:
    z_sem = torch.randn(60, DIMENSIONS)
    labels = {"lesion": z_sem[:, 0] > 0, "age": 50 + z_sem[:, 1], "grade": z_sem[:, 2].round().clamp(-1, 1)}
    return AttributeDirections.fit(z_sem, labels, kinds={"grade": "ordinal"})


def test_file_gives_back_scores_moves_names_and_summaries(attributes, tmp_path):
    path = tmp_path / "new" / "attributes.pt"
    attributes.save(path)
    loaded = AttributeDirections.load(path)
    z_sem = torch.randn(5, DIMENSIONS)
    assert loaded.names == attributes.names
    assert loaded.summaries == attributes.summaries
    assert torch.equal(loaded.scores(z_sem), attributes.scores(z_sem))
    assert torch.equal(loaded.move(z_sem, "age", 0.3), attributes.move(z_sem, "age", 0.3))
    assert torch.equal(loaded.grades(z_sem, "grade"), attributes.grades(z_sem, "grade"))
    assert list(path.parent.iterdir()) == [path]  # no .partial
    assert set(torch.load(path, weights_only=True)) == {"names", "summaries", "state_dict"}


def test_values_of_files_that_do_not_know_the_scores_of_values_are_scores(attributes, tmp_path):
    attributes.save(tmp_path / "attributes.pt")
    content = torch.load(tmp_path / "attributes.pt", weights_only=True)
    assert content["summaries"]["age"].pop("score_per_unit") < 1
    torch.save(content, tmp_path / "attributes.pt")
    loaded = AttributeDirections.load(tmp_path / "attributes.pt")
    assert loaded.summary("age").target_scores(torch.zeros(1), 7.0).tolist() == [7.0]


def test_summaries_that_know_nothing_come_back_too(tmp_path):
    statistics = LatentStatistics(torch.zeros(2), torch.ones(2))
    AttributeDirections(["a"], torch.ones(1, 2), torch.zeros(1), statistics).save(tmp_path / "attributes.pt")
    summary = AttributeDirections.load(tmp_path / "attributes.pt").summaries["a"]
    assert (summary.kind, summary.num_labels, summary.cross_validated) == ("binary", None, {})
    assert math.isnan(summary.score_min)


def test_file_of_the_first_version_is_read_as_binary_attributes(attributes, tmp_path):
    old = {"names": attributes.names, "auroc": {"lesion": 0.75}, "state_dict": attributes.state_dict()}
    torch.save(old, tmp_path / "attributes.pt")
    loaded = AttributeDirections.load(tmp_path / "attributes.pt")
    assert_close(loaded.state_dict(), attributes.state_dict(), equal_nan=True)
    assert {summary.kind for summary in loaded.summaries.values()} == {"binary"}
    assert [dict(summary.cross_validated) for summary in loaded.summaries.values()] == [{"auroc": 0.75}, {}, {}]


def test_failed_save_leaves_the_file_that_was_there(attributes, tmp_path):
    path = tmp_path / "attributes.pt"
    attributes.save(path)
    before = path.read_bytes()
    broken = dataclasses.replace(attributes.summaries["age"], cross_validated={"r2": lambda: None})
    attributes.summaries["age"] = broken  # cannot be pickled
    with pytest.raises(Exception, match="lambda"):
        attributes.save(path)
    assert path.read_bytes() == before


def test_save_replaces_the_file_that_was_there(attributes, tmp_path):
    path = tmp_path / "attributes.pt"
    path.write_text("of an earlier run")
    attributes.save(path)
    assert AttributeDirections.load(path).names == attributes.names


@pytest.mark.parametrize("content", ["text", "empty", "model", "list", "other attributes", "unknown kind"])
def test_file_of_another_kind_is_an_error_that_names_it(attributes, tmp_path, content):
    path = tmp_path / "some.pt"
    contents = {
        "model": torch.nn.Linear(2, 2).state_dict(),
        "list": [1, 2],
        "other attributes": {"names": ["a"], "summaries": {}, "state_dict": {"weight": torch.ones(1, 2)}},
        "unknown kind": {
            "names": attributes.names,
            "summaries": {"age": {"kind": "nominal"}},
            "state_dict": attributes.state_dict(),
        },
    }
    if content in contents:
        torch.save(contents[content], path)
    else:
        path.write_text("" if content == "empty" else "file,lesion\n")
    with pytest.raises(ValueError, match=r"some\.pt' (cannot be read|is no file of attribute)"):
        AttributeDirections.load(path)


def test_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        AttributeDirections.load(tmp_path / "attributes.pt")


def test_summaries_of_unknown_kind_or_name_are_refused():
    with pytest.raises(ValueError, match="one of binary, ordinal, continuous; got 'nominal'"):
        AttributeSummary(kind="nominal")
    statistics = LatentStatistics(torch.zeros(2), torch.ones(2))
    with pytest.raises(ValueError, match="summaries of some"):
        AttributeDirections(["a"], torch.ones(1, 2), torch.zeros(1), statistics, {"b": AttributeSummary()})
    with pytest.raises(ValueError, match="different names"):
        AttributeDirections(["a", "a"], torch.ones(2, 2), torch.zeros(2), statistics)
