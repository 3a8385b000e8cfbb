# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable, Mapping

from monai_diffae.results.sources import following_images

__all__ = ["chain_stretches"]


def chain_stretches(item: Mapping, output: Mapping, series: Iterable[str]) -> list[tuple[dict, dict]]:
    """An item of a chain as one item from each of its images to the next, with its part of each series.

    Args:
        item: with ``image`` and ``image_to``, as :class:`~monai_diffae.data.ImageChains` gives them.
        output: results of the item.
        series: keys of ``output`` whose values ``(N, C, *spatial)`` run along the chain, its images at equal distances
            and none of them doubled. The image where two stretches meet is in both.

    Returns:
        (item, output) of each stretch; one where the item is no chain. Only the first has the item's ``slice``, which
        is that of its ``image``.

    Raises:
        ValueError: if the images of a chain cannot stand at equal distances in a series.
    """
    images = [item["image"], *following_images(item)]
    count = len(images) - 1
    if count < 2:
        return [(dict(item), dict(output))]
    steps = {}
    for key in series:
        steps[key], rest = divmod(len(output[key]) - 1, count)
        if rest:
            raise ValueError(f"{key!r} has {len(output[key])} images, not divisible into {count} equal stretches.")
    results = {key: value for key, value in output.items() if key != "image"}  # the chain's first, which engines add
    stretches = [
        (
            {**item, "image": images[i], "image_to": images[i + 1]},
            {**results, **{key: output[key][i * step : (i + 1) * step + 1] for key, step in steps.items()}},
        )
        for i in range(count)
    ]
    for stretch, _ in stretches[1:]:
        stretch.pop("slice", None)
    return stretches
