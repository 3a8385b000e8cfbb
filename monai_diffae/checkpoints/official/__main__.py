# SPDX-License-Identifier: Apache-2.0
from monai_diffae.checkpoints.official.convert import main

if __name__ == "__main__":
    main()
