# SPDX-License-Identifier: Apache-2.0
from .autoencoding import DiffusionAutoencoderInferer as DiffusionAutoencoderInferer
from .autoencoding import ReconstructionInferer as ReconstructionInferer
from .conditional_sampling import ConditionalSamplingInferer as ConditionalSamplingInferer
from .interpolation import InterpolationInferer as InterpolationInferer
from .manipulation import ManipulationInferer as ManipulationInferer
from .sampling import SamplingInferer as SamplingInferer
from .variation import VariationInferer as VariationInferer
