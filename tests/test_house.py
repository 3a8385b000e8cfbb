# SPDX-License-Identifier: Apache-2.0
"""The page that says where things are names every room, in the order of the arrows, and only files that exist."""

import re
from pathlib import Path

from test_architecture import ARROWS

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "docs" / "house.md").read_text()


def test_every_room_is_named_behind_those_that_it_uses():
    rooms = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(rooms) == sorted(path.parent.name for path in (REPOSITORY / "monai_diffae").glob("*/__init__.py"))
    for room, used in ARROWS.items():
        if room in rooms:
            assert all(rooms.index(other) < rooms.index(room) for other in used), room


def test_files_that_are_named_exist():
    named = re.findall(r"`((?:\w+/)+\w*(?:\.\w+)?)`", PAGE)
    assert len(named) > 10
    for name in named:
        places = [REPOSITORY / name, REPOSITORY / "monai_diffae" / name, REPOSITORY / "monai_diffae" / "metrics" / name]
        places += [REPOSITORY / "monai_diffae" / "bundles" / name]
        made_up = name.endswith("my_workflow.yaml")
        assert made_up or any(place.exists() for place in places), name
    for name in re.findall(r"`(\w+\.py)`", PAGE):
        assert (REPOSITORY / "monai_diffae" / "support" / name).exists(), name
