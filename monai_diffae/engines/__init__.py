# SPDX-License-Identifier: Apache-2.0
from .adversarial import DiffusionAdversarialTrainer as DiffusionAdversarialTrainer
from .gradient_scaling import DiffusionTrainer as DiffusionTrainer
from .prepare_batch import PredictedImagePrepareBatch as PredictedImagePrepareBatch
from .prepare_batch import SampledDiffusionPrepareBatch as SampledDiffusionPrepareBatch
