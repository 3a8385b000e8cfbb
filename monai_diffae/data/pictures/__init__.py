# SPDX-License-Identifier: Apache-2.0
"""Picture files as MONAI's LoadImaged and SaveImaged read and write them with the classes of this folder.

Everywhere a picture is ``(C, rows, columns)``, rows from the top, as torchvision and the authors of Diff-AE have it
(MONAI's own PILReader gives the transpose), and its values are -1 (black) to 1 (white) whatever the file's bit depth.
"""

from .framing import CenterCropToAspectd as CenterCropToAspectd
from .framing import PasteIntoSourced as PasteIntoSourced
from .framing import ResizePictured as ResizePictured
from .framing import size_before_crop as size_before_crop
from .reading import PictureReader as PictureReader
from .writing import PictureWriter as PictureWriter
