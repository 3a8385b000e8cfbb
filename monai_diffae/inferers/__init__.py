# SPDX-License-Identifier: Apache-2.0
from .autoencoding import DiffusionAutoencoderInferer as DiffusionAutoencoderInferer
from .autoencoding import ReconstructionInferer as ReconstructionInferer
from .editing import InterpolationInferer as InterpolationInferer
from .editing import ManipulationInferer as ManipulationInferer
from .editing import VariationInferer as VariationInferer
