# SPDX-License-Identifier: Apache-2.0
"""Options have the kind of what they replace: words of the command line become truth values, or are refused."""

from __future__ import annotations

import re

import nibabel as nib
import numpy as np
import pytest
from in_process import Ended, run_module
from PIL import Image
from workflows import BUNDLES, TINY, draw_weights, read_table

from monai_diffae.bundles.option_values import read_values

DEFAULTS = {"resume": True, "compile": False, "max_iterations": 6000, "learning_rate": 1e-3, "x_T": "encode"}
DEFAULTS |= {"channel": None, "slice_range": [0.45, 0.75], "attributes": ["hand"], "masks": {}, "output_dir": "$@root"}
DEFAULTS |= {"load": {"_target_": "LoadImaged"}, "attention_levels": [False, True], "handlers": []}


@pytest.mark.parametrize(
    ("id", "given", "read"),
    [
        ("resume", "false", False),
        ("resume", "False ", False),
        ("resume", "no", False),
        ("compile", "TRUE", True),
        ("compile", "on", True),
        ("max_iterations", 1e4, 10000),
        ("max_iterations", "null", None),
        ("max_iterations", None, None),
        ("slice_range", "None", None),
        ("channel", "null", None),
        ("attributes", "null", None),
        ("x_T", "null", None),
        ("output_dir", None, None),
    ],
)
def test_words_and_whole_floats_are_read(id, given, read):
    result = read_values({id: given}, {id: DEFAULTS[id]})
    assert result == {id: read}
    assert type(result[id]) is type(read)


@pytest.mark.parametrize(
    ("id", "given"),
    [
        ("resume", True),
        ("resume", "$not @compile"),
        ("max_iterations", 5),
        ("max_iterations", [1, 2]),
        ("max_iterations", "@other"),
        ("learning_rate", 1),
        ("learning_rate", 1e30),
        ("x_T", "random"),
        ("x_T", 3),
        ("output_dir", "null"),
        ("channel", "word"),
        ("slice_range", [0, 1]),
        ("slice_range", (0.5, None)),
        ("attributes", "hand"),
        ("masks", {"tumour": "tumours"}),
        ("load", "word"),
        ("attention_levels", [True]),
        ("handlers", "word"),
    ],
)
def test_values_of_the_right_kind_pass(id, given):
    assert read_values({id: given}, {id: DEFAULTS[id]}) == {}


@pytest.mark.parametrize(
    ("id", "given", "sentence"),
    [
        ("resume", "maybe", "resume is true or false, got 'maybe'."),
        ("resume", 0, "resume is true or false, got 0."),
        ("max_iterations", "abc", "max_iterations is a number, got 'abc'."),
        ("max_iterations", True, "max_iterations is a number, got True."),
        ("max_iterations", 1.5, "max_iterations is a whole number, got 1.5."),
        ("max_iterations", 1e999, "max_iterations is a whole number, got inf."),
        ("learning_rate", "nan", "learning_rate is a number, got 'nan'."),
        ("resume", None, "resume is true or false, got None."),
        ("slice_range", 0.5, "slice_range is a list of numbers, such as [0.45, 0.75], got 0.5."),
        ("slice_range", "low", "slice_range is a list of numbers, such as [0.45, 0.75], got 'low'."),
        ("slice_range", ["a", 1], "slice_range is a list of numbers, such as [0.45, 0.75], got ['a', 1]."),
        ("masks", "tumours", "masks is a mapping, such as \"{'name':'value'}\", got 'tumours'."),
    ],
)
def test_another_kind_is_refused(id, given, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        read_values({id: given}, {id: DEFAULTS[id]})


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "data").mkdir()
    for k, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (8, 20, 16), dtype=np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "data" / f"{k}.png")
    return tmp_path / "data"


