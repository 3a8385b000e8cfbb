# SPDX-License-Identifier: Apache-2.0
from .prepare_batch import SampledDiffusionPrepareBatch as SampledDiffusionPrepareBatch
