# SPDX-License-Identifier: Apache-2.0
from monai_diffae.datasets.digits.generator import main

if __name__ == "__main__":
    main()