def typed(verb: str, pictures, *words: object) -> Ended:
    few = {"image_size": 16, "num_inference_steps": 1, "dataset_dir": pictures, "output_dir": pictures.parent / "out"}
    given = [word for name, value in (TINY | few).items() for word in (f"--{name}", value)]
    return run_module("monai_diffae", verb, BUNDLES / "natural_images_diffae", *given, *words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--max_iterations", "0"), "max_iterations must be a whole number of 1 or more, got 0."),
        (("--max_iterations", "-1"), "max_iterations must be a whole number of 1 or more, got -1."),
        (("--max_iterations", "1.5"), "max_iterations is a whole number, got 1.5."),
        (("--max_iterations", "abc"), "max_iterations is a number, got 'abc'."),
        (("--epoch_length", "0"), "epoch_length must be a whole number of 1 or more, got 0."),
        (("--resume", "maybe"), "resume is true or false, got 'maybe'."),
    ],
)
def test_training_of_no_length_is_one_sentence(pictures, words, sentence):
    ended = typed("train", pictures, *words)
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1] == f"ValueError: {sentence}"
    assert not (pictures.parent / "out").exists()


def test_codes_of_no_number_are_one_sentence(pictures):
    ended = typed("train-latent", pictures, "--latent_num_samples", "0", "--ckpt_path", pictures / "none.pt")
    last_line = ended.stderr.strip().splitlines()[-1]
    assert last_line == "ValueError: latent_num_samples must be a whole number of 1 or more, got 0."


def test_the_word_false_resumes_nothing(pictures):
    """As text it would be true, and the second run would find the first one complete."""
    out = pictures.parent / "out"
    words = ("--max_iterations", "2", "--batch_size", "4", "--num_inversion_steps", "1", "--num_workers", "0")
    assert typed("train", pictures, *words).returncode == 0
    assert typed("train", pictures, *words, "--resume", "false").returncode == 0
    assert list(out.glob("earlier_runs/*/training_log.csv"))
    assert typed("train", pictures, *words, "--resume", "true").returncode == 0
    assert len(list(out.glob("earlier_runs/*"))) == 1


@pytest.mark.parametrize(("word", "size"), [("false", (16, 16)), ("true", (16, 20))])
def test_a_word_changes_what_is_written(pictures, word, size):
    words = ("--source_size", word, "--x_T", "random", "--progress", "no", "--ckpt_path", pictures / "model.pt")
    train = ("--max_iterations", "1", "--batch_size", "4", "--num_inversion_steps", "1", "--num_workers", "0")
    assert typed("train", pictures, *train).returncode == 0
    (pictures.parent / "out" / "models" / "model.pt").rename(pictures / "model.pt")
    ended = typed("reconstruct", pictures, *words)
    assert ended.returncode == 0, ended.stderr
    assert Image.open(pictures.parent / "out" / "0_reconstruction.png").size == size


@pytest.mark.parametrize(("word", "count"), [("null", 12), ("None", 12), ("2.0", 2)])
def test_null_is_not_left_out(tmp_path, word, count):
    """``monai.bundle run`` leaves out options that are None, and the default would hold."""
    (tmp_path / "data").mkdir()
    ball = np.linalg.norm(np.indices((12, 12, 12)) - 5.5, axis=0) < 6
    nib.save(nib.Nifti1Image(100.0 * ball.astype(np.float32), np.diag([6.0, 6, 6, 1])), tmp_path / "data" / "a.nii")
    bundle = BUNDLES / "brain_slices_diffae"
    weights = draw_weights(bundle, tmp_path / "model.pt", scale=0.02, z_dim=8)
    options = {"z_dim": 8, "image_size": 32, "pixdim": 6.0, "progress": "off", "volume_figures": "no", "x_T": "zeros"}
    options |= {
        "num_inference_steps": 1,
        "ckpt_path": weights,
        "dataset_dir": tmp_path / "data",
        "slice_range": "[0,1]",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    ended = run_module(
        "monai_diffae", "reconstruct", bundle, *words, "--output_dir", tmp_path / "out", "--num_slices", word
    )
    assert ended.returncode == 0, ended.stderr
    assert len(read_table(tmp_path / "out" / "latents.csv")) == count
