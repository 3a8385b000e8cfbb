# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine

from monai_diffae.results.evaluator_handler import EvaluatorHandler
from monai_diffae.results.sources import following_images, source_file
from monai_diffae.results.table_files import table_file_class
from monai_diffae.results.typicality import TypicalityCheck
from monai_diffae.semantics.edits import Edit, given_edit
from monai_diffae.support.atomic_files import partial_path
from monai_diffae.support.finite import check_finite
from monai_diffae.support.pseudonyms import Pseudonyms

__all__ = ["EditsTableSaver", "LatentsTableSaver"]


class _ItemTableSaver(EvaluatorHandler):
    """A table with rows for each item of an evaluator, which start with its file, and its slice if it is one.

    Rows are streamed to a temporary file, which takes the table's name when the run has ended. Of several processes
    each streams its own rows, and the first one puts them together in the order of the processes.

    Args:
        filename: its extension says the format.
        data_root_dir: files in it are named relative to it.

    Raises:
        ValueError: if the table cannot have that format.
    """

    formats: tuple[str, ...] = ("csv",)

    def __init__(self, filename: str | os.PathLike, data_root_dir: str | os.PathLike = "") -> None:
        self.filename = Path(filename)
        self._file_class = table_file_class(filename, self.formats)
        self.data_root_dir = data_root_dir

    def rows(self, output: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The further cells of an item's rows, by column, from the evaluator's output for it."""
        raise NotImplementedError(f"{type(self).__name__} says nothing about an item.")

    def placed_rows(self, item: Mapping[str, Any], output: Mapping[str, Any]) -> Iterator[tuple[dict, dict]]:
        """The rows of an item: their first cells and their further ones."""
        place = self.place(item)
        for row in self.rows(output):
            yield place, row

    def parts(self, item: Mapping[str, Any], output: Mapping[str, Any]) -> Iterator[tuple[Mapping, Mapping]]:
        """What has a place and rows of its own: the item and the evaluator's output for it."""
        yield item, output

    def place(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """The first cells of an item's rows, by column."""
        place = {"file": source_file(item, self.data_root_dir)}
        return place | ({"slice": int(item["slice"])} if "slice" in item else {})

    def _partial_of(self, rank: int) -> Path:
        return partial_path(self.filename, rank)

    def _start(self, engine: Engine) -> None:
        self.filename.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._file_class(self._partial_of(idist.get_rank()))

    def _collect(self, engine: Engine) -> None:
        items = (part for whole in zip(engine.state.batch, engine.state.output) for part in self.parts(*whole))
        self._file.write([row for item, output in items for row in self.placed_rows(item, output)])

    def _finish(self, engine: Engine) -> None:
        self._file.close()
        idist.barrier()  # all rows are written
        if idist.get_rank() > 0:
            return
        first, *others = (self._partial_of(rank) for rank in range(idist.get_world_size()))
        if others:
            self._file_class.join(first, others)
        os.replace(first, self.filename)
        for other in others:
            other.unlink()


class LatentsTableSaver(_ItemTableSaver):
    """Writes ``latents.csv`` or ``latents.parquet``: a row an item with its file, its subject where the data say it,
    and z_sem.

    A slice has its index in the prepared volume too. Slices and whole volumes have ``x_mm``, ``y_mm``, ``z_mm``, the
    place of their centre in the world of the source's affine (RAS for NIfTI).

    Where images are joined (:class:`~monai_diffae.data.ImageChains`), those that follow the item's have a row too if
    the output holds their ``z_sem_to``; an image that is in several pairs has one.

    The evaluator's output holds ``z_sem``. Rows are streamed to a temporary file, which takes the table's name when the
    run has ended.

    Args:
        filename: CSV or, with pyarrow installed, Parquet, which has z_sem in float32 as it is and not in 6 digits.
        data_root_dir: files in it are named relative to it.
        numbers: keys of the output with a number an item, for a column each before z_sem; one that the output does not
            hold (of a workflow that encodes nothing, say) has no column.
        typicality_path: file of :class:`~monai_diffae.semantics.LatentTypicality`, for a column ``typicality`` before
            z_sem and one warning of codes that are beyond all that it knows; a file that is not there is said to be
            missing. ``None`` for no column.
        identifiers: of subjects, ``pseudonyms`` or ``keep``. Names of files stay as they are.
        salt: of the pseudonyms; ``None`` for one that is drawn and kept beside the table, see
            :class:`~monai_diffae.support.pseudonyms.Pseudonyms`.
        image_numbers: from an image ``(C, *spatial)`` and its z_sem to numbers by column, which stand after the
            typicality, such as :class:`~monai_diffae.inferers.NoiseLosses`; ``None`` for none.

    Raises:
        ValueError: for a file that is neither ``.csv`` nor ``.parquet``; while it collects, for a code that is not
            finite, by the file of its image.
        ImportError: for Parquet without pyarrow.
    """

    formats = ("csv", "parquet")

    def __init__(
        self,
        filename: str | os.PathLike,
        data_root_dir: str | os.PathLike = "",
        numbers: Sequence[str] = (),
        typicality_path: str | os.PathLike | None = None,
        identifiers: str = "pseudonyms",
        salt: str | int | None = None,
        image_numbers: Callable[[torch.Tensor, torch.Tensor], Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__(filename, data_root_dir)
        self.numbers, self.image_numbers = tuple(numbers), image_numbers
        self._typicality = None if typicality_path is None else TypicalityCheck(typicality_path)
        self.pseudonyms = Pseudonyms(self.filename.parent, salt, identifiers)
        self._joined: set[tuple[str, int]] = set()  # images of pairs and chains that have their row

    def _start(self, engine: Engine) -> None:
        super()._start(engine)
        self._joined.clear()
        if self._typicality is not None:
            self._typicality.start()

    def _finish(self, engine: Engine) -> None:
        super()._finish(engine)
        if self._typicality is not None:
            self._typicality.warn()

    def parts(self, item: Mapping[str, Any], output: Mapping[str, Any]) -> Iterator[tuple[Mapping, Mapping]]:
        images = following_images(item)
        if not images or "z_sem_to" not in output:
            yield item, output
            return
        codes = [output["z_sem"].flatten(), *output["z_sem_to"].reshape(len(images), -1)]
        joined = {key: [item[key], *_listed(item[f"{key}_to"])] for key in ("slice", "subject") if f"{key}_to" in item}
        for k, (image, z_sem) in enumerate(zip([item["image"], *images], codes, strict=True)):
            part = {"image": image} | {key: values[k] for key, values in joined.items()}
            place = (source_file(part), int(part.get("slice", 0)))
            if place not in self._joined:
                self._joined.add(place)
                yield part, {"z_sem": z_sem}

    def place(self, item: Mapping[str, Any]) -> dict[str, Any]:
        place = super().place(item)
        if "subject" in item:
            place = {"file": place.pop("file"), "subject": self.pseudonyms(str(item["subject"]))} | place
        image = item["image"]
        if "slice" in item or image.ndim == 4:
            center = [(n - 1) / 2 for n in image.shape[1:]] + [0.0] * (4 - image.ndim)
            world = image.affine.cpu().double() @ torch.tensor([*center, 1.0], dtype=torch.float64)
            place |= dict(zip(("x_mm", "y_mm", "z_mm"), world.tolist()))  # zip leaves out the 1 at the end
        return place

    def placed_rows(self, item: Mapping[str, Any], output: Mapping[str, Any]) -> Iterator[tuple[dict, dict]]:
        for place, row in super().placed_rows(item, output):
            check_finite(output["z_sem"], "z_sem", place["file"])
            cells = {} if self._typicality is None else self._typicality.cells(output["z_sem"], place)
            if self.image_numbers is not None:
                cells |= self.image_numbers(item["image"], output["z_sem"])
            yield place, cells | row

    def rows(self, output: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        z_sem = output["z_sem"].flatten().tolist()
        yield {n: float(output[n]) for n in self.numbers if n in output} | {
            f"z_{i}": value for i, value in enumerate(z_sem)
        }


def _listed(values: Any) -> list:
    return list(values) if isinstance(values, (list, tuple)) else [values]


class EditsTableSaver(_ItemTableSaver):
    """Writes ``edits.csv``: one row an edit with the file, the slice (if it is one) and what the edit did to the score.

    The columns are ``attribute``, ``along`` (its direction), ``amount``, ``target`` or ``to_class_mean``, ``step``
    (where there are several to it), ``score_before``, ``score_after`` and ``extrapolation`` (standard deviations
    outside the training data's scores; ``nan`` where those are not known), from what
    :meth:`monai_diffae.inferers.ManipulationInferer.predict` gives. For each attribute whose score is kept there are
    ``kept_<name>_before``, ``kept_<name>_after`` and ``kept_<name>_reencoded``.

    Args:
        filename: CSV file.
        edit: the one that is made.
        data_root_dir: files in it are named relative to it.
        numbers: keys of the output with a number an edit, for a further column each.
        old: what ``edit`` holds, as this class took it in version 0.1.0; with a DeprecationWarning until 0.3.0.
    """

    def __init__(
        self,
        filename: str | os.PathLike,
        edit: Edit | str | None = None,
        data_root_dir: str | os.PathLike = "",
        numbers: Sequence[str] = (),
        **old: Any,
    ) -> None:
        super().__init__(filename, data_root_dir)
        self.edit = given_edit(edit, old, "EditsTableSaver")
        self.numbers = tuple(numbers)

    def rows(self, output: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        keys = ("score_after", "extrapolation", *self.numbers)
        measured = [torch.as_tensor(output[key]).flatten().tolist() for key in keys]
        for i, (columns, *values) in enumerate(zip(self.edit.columns, *measured, strict=True)):
            yield {
                **columns,
                "score_before": float(output["score"]),
                **dict(zip(keys, values)),
                **self._kept(output, i),
            }

    def _kept(self, output: Mapping[str, Any], i: int) -> dict[str, float]:
        """Scores of the kept attributes before and after the i-th edit."""
        cells = {}
        for m, name in enumerate(self.edit.keep):
            for when in ("before", "after", "reencoded"):
                scores = torch.as_tensor(output[f"kept_{when}"])  # (M,), or (N, M) after the edits of a series
                cells[f"kept_{name}_{when}"] = float(scores[m] if scores.ndim == 1 else scores[i, m])
        return cells
