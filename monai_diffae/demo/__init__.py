# SPDX-License-Identifier: Apache-2.0
"""The main job from end to end on shipped weights: images in; edited and new images, figures and a page out.

    python -m monai_diffae.demo --bundles_root bundles --output_dir demo_output

First the bundles of real images: samples, and images that training never saw, which are pydicom's CT and MR slices
and the hippocampi of the MNI152 template, or of data sets that are given. Then volumes of another seed of the
generator and the untouched template go through the brain bundle's workflows, ten digits of the test set through those
of the bundle for pictures, all in one process; the short commands that do the same are printed and listed on the
page.
"""

from .run import make_demo as make_demo
