# SPDX-License-Identifier: Apache-2.0
"""What ``make bench`` (tests/benchmarks/bench.py) is made of."""
