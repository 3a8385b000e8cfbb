# SPDX-License-Identifier: Apache-2.0
import importlib
import subprocess
import sys

import pytest
from monai.bundle import ConfigParser

import monai_diffae
from monai_diffae import datasets, results, training

CLASSES = {
    "monai_diffae.handlers.FigureSaver": results.FigureSaver,
    "monai_diffae.handlers.EMAWarmUp": training.EMAWarmUp,
    "monai_diffae.handlers.WeightsLoader": monai_diffae.checkpoints.WeightsLoader,
    "monai_diffae.engines.DiffusionTrainer": training.DiffusionTrainer,
    "monai_diffae.losses.PredictedImageLoss": training.PredictedImageLoss,
    "monai_diffae.data.ensure_digits": datasets.ensure_digits,
    "monai_diffae.data.LatentBatches": training.LatentBatches,
    "monai_diffae.data.brain_slices.draw_factors": datasets.brain_slices.draw_factors,
    "monai_diffae.root_cause.print_root_cause": monai_diffae.support.root_cause.print_root_cause,
    "monai_diffae.batch_size.find_batch_size": monai_diffae.support.batch_size.find_batch_size,
}


@pytest.mark.parametrize(("old", "new"), CLASSES.items())
def test_old_path_leads_to_the_class_and_warns(old, new):
    module, name = old.rsplit(".", 1)
    with pytest.warns(DeprecationWarning, match=f"is now {new.__module__.rsplit('.', 1)[0].split('.')[0]}"):
        assert getattr(importlib.import_module(module), name) is new


def test_configuration_of_a_user_with_an_old_path_works():
    parser = ConfigParser(
        {"imports": ["$import monai_diffae"], "clip": {"_target_": "monai_diffae.handlers.EMAWarmUp"}}
    )
    parser["clip"]["decay"] = 0.9
    parser["hook"] = "$monai_diffae.root_cause.root_cause(ValueError('a'))"
    with pytest.warns(DeprecationWarning, match="the old path works until"):
        assert isinstance(parser.get_parsed_content("clip"), training.EMAWarmUp)
    with pytest.warns(DeprecationWarning, match="the old path works until"):
        assert str(parser.get_parsed_content("hook")) == "a"


def test_unknown_name_is_an_error():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        importlib.import_module("monai_diffae.handlers").Nothing  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        monai_diffae.data.Nothing  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("monai_diffae.nothing")


def test_importing_the_package_imports_no_room():
    command = "import sys, monai_diffae; print([m for m in sys.modules if m in ('torch', 'monai', 'ignite', 'numpy')])"
    printed = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "[]"
