"""What OpenVINO does to the process that loads it."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
# Two graphs, the first of which goes first, and then a signal.
SIGNALLED = """
import faulthandler, gc, signal
import numpy as np
faulthandler.enable()
from siamese.openvino_library import core, openvino
heard = []
signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
def compiled():
    operations = openvino().opset13
    given = operations.parameter([-1, 4], np.float32)
    return core().compile_model(openvino().Model([operations.relu(given)], [given]), "CPU")
one = compiled()
other = compiled()
assert other(np.full((1, 4), -1, np.float32))[0].max() == 0
del one
gc.collect()
del other
gc.collect()
signal.raise_signal(signal.SIGINT)
print(heard)
"""


def test_a_signal_is_heard_after_graphs_have_gone_in_the_order_in_which_they_came() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED], cwd=PROJECT, capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[2]"), done.stderr
