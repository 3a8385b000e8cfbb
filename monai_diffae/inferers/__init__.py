# SPDX-License-Identifier: Apache-2.0
from .adversarial import DiscriminatorInferer as DiscriminatorInferer
from .adversarial import PredictedImageInferer as PredictedImageInferer
from .autoencoding import DiffusionAutoencoderInferer as DiffusionAutoencoderInferer
from .exact_inversion import Inversion as Inversion
from .interpolation import InterpolationInferer as InterpolationInferer
from .latent_sampling import ConditionalLatentSampler as ConditionalLatentSampler
from .latent_sampling import LatentSampler as LatentSampler
from .manipulation import ManipulationInferer as ManipulationInferer
from .mixed_precision import MixedPrecisionInferer as MixedPrecisionInferer
from .reconstruction import ReconstructionInferer as ReconstructionInferer
from .remembering import RememberingInferer as RememberingInferer
from .sampling import SamplingInferer as SamplingInferer
from .semantic_gap import SemanticGapInferer as SemanticGapInferer
from .slicewise import SlicewiseInferer as SlicewiseInferer
from .swap import SwapInferer as SwapInferer
from .variation import VariationInferer as VariationInferer
from .windowed import WindowedInferer as WindowedInferer
