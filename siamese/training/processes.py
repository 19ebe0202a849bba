"""Several processes, each with a device of its own, as one run: who goes first, who writes, and one answer for all.

`torchrun`, or `siamese train --devices N`, starts them and says in the environment which each is. Everything that is
written and said, is written and said by the first process.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from siamese.errors import DeviceError
from siamese.progress import log
from siamese.training.plans import Share

T = TypeVar("T")

# Of one process for another; the one that starts them ends them all where one fails.
_PATIENCE = timedelta(days=7)
# Seconds in which a process that has lost another one is ended.
_GRACE = 30.0


def started_by_torchrun() -> bool:
    """Whether this process is one of several that `torchrun` started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def share() -> Share:
    """Which part of every batch this process takes."""
    return Share(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Share()


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Meet the other processes of the run for the time of a `with` block; yields the device of this one.

    Args:
        device: `cpu`, or `cuda:N`: then the process takes the GPU of its own number on its machine.

    Raises:
        DeviceError: there are fewer GPUs than processes, or another process has ended.
    """
    if not started_by_torchrun():
        yield device
        return
    kind = device.partition(":")[0]
    if kind == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise DeviceError(
                f"process {local} of this machine has no GPU of its own: {torch.cuda.device_count()} found; "
                "start as many processes as there are GPUs"
            )
        torch.cuda.set_device(local)
        device = f"cuda:{local}"
    level = log.level
    if not is_first():
        log.setLevel(logging.ERROR)
    try:
        # The others wait as long as it takes while the first one decodes images or computes features.
        dist.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=_PATIENCE)
        yield device
    except RuntimeError as error:
        if not _tells_of_another(error):
            raise
        if not is_first():
            time.sleep(_GRACE)  # the one that failed says why, and whoever started the processes ends this one
        raise DeviceError(
            "another process of this run has ended, and said why above; --resume goes on from the last checkpoint"
        ) from error
    finally:
        log.setLevel(level)
        if dist.is_initialized():
            dist.destroy_process_group()


def _tells_of_another(error: RuntimeError) -> bool:
    """Whether an error says that another process is gone; gloo has no class of its own for it."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


@contextmanager
def first_goes_ahead() -> Iterator[None]:
    """Let the first process do what is in the `with` block before the others do: they find what it left."""
    if not dist.is_initialized():
        yield
        return
    if dist.get_rank() > 0:
        dist.barrier()
    yield
    if dist.get_rank() == 0:
        dist.barrier()


def answered_by_first(work: Callable[[], T]) -> T:
    """What `work` gives in the first process, in every process."""
    if not dist.is_initialized():
        return work()
    answer: list[T | None] = [work() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(answer)
    return answer[0]  # type: ignore[return-value]


def any_process(wish: bool, device: torch.device) -> bool:
    """Whether any process of the run wishes it: all must do the same."""
    if not dist.is_initialized():
        return wish
    flag = torch.tensor([float(wish)], device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag.item())


def start_processes(count: int, arguments: list[str]) -> int:
    """Run the command line anew in `count` processes on this machine; where one fails, the others are ended.

    Not by `torchrun`, which puts a report of its own around a user's mistake and exits with another code.

    Args:
        count: processes.
        arguments: of the program `siamese`, the command first.

    Returns:
        0, or the exit code of the first process that failed.
    """
    shared = {
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count)),
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "TORCHELASTIC_RUN_ID": "siamese",  # tells Lightning that the processes are there already
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "GROUP_RANK": "0",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }
    command = [sys.executable, "-m", "siamese_cli", *arguments]
    processes = [
        subprocess.Popen(command, env={**shared, "RANK": str(number), "LOCAL_RANK": str(number)})  # noqa: S603
        for number in range(count)
    ]

    def pass_on(number: int, frame: object) -> None:
        for process in processes:
            process.send_signal(number)

    # Ctrl-C reaches all of them by itself, and they end in their own way; a request to end reaches only this one.
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, pass_on)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        return _wait(processes)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for process in processes:
            process.kill()
            process.wait()


def _wait(processes: "list[subprocess.Popen[bytes]]") -> int:
    """Until all have ended well (0), or one has not: its exit code, as a shell tells it."""
    while True:
        codes = [process.poll() for process in processes]
        failed = next((code for code in codes if code), None)
        if failed is not None:
            return failed if failed > 0 else 128 - failed
        if None not in codes:
            return 0
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
