# SPDX-License-Identifier: Apache-2.0
from monai_diffae.demo.run import main

if __name__ == "__main__":
    main()
