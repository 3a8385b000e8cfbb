# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from monai_diffae.metrics.scores import KINDS

__all__ = ["checked_kinds"]

logger = logging.getLogger(__name__)


def checked_kinds(kinds: Mapping[str, str] | None, names: Sequence[str]) -> dict[str, str]:
    """Kinds of labels as measures take them: the grades of ``ordinal`` ones, which directions can be fitted to, are
    numbers here; those of labels that are none of ``names`` are left out, which the log says.

    Raises:
        ValueError: for another kind.
    """
    kinds = {name: "continuous" if kind == "ordinal" else kind for name, kind in (kinds or {}).items()}
    if wrong := sorted({kind for kind in kinds.values() if kind not in KINDS}):
        raise ValueError(f"attribute_kinds are {', '.join(KINDS)} or ordinal; got {', '.join(map(repr, wrong))}.")
    if unknown := [name for name in kinds if name not in names]:  # of the data that a bundle is made for, say
        logger.info(f"No labels {', '.join(unknown)}, which attribute_kinds names, among {', '.join(names) or 'none'}.")
    return {name: kind for name, kind in kinds.items() if name in names}
