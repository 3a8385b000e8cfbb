# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import pytest
import torch

from monai_diffae.bundles import BundleConfigs

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def readme_code() -> str:
    text = (REPOSITORY / "README.md").read_text()
    return re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)[1]


def test_python_example_of_the_readme_runs_and_edits(readme_code, generated_brains, monkeypatch):
    assert len(readme_code.splitlines()) <= 25
    monkeypatch.chdir(REPOSITORY)
    code = readme_code.replace('"demo_output/data"', repr(str(generated_brains)))
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    images, reconstruction, edited = names["images"].as_tensor(), names["reconstruction"], names["edited"]
    assert images.shape == reconstruction.shape == edited.shape == (4, 1, 64, 64)
    assert torch.mean((reconstruction - images) ** 2) < 1e-5
    assert torch.mean((edited - reconstruction) ** 2) > 1e-5


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{page.name}" for page in REPOSITORY.glob("docs/*.md"))])
def test_files_that_the_pages_name_exist(page):
    text = (REPOSITORY / page).read_text()
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (REPOSITORY / page).parent.joinpath(link).exists(), link
    for config in re.findall(r"`(\w+\.yaml)`", text):
        assert list(REPOSITORY.glob(f"bundles/*/configs/{config}")), config


def test_verbs_of_the_readme_are_workflows():
    bundle = BundleConfigs(REPOSITORY / "bundles" / "brain_slices_diffae")
    text = (REPOSITORY / "README.md").read_text()
    named = re.findall(r"`([\w-]+)`", "".join(re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE)))
    assert set(named) >= set(bundle.workflows)
    assert {name for name in named if name not in bundle.workflows} == set()
