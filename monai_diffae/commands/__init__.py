# SPDX-License-Identifier: Apache-2.0
"""Short commands: ``python -m monai_diffae`` or ``monai-diffae``.

    monai-diffae list                                              bundles and workflows
    monai-diffae edit --help                                       what can be set
    monai-diffae edit brain_slices_diffae --dataset_dir DATA --output_dir OUT --attribute lesion_left --amount 0.8

A verb is a workflow of a bundle. It puts the list of configurations together, prints the ``python -m monai.bundle run``
line that does the same, and runs it.
"""

from .command_line import main as main
