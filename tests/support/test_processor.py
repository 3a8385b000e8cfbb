# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import warnings

import pytest
import torch

from monai_diffae.support import processor
from monai_diffae.support.precision import mixed_precision
from monai_diffae.support.processor import native_precisions

X86 = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse sse2 avx avx2 {} clzero\n\nprocessor\t: 1\n"
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd crc32 {}\n"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (X86.format("avx512f avx512_bf16"), {"bfloat16"}),
        (X86.format("avx512f"), set()),
        (X86.format("amx_bf16 avx512_bf16 avx512_fp16"), {"bfloat16", "float16"}),
        (ARM.format("fphp asimdhp bf16"), {"bfloat16", "float16"}),
        (ARM.format("asimdhp"), {"float16"}),
        (ARM.format(""), set()),
        ("processor\t: 0\n", None),
        ("", None),
    ],
)
def test_a_processor_says_what_it_computes_with(cpuinfo, expected):
    assert native_precisions(cpuinfo) == expected


@pytest.fixture
def has(monkeypatch):
    """Let this machine's processor have some flags."""

    def has(cpuinfo: str) -> None:
        monkeypatch.setattr(processor, "_read_cpuinfo", lambda: cpuinfo)
        processor.warn_of_slow_precision.cache_clear()

    yield has
    processor.warn_of_slow_precision.cache_clear()


def warnings_of(precision: str, device: str = "cpu") -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            with mixed_precision(precision, torch.device(device)):
                pass
    return [str(warning.message) for warning in caught if "processor" in str(warning.message)]


def test_a_precision_that_it_lacks_is_warned_of_once_with_what_to_take(has):
    has(X86.format("avx512f"))
    (message,) = warnings_of("bfloat16")
    assert "no instructions for bfloat16" in message
    assert "Take precision='float32', or a GPU" in message
    assert warnings_of("bfloat16") == []
    has(X86.format("avx512_bf16"))
    (message,) = warnings_of("float16")
    assert "or precision='bfloat16', which it has" in message


def test_what_it_has_or_does_not_tell_and_other_devices_are_not_warned_of(has):
    has(X86.format("avx512_bf16"))
    assert warnings_of("bfloat16") == []
    has("")
    assert warnings_of("bfloat16") == []
    has(X86.format("avx512f"))
    assert warnings_of("float32") == []
    assert warnings_of("bfloat16", "cuda") == []
