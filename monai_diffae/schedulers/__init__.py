# SPDX-License-Identifier: Apache-2.0
from .grid import Grid as Grid
from .invertible_ddim import InvertibleDDIMScheduler as InvertibleDDIMScheduler
from .invertible_ddim import ddim_update as ddim_update
from .multistep_ddim import MultistepDDIMScheduler as MultistepDDIMScheduler
from .predicted_image import noise_loss_weight as noise_loss_weight
from .predicted_image import predicted_image as predicted_image
from .schedules import constant_beta as constant_beta
from .timestep_weights import timestep_weights as timestep_weights
