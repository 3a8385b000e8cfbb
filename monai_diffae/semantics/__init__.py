# SPDX-License-Identifier: Apache-2.0
from .attribute_summary import AttributeSummary as AttributeSummary
from .attributes import AttributeDirections as AttributeDirections
from .edits import Edit as Edit
from .few_shot import fit_few_shot as fit_few_shot
from .interpolation import lerp as lerp
from .interpolation import slerp as slerp
from .statistics import LatentStatistics as LatentStatistics
from .typicality import LatentTypicality as LatentTypicality
