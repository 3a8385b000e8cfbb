# SPDX-License-Identifier: Apache-2.0
"""Writes the configurations of bundles from their parts: ``python -m monai_diffae.bundles bundles/*``."""

import argparse
from pathlib import Path

from .building import build_bundle

parser = argparse.ArgumentParser(description="Write the configurations of bundles from bundle.yaml and shared parts.")
parser.add_argument("folders", type=Path, nargs="+", help="bundles with a bundle.yaml")
for folder in parser.parse_args().folders:
    for name in build_bundle(folder):
        print(folder / name)
