# SPDX-License-Identifier: Apache-2.0
from .predicted_image import PredictedImageLoss as PredictedImageLoss
