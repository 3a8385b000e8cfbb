# SPDX-License-Identifier: Apache-2.0
from .adversarial import DiffusionAdversarialTrainer as DiffusionAdversarialTrainer
from .prepare_batch import PredictedImagePrepareBatch as PredictedImagePrepareBatch
from .prepare_batch import SampledDiffusionPrepareBatch as SampledDiffusionPrepareBatch
