"""Where the recipe reads and writes."""

from dataclasses import dataclass
from pathlib import Path

from siamese.errors import DataError

PROJECT = Path(__file__).parents[3]
# First the student learns from images as they are, then to see through damage.
CONFIG = PROJECT / "recipes" / "bundled.yaml"
ROBUST_CONFIG = PROJECT / "recipes" / "bundled_robust.yaml"
TEACHER_INPUT = PROJECT / "recipes" / "face-reidentification-retail-0095.input.json"
BUNDLED = PROJECT / "siamese" / "bundled"


@dataclass(frozen=True)
class Workplace:
    """The folders of one run of the recipe.

    Attributes:
        data: the real faces: `faces-train.zip`, `lfw/`, `lfw-protocol/`, `orl/`.
        weights: the teacher and the encoder that the student is compared with.
        work: everything that the recipe makes.
        seed: of training. The split into people who train and people who are held out is the same for every seed.
    """

    data: Path
    weights: Path
    work: Path
    seed: int = 0

    @property
    def images(self) -> Path:
        """Crops, 112x112."""
        return self.work / "images"

    @property
    def training_images(self) -> Path:
        """Manifest `path,identity` of the images that are trained on; an empty identity is not known."""
        return self.work / "images.csv"

    @property
    def val_pairs(self) -> Path:
        """Pairs of people who are not trained on: for choosing the epoch, operating points and calibration."""
        return self.work / "val.csv"

    @property
    def groups(self) -> Path:
        """Held-out images with the groups that their names tell: `path,gender,origin,age`."""
        return self.work / "groups.csv"

    @property
    def prepared(self) -> Path:
        """Record of the finished preparation."""
        return self.work / "prepared.json"

    @property
    def model(self) -> Path:
        """Model folder of this seed."""
        return self._of_seed("model")

    @property
    def clean_model(self) -> Path:
        """Model folder of this seed's first stage, which has seen no damage yet."""
        return self._of_seed("model-clean")

    @property
    def trained(self) -> Path:
        """Record of the finished training of this seed."""
        return self._of_seed("train", ".json")

    @property
    def clean_trained(self) -> Path:
        """Record of this seed's finished first stage."""
        return self._of_seed("train-clean", ".json")

    @property
    def figures(self) -> Path:
        """What was measured of the model of this seed."""
        return self._of_seed("figures", ".json")

    @property
    def teacher(self) -> str:
        """The teacher, as `--teacher` takes it."""
        return f"openvino:{self.weights / 'face-reidentification-retail-0095.xml'}@{TEACHER_INPUT}"

    @property
    def compared(self) -> str:
        """The pretrained encoder that the student is compared with."""
        return f"mobilefacenet@{self.weights / 'mobilefacenet_casia_webface.ckpt'}"

    def protocol(self, name: str) -> Path:
        """An official file of LFW.

        Raises:
            DataError: it is not there.
        """
        return _existing(self.data / "lfw-protocol" / name, "an official file of LFW")

    def given(self, name: str, what: str) -> Path:
        """A file or folder of the data.

        Raises:
            DataError: it is not there.
        """
        return _existing(self.data / name, what)

    def _of_seed(self, name: str, suffix: str = "") -> Path:
        return self.work / (f"{name}{suffix}" if self.seed == 0 else f"{name}-seed{self.seed}{suffix}")


def _existing(path: Path, what: str) -> Path:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder, expected {what}; --data names the folder that holds it")
    return path
