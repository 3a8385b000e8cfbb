# SPDX-License-Identifier: Apache-2.0
from monai_diffae.datasets.brain_slices.generator import main

if __name__ == "__main__":
    main()
