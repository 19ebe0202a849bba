import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from siamese.encoders.checkpoint import load_exactly, read_checkpoint
from siamese.errors import WeightsError

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}


class Malicious:
    """Unpickled by ordinary means it would make a folder."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("nest", ["net_state_dict", "state_dict", "model", None])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_parameters_are_found_below_their_nest_and_without_prefix(
    tmp_path: Path, nest: str | None, prefix: str
) -> None:
    state: Any = {prefix + name: tensor for name, tensor in STATE.items()}
    torch.save({"epoch": 3, nest: state} if nest else state, tmp_path / "file.ckpt")
    read = read_checkpoint(tmp_path / "file.ckpt")
    assert list(read) == ["weight", "bias"]
    assert all(torch.equal(read[name], STATE[name]) for name in STATE)


def test_safetensors_are_read_whatever_the_case_of_the_suffix(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "file.SafeTensors")
    read = read_checkpoint(tmp_path / "file.SafeTensors")
    assert all(torch.equal(read[name], STATE[name]) for name in STATE)


def test_malicious_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "evil.pt"
    torch.save({"state_dict": STATE, "extra": Malicious(trace)}, path)
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"weights {path}: refused, because reading it would run posix.mkdir; expected tensors")
    assert "\n" not in message
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the file is malicious indeed
    assert trace.exists()


def test_malicious_bare_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "evil.bin"
    path.write_bytes(pickle.dumps(Malicious(trace), protocol=2))
    with pytest.raises(WeightsError, match=r"evil\.bin: ") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert not trace.exists()
    pickle.loads(path.read_bytes())  # noqa: S301  # the file is malicious indeed
    assert trace.exists()


def test_objects_of_a_training_script_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "args": argparse.Namespace(lr=1)}, tmp_path / "train.pth")
    with pytest.raises(WeightsError, match=r"would run argparse\.Namespace; .* save the state dict alone"):
        read_checkpoint(tmp_path / "train.pth")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damaged_file_is_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"half{suffix}"
    if suffix == ".pt":
        torch.save(STATE, path)
    else:
        save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"half\.\w+: (damaged|not a whole safetensors file)") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"<html>404</html>"])
def test_file_of_something_else_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "text.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"text\.pt: damaged, or not a file of weights") as caught:
        read_checkpoint(tmp_path / "text.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"epoch": 3, "weights": {}, "a": 1, "b": 2}, "a dict of 'epoch', 'weights', 'a', ..."),
        ({}, "a dict of nothing"),
        ([1, 2], "a list"),
        (torch.ones(2), "a Tensor"),
    ],
)
def test_file_without_named_tensors_says_what_it_holds(tmp_path: Path, content: Any, found: str) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(tmp_path / "other.pt")
    assert f"found {found}; expected tensors by name" in str(caught.value)


def test_exact_layout_is_loaded() -> None:
    module = nn.Linear(3, 2)
    load_exactly(module, STATE, "file.pt", "a linear layer")
    assert torch.equal(module.weight, STATE["weight"])
    assert torch.equal(module.bias, STATE["bias"])


def test_other_layout_counts_and_names_the_first_of_each_fault_and_loads_nothing() -> None:
    module = nn.Linear(3, 2)
    before = module.weight.detach().clone()
    state = {"weight": torch.ones(3, 3), "extra": torch.ones(1), "more": torch.ones(1)}
    with pytest.raises(WeightsError) as caught:
        load_exactly(module, state, "file.pt", "a linear layer")
    assert str(caught.value) == (
        "weights file.pt: another layout: 1 missing (first 'bias'), 2 unexpected (first 'extra'), "
        "1 of another shape (first 'weight': found (3, 3), expected (2, 3)); expected a linear layer"
    )
    assert torch.equal(module.weight, before)


def test_batch_counters_may_be_missing_as_in_old_files() -> None:
    module = nn.BatchNorm1d(2)
    state = {name: tensor + 1 for name, tensor in module.state_dict().items() if "num_batches" not in name}
    load_exactly(module, state, "file.pt", "a batch norm")
    assert torch.equal(module.weight, torch.full((2,), 2.0))
