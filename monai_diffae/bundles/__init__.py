# SPDX-License-Identifier: Apache-2.0
"""Bundles made of parts: what they share is written once, in ``parts``; what a bundle adds, in its ``bundle.yaml``."""

from .building import build_bundle as build_bundle
from .building import built_files as built_files
from .finding import bundle_folders as bundle_folders
from .finding import find_bundle as find_bundle
from .finding import shown_path as shown_path
from .known_ids import check_ids as check_ids
from .known_ids import check_options_of_run as check_options_of_run
from .known_ids import unknown_ids as unknown_ids
from .main_ids import main_ids as main_ids
from .new_bundle import new_bundle as new_bundle
from .workflows import BundleConfigs as BundleConfigs
