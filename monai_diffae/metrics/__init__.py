# SPDX-License-Identifier: Apache-2.0
import importlib
from types import ModuleType

from .baselines import PixelComponents as PixelComponents
from .baselines import untrained_copy as untrained_copy
from .dimensions import effective_dimension as effective_dimension
from .disentanglement import dci as dci
from .disentanglement import labels_that_vary_together as labels_that_vary_together
from .disentanglement import total_auroc_difference as total_auroc_difference
from .distribution_distance import frechet_distance as frechet_distance
from .distribution_distance import kernel_distance as kernel_distance
from .edit_response import monotonic_response as monotonic_response
from .image_classifier import ImageClassifier as ImageClassifier
from .image_classifier import train_image_classifier as train_image_classifier
from .image_quality import ImageQuality as ImageQuality
from .image_quality import lpips_network as lpips_network
from .linear_probe import LabelledFeatures as LabelledFeatures
from .linear_probe import Probe as Probe
from .linear_probe import linear_probe as linear_probe
from .manifolds import manifold_measures as manifold_measures
from .manifolds import nearest as nearest
from .nan_metrics import NaNMetrics as NaNMetrics
from .scores import bootstrap_intervals as bootstrap_intervals
from .scores import score_predictions as score_predictions
from .stochastic_code import x_T_statistics as x_T_statistics


def __getattr__(name: str) -> ModuleType:
    if name == "evaluation":  # which needs what is above
        return importlib.import_module(f"{__name__}.evaluation")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
