"""The packages that siamese stands on: which are there, what each is for, and how to get the others."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import siamese
from siamese.doctor.finding import Finding
from siamese.inference.runtime_choice import is_installed
from siamese.installed import installed_version


@dataclass(frozen=True)
class Package:
    """A package.

    Attributes:
        name: under which it is installed.
        module: under which it is imported.
        purpose: what cannot be done without it.
        extra: of siamese, that brings it; None for what every installation has.
    """

    name: str
    module: str
    purpose: str
    extra: str | None = None

    @property
    def version(self) -> str | None:
        """The installed version; None where it cannot be imported."""
        return installed_version(self.name) if is_installed(self.module) else None

    @property
    def install(self) -> str:
        """The command that brings it."""
        return f"pip install {self.name}" if self.extra is None else f"pip install 'siamese[{self.extra}]'"


PACKAGES = (
    Package("albumentations", "albumentations", "augmentation in training"),
    Package("facenet-pytorch", "facenet_pytorch", "the face detector's weights, inception_resnet_v1"),
    Package("ImageHash", "imagehash", "near duplicates in audits"),
    Package("jinja2", "jinja2", "reports"),
    Package("lightning", "lightning", "training"),
    Package("matplotlib", "matplotlib", "figures of reports, letters of pictures"),
    Package("numpy", "numpy", "everything"),
    Package("opencv-python-headless", "cv2", "decoding and warping images"),
    Package("openvino", "openvino", "models and face detection on the CPU without torch"),
    Package("pandas", "pandas", "pair files, training, evaluation"),
    Package("pillow", "PIL", "reading and writing images"),
    Package("pyarrow", "pyarrow", "Parquet and CSV tables"),
    Package("pydantic", "pydantic", "model cards and configuration"),
    Package("pytorch-metric-learning", "pytorch_metric_learning", "losses and miners"),
    Package("pyyaml", "yaml", "configuration files"),
    Package("safetensors", "safetensors", "weights on disk"),
    Package("scikit-learn", "sklearn", "metrics, calibration"),
    Package("scipy", "scipy", "metrics, intervals"),
    Package("timm", "timm", "convnext_atto and every timm/NAME"),
    Package("torch", "torch", "training, evaluation, export, models without an export, GPUs"),
    Package("torchvision", "torchvision", "facenet-pytorch and timm import it"),
    Package("tqdm", "tqdm", "progress bars"),
    Package("typer", "typer", "the command line"),
    Package("pillow-heif", "pillow_heif", "HEIC photographs", "heic"),
    Package("nncf", "nncf", "export --int8", "int8"),
    Package("mlflow", "mlflow", "logging runs to MLflow", "mlflow"),
    Package("onnx", "onnx", "export --format onnx", "onnx"),
    Package("onnxruntime", "onnxruntime", "checking and running ONNX exports", "onnx"),
    Package("onnxscript", "onnxscript", "export --format onnx", "onnx"),
    Package("ray", "ray", "embed --engine ray", "ray"),
    Package("tensorboard", "tensorboard", "logging runs to TensorBoard", "tensorboard"),
    Package("wandb", "wandb", "logging runs to Weights & Biases", "wandb"),
)


def describe_versions() -> dict[str, str | None]:
    """Versions of siamese, Python and all that every installation needs; None for what cannot be imported."""
    own = {"siamese": siamese.__version__, "python": platform.python_version()}
    return own | {package.name: package.version for package in PACKAGES if package.extra is None}


def describe_optional() -> dict[str, dict[str, Any]]:
    """By name of a package that an extra brings: `version` (None where it is not there), `extra` and `purpose`."""
    return {
        package.name: {"version": package.version, "extra": package.extra, "purpose": package.purpose}
        for package in PACKAGES
        if package.extra is not None
    }


def check_packages(packages: Sequence[Package] = PACKAGES) -> list[Finding]:
    """A finding for each package; what no installation should lack is a warning where it is missing."""
    return [_check(package) for package in packages]


def _check(package: Package) -> Finding:
    if (version := package.version) is not None:
        return Finding(package.name, "ok", version)
    if package.extra is not None:
        return Finding(package.name, "ok", f"not installed, optional: {package.purpose}; {package.install}")
    return Finding(package.name, "warn", f"missing: {package.purpose}; {package.install}")
