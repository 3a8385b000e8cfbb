# SPDX-License-Identifier: Apache-2.0
import queue
import subprocess
import sys

import pytest
from tqdm import tqdm

from monai_diffae.support.root_cause import print_root_cause, root_cause

CHAIN = """
from monai_diffae.support.root_cause import print_root_cause
print_root_cause()
def read():
    raise FileNotFoundError("there is no folder 'scans'")
try:
    try:
        read()
    except OSError as error:
        raise ValueError("cannot list the images") from error
except ValueError as error:
    raise RuntimeError("Failed to evaluate '$@files'") from error
"""


def raised(*errors: BaseException) -> BaseException:
    """The last of the errors, caught; each is raised from the one before."""
    cause = None
    for error in errors:
        try:
            raise error from cause
        except BaseException as caught:
            cause = caught
    return cause


@pytest.fixture
def stderr_of_uncaught(monkeypatch, capsys):
    """Installs the hook, hands it an error as the interpreter would, and gives what it wrote."""
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    print_root_cause()

    def report(error: BaseException) -> str:
        sys.excepthook(type(error), error, error.__traceback__)
        output = capsys.readouterr()
        assert output.out == ""
        return output.err

    return report


def test_last_line_of_a_failed_process_is_the_innermost_cause():
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", CHAIN], capture_output=True, text=True, check=False)
    lines = result.stderr.splitlines()
    assert result.returncode == 1
    assert result.stdout == ""
    assert lines[-1] == "FileNotFoundError: there is no folder 'scans'"
    assert "RuntimeError: Failed to evaluate '$@files'" in lines  # the whole traceback is still above


def test_a_progress_bar_is_not_drawn_behind_the_cause(stderr_of_uncaught):
    bar = tqdm(total=4, desc="training")
    bar.update(1)
    report = stderr_of_uncaught(raised(ValueError("cause"), RuntimeError("effect")))
    assert "training" in report
    assert report.splitlines()[-1] == "ValueError: cause"
    assert bar.disable  # closed


def test_error_without_a_cause_is_reported_as_ever(stderr_of_uncaught):
    report = stderr_of_uncaught(raised(ValueError("alone")))
    assert report.startswith("Traceback")
    assert report.count("ValueError: alone") == 1


@pytest.mark.parametrize("length", [2, 3, 6])
def test_last_line_is_the_first_error_of_a_chain_of_any_length(length, stderr_of_uncaught):
    report = stderr_of_uncaught(raised(*(RuntimeError(f"error {i}") for i in range(length))))
    assert report.splitlines()[-1] == "RuntimeError: error 0"


def test_error_that_only_happened_while_another_was_handled_is_no_cause(stderr_of_uncaught):
    error = KeyError("now")
    error.__context__ = ValueError("before")
    assert root_cause(error) is error
    assert stderr_of_uncaught(raised(error)).splitlines()[-1] == "KeyError: 'now'"


def test_root_cause_is_the_first_error_itself():
    errors = [OSError("a"), ValueError("b"), RuntimeError("c")]
    assert root_cause(raised(*errors)) is errors[0]
    assert root_cause(errors[0]) is errors[0]


def test_a_queue_that_was_empty_is_no_cause(stderr_of_uncaught):
    report = stderr_of_uncaught(raised(queue.Empty(), ValueError("no answer"), RuntimeError("effect")))
    assert report.splitlines()[-1] == "ValueError: no answer"


@pytest.mark.parametrize("others", [(), (RuntimeError("Failed to evaluate"),)])
def test_of_a_worker_that_died_it_is_said_what_to_do(stderr_of_uncaught, others):
    died = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    line = stderr_of_uncaught(raised(died, *others)).splitlines()[-1]
    assert line.startswith("RuntimeError: DataLoader worker (pid 7) is killed by signal: Killed.")
    assert line.endswith("Lower num_workers or batch_size, and give the command again; what is done stays.")
