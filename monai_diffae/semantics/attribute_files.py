# SPDX-License-Identifier: Apache-2.0
"""The file of :class:`~monai_diffae.semantics.AttributeDirections`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from monai_diffae.semantics.attribute_summary import AttributeSummary
from monai_diffae.semantics.statistics import LatentStatistics
from monai_diffae.support.atomic_files import replacing
from monai_diffae.support.finite_weights import not_finite
from monai_diffae.support.torch_files import read_torch_file

__all__ = ["read_attributes", "write_attributes"]


def write_attributes(
    path: str | os.PathLike,
    names: Sequence[str],
    summaries: Mapping[str, AttributeSummary],
    state_dict: Mapping[str, torch.Tensor],
) -> None:
    """The whole file or none; a file that is there is replaced."""
    content = {
        "names": list(names),
        "summaries": {name: dataclasses.asdict(summary) for name, summary in summaries.items()},
        "state_dict": dict(state_dict),
    }
    with replacing(path) as partial:
        torch.save(content, partial)


def read_attributes(path: str | os.PathLike) -> dict[str, Any]:
    """The arguments of :class:`~monai_diffae.semantics.AttributeDirections`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another file.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"There are no attribute directions {os.fspath(path)!r}; fit_attributes.yaml makes them, or give another "
            "attributes_path."
        )
    content = read_torch_file(path)
    try:
        state = content["state_dict"]
        if wrong := not_finite({key: state[key] for key in ("weight", "bias")}):
            raise ValueError(wrong)
        summaries = content.get("summaries")
        if summaries is None:  # files before there were other kinds than binary
            summaries = {name: {"cross_validated": {"auroc": auroc}} for name, auroc in content["auroc"].items()}
        return {
            "names": content["names"],
            "weight": state["weight"],
            "bias": state["bias"],
            "class_means": state.get("class_means"),  # which earlier files do not have
            "pattern": state.get("pattern"),  # nor this
            "statistics": LatentStatistics(state["statistics.mean"], state["statistics.std"]),
            "summaries": {name: AttributeSummary(**summary) for name, summary in summaries.items()},
        }
    except Exception as error:  # whatever the content of another file gives
        raise ValueError(
            f"{os.fspath(path)!r} is no file of attribute directions, as fit_attributes.yaml and the conversion of an "
            f"official classifier write it ({type(error).__name__}: {error}); give another attributes_path."
        ) from None
