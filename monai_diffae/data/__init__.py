# SPDX-License-Identifier: Apache-2.0
from monai_diffae.support.old_names import moved_names

from .changes import MaskedChanged as MaskedChanged
from .data_lists import common_root as common_root
from .few_labels import few_shot_data as few_shot_data
from .finite import CheckFinited as CheckFinited
from .folders import find_images as find_images
from .folders import find_volumes as find_volumes
from .foreground import CropToForegroundd as CropToForegroundd
from .intensity import RescaleIntensityd as RescaleIntensityd
from .item_cache import ItemCache as ItemCache
from .label_columns import find_labels_file as find_labels_file
from .label_columns import label_columns as label_columns
from .labels import LabelsWhereShownd as LabelsWhereShownd
from .labels import MaskAread as MaskAread
from .labels import MaskToLabeld as MaskToLabeld
from .labels import add_labels as add_labels
from .latent_images import LatentImages as LatentImages
from .latents import encode_dataset as encode_dataset
from .latents import encode_once as encode_once
from .latents import encoding_fingerprint as encoding_fingerprint
from .loading import LoadVolumed as LoadVolumed
from .mask_grids import MatchGridd as MatchGridd
from .pairs import ImageChains as ImageChains
from .pairs import find_chains as find_chains
from .pairs import items_of_chains as items_of_chains
from .pictures import CenterCropToAspectd as CenterCropToAspectd
from .pictures import PasteIntoSourced as PasteIntoSourced
from .pictures import PictureReader as PictureReader
from .pictures import PictureWriter as PictureWriter
from .pictures import ResizePictured as ResizePictured
from .pictures import size_before_crop as size_before_crop
from .prepared_axes import checked_orientation as checked_orientation
from .prepared_axes import checked_spacing as checked_spacing
from .recent import RecentDataset as RecentDataset
from .sample_indices import SampleIndices as SampleIndices
from .sample_names import sample_name as sample_name
from .seeded import EndlessSampler as EndlessSampler
from .seeded import RandDiffusionNoised as RandDiffusionNoised
from .seeded import SeededDataset as SeededDataset
from .shared_images import warn_of_shared_images as warn_of_shared_images
from .splits import split_indices as split_indices
from .splits import split_volumes as split_volumes
from .usable_items import UsableItems as UsableItems
from .volume_slices import VolumeSlices as VolumeSlices
from .whole_volumes import WholeVolumes as WholeVolumes

__getattr__ = moved_names(__name__)
