"""One training on several devices: two processes of this machine, which share each batch."""

import os
import subprocess
import sys

import pytest
import torch
from tiny import FIT, make_task

from seamwise import Fit
from seamwise.errors import TaskError
from seamwise.model import load_model, train
from seamwise.studies import study
from seamwise.task import load_task

TASK = """
import sys
sys.path.insert(0, {here!r})
from dataclasses import replace
from tiny import FIT, make_task
task = make_task(fit=replace(FIT, batch=15))  # 8 examples to one device and 7 to the other
"""


def test_two_devices_come_to_what_one_comes_to(task_file, tmp_path):
    path, out = task_file(TASK), tmp_path / "model"
    command = [sys.executable, "-m", "seamwise.cli", "train", path, "--regime", "joint", "--labels", "60"]
    command += ["--devices", "2", "--accelerator", "cpu", "--out", str(out)]
    told = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=False
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("validation error") == 1, "one of the two tells"
    two, one = load_model(out, path), train(load_task(path), "joint", 60)
    assert two.record.validation_error == pytest.approx(one.record.validation_error)
    assert two.record.stopped == one.record.stopped
    weights, alone = two.net.state_dict(), one.net.state_dict()
    torch.testing.assert_close(weights, alone, rtol=1e-4, atol=1e-5)
    assert two.evaluate().result.error == pytest.approx(one.evaluate().result.error)


def test_a_study_trains_on_one_device_each(tmp_path):
    with pytest.raises(TaskError, match="`seamwise train --devices` trains on several"):
        study(make_task(fit=Fit(n_devices=2, rates=FIT.rates)), tmp_path / "run")
