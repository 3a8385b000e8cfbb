# SPDX-License-Identifier: Apache-2.0
from .invertible_ddim import InvertibleDDIMScheduler as InvertibleDDIMScheduler
from .invertible_ddim import ddim_update as ddim_update
from .schedules import constant_beta as constant_beta
