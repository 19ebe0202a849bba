"""How and where a run was started: command, code, packages, machine."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from siamese.installed import installed_version

# What a run's figures depend on; a test holds them against the dependencies of the project.
PACKAGES = (
    *("siamese", "albumentations", "facenet-pytorch", "imagehash", "jinja2", "lightning", "matplotlib", "numpy"),
    *("opencv-python-headless", "openvino", "pandas", "pillow", "pyarrow", "pydantic", "pytorch-metric-learning"),
    *("pyyaml", "safetensors", "scikit-learn", "scipy", "timm", "torch", "torchvision", "tqdm", "typer"),
)
# Seconds; a repository on a slow network drive must not hold a run up.
_GIT_TIMEOUT = 20.0


class GitState(BaseModel):
    """Commit of a repository, and whether tracked files differ from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commit: str
    dirty: bool


class Start(BaseModel):
    """One start of a run, the first or a resumed one.

    Attributes:
        time: when, in UTC, ISO 8601.
        command: the program and its arguments.
        directory: the current directory, which relative paths start from.
        git: of the repository of that directory; None without one.
        python: version of the interpreter.
        platform: operating system and architecture.
        versions: of the packages in use, by name.
        device: `cpu` or `cuda:N`.
        device_name: the model of processor or GPU.
        threads: of torch on the CPU.
        cuda: version of CUDA that torch was built for; None for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: str
    command: tuple[str, ...]
    directory: str
    git: GitState | None
    python: str
    platform: str
    versions: dict[str, str]
    device: str
    device_name: str
    threads: int
    cuda: str | None


def describe_start(device: str, command: Sequence[str] | None = None) -> Start:
    """The machine, the code and the command as they are now.

    Args:
        device: where the run computes, `cpu` or `cuda:N`.
        command: program and arguments; None for those of this process.
    """
    import torch

    return Start(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        command=tuple(map(printable, sys.argv if command is None else command)),
        directory=printable(str(Path.cwd())),
        git=git_state(Path.cwd()),
        python=platform.python_version(),
        platform=platform.platform(),
        versions=_versions(),
        device=device,
        device_name=_device_name(device),
        threads=torch.get_num_threads(),
        cuda=torch.version.cuda,
    )


def changes_between(before: Start, now: Start) -> list[str]:
    """What of code, packages and device is not as it was, one line each."""
    changes = []
    if before.git != now.git and before.directory == now.directory:
        changes.append(f"the code in {now.directory} has changed")
    names = sorted(before.versions.keys() | now.versions.keys())
    versions = [(name, before.versions.get(name, "none"), now.versions.get(name, "none")) for name in names]
    changes += [f"{name} was {was}, now {found}" for name, was, found in versions if was != found]
    pairs = (("device", before.device_name, now.device_name), ("threads", before.threads, now.threads))
    return changes + [f"{what} was {was}, now {found}" for what, was, found in pairs if was != found]


def git_state(folder: Path) -> GitState | None:
    """Commit and dirty flag of the repository that holds `folder`; None without git, repository or commit."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    # What cannot be told in time is not called clean.
    return GitState(commit=commit.strip(), dirty=changes is None or bool(changes.strip()))


def _git(folder: Path, *arguments: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    # A monitor of the repository's own is a program that the repository chooses; and nothing is to be locked.
    command = [program, "-c", "core.fsmonitor=false", *arguments]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and arguments of our own
            command, cwd=folder, env=environment, capture_output=True, check=False, timeout=_GIT_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def printable(text: str) -> str:
    """Text that JSON can hold: bytes of a path that are no UTF-8 as `\\xNN`."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _versions() -> dict[str, str]:
    # None: replaced by another build of it (opencv-python for the headless one), or a bare checkout.
    return {name: found for name in PACKAGES if (found := installed_version(name)) is not None}


def _device_name(device: str) -> str:
    if device != "cpu":
        import torch

        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
