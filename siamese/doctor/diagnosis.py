"""The whole diagnosis: the environment, the choice of runtime for a model, and the self-tests."""

from dataclasses import dataclass
from typing import Any

from siamese.doctor.checks import run_checks
from siamese.doctor.finding import Finding
from siamese.doctor.folders import describe_folders
from siamese.doctor.machine import describe_devices
from siamese.doctor.packages import check_packages, describe_optional, describe_versions
from siamese.doctor.runtimes import check_model, describe_model
from siamese.errors import SiameseError
from siamese.inference.runtime_choice import default_runtime


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        versions: of siamese, Python and what every installation needs; None for what is missing.
        optional: of what extras bring, with its extra and purpose.
        devices: `cpu` and `gpus`.
        folders: `cache` and `face_detector`.
        runtimes: `default`, what `auto` stands for here, and `model`, the choice for the model that was named.
        environment: findings on all of these.
        checks: findings of the self-tests, and on the model.
    """

    versions: dict[str, str | None]
    optional: dict[str, dict[str, Any]]
    devices: dict[str, Any]
    folders: dict[str, Any]
    runtimes: dict[str, Any]
    environment: tuple[Finding, ...]
    checks: tuple[Finding, ...]

    @property
    def failed(self) -> int:
        """How many self-tests failed."""
        return sum(each.status == "fail" for each in self.checks)


def diagnose(model: str | None = None, *, device: str = "auto", measure: bool = False) -> Diagnosis:
    """Look at everything; nothing that is missing or broken is an error.

    Args:
        model: tell how this model would be run.
        device: where it is to run: `auto`, `cpu`, `cuda` or `cuda:N`.
        measure: time the runtimes of it now.

    Raises:
        OptionError: the environment variable SIAMESE_RUNTIME names no runtime.
    """
    default = default_runtime()
    packages = check_packages()
    devices, of_devices = describe_devices()
    folders, of_folders = describe_folders()
    chosen, of_model = (None, []) if model is None else _model(model, device, measure)
    return Diagnosis(
        versions=describe_versions(),
        optional=describe_optional(),
        devices=devices,
        folders=folders,
        runtimes={"default": default, "model": chosen},
        environment=(*packages, *of_devices, *of_folders),
        checks=(*run_checks(), *of_model),
    )


def _model(model: str, device: str, measure: bool) -> tuple[dict[str, Any] | None, list[Finding]]:
    try:
        found = describe_model(model, device=device, measure=measure)
    except (SiameseError, OSError) as error:
        return None, [Finding("model", "fail", " ".join(str(error).split()))]
    return found.plain(), [check_model(found)]
