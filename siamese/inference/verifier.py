"""The verifier: a model and everything needed to use it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamese.device import resolve_device
from siamese.encoders.registry import create_encoder
from siamese.errors import FaceError, ImageError, ModelError, OptionError
from siamese.evaluation.calibration import Calibration
from siamese.evaluation.calibration_prior import check_prior
from siamese.evaluation.operating_points import OperatingPoint, choose_operating_point
from siamese.images.faces import FaceChoice
from siamese.images.loader import AlignChoice, ImageLoader, Outcome
from siamese.model.embedding import Embeddings, embed_sources
from siamese.model.folder import ModelCard, load_model
from siamese.model.network import SiameseNetwork


@dataclass(frozen=True)
class Comparison:
    """The answer to "same or different?".

    Attributes:
        same: the verdict.
        similarity: of the two embeddings, in [-1, 1]: the pair head's where the model has one, else their cosine.
        probability: that the two are the same, at `prior`; None for a model without a calibration.
        prior: share of genuine pairs that the probability supposes; None without a probability.
        threshold: accept at this similarity and above.
        far: share of impostor validation pairs that the threshold accepts; None for a threshold given by hand.
        point: name of the operating point, None for a threshold given by hand.
        split: what the threshold was fitted on, None for one given by hand.
        outcomes: of the two images: faces found and chosen, where faces were looked for.
    """

    same: bool
    similarity: float
    probability: float | None
    prior: float | None
    threshold: float
    far: float | None
    point: str | None
    split: str | None
    outcomes: tuple[Outcome, Outcome]


class Verifier:
    """A model folder, or an untouched encoder, ready to embed and compare.

    Attributes:
        name: how the model was named.
        network: in evaluation, on `device`.
        card: of a model folder; None for an untouched encoder.
        device: `cpu` or `cuda:N`.
        flip: whether each image is embedded together with its mirror image.
    """

    def __init__(
        self,
        name: str,
        network: SiameseNetwork,
        card: ModelCard | None,
        *,
        device: str,
        align: AlignChoice = "auto",
        face: FaceChoice = "auto",
        flip: bool = False,
    ) -> None:
        self.name = name
        self.device = device
        self.card = card
        self.network = network.to(device).eval()
        self.flip = flip
        self._loader = ImageLoader(network.input_spec, align=align, face=face, device=device)

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        device: str = "auto",
        align: AlignChoice = "auto",
        face: FaceChoice = "auto",
        input_size: tuple[int, int] | None = None,
        flip: bool = False,
    ) -> "Verifier":
        """Load a model folder, or build an untouched encoder (`NAME`, `NAME@TAG`, `NAME@FILE`).

        Args:
            model: folder or name; a folder of that name goes first.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            align: `auto` brings raw photographs to the template that the model needs, `yes`, `no`.
            face: which face of an image with several.
            input_size: height and width, for an untouched encoder only.
            flip: embed each image together with its mirror image, as `embed_pixels` says. Operating points and
                calibration of a model folder were fitted without.

        Raises:
            SiameseError: no such model, a changed folder, missing weights, a missing device.
        """
        where = resolve_device(device)
        path = Path(model)
        if path.is_dir():
            if input_size is not None:
                raise OptionError(f"--input-size: the model folder {path} has its own; leave the option out")
            network, card = load_model(path)
            return cls(str(model), network, card, device=where, align=align, face=face, flip=flip)
        if path.is_file():
            raise ModelError(f"{path}: is a file; expected a model folder, or NAME@{path} to use it as weights")
        network = SiameseNetwork(create_encoder(str(model), input_size=input_size))
        return cls(str(model), network, None, device=where, align=align, face=face, flip=flip)

    @property
    def operating_points(self) -> tuple[OperatingPoint, ...]:
        """Thresholds that travel with the model; none for an untouched encoder."""
        return () if self.card is None else self.card.operating_points

    def embed(self, sources: Sequence[Path | bytes], *, batch: int | None = None) -> Embeddings:
        """Embed images, each once; the caller passes unique ones.

        Args:
            sources: paths, or image files as bytes.
            batch: images at a time; None for what suits the device.
        """
        return embed_sources(self.network, self._loader, sources, device=self.device, batch=batch, flip=self.flip)

    def similarity(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[Any]:
        """Similarity of each row of `left` (N, D) with the same row of `right` (N, D); shape (N,), in [-1, 1].

        The pair head's where the model has one, else the cosine.
        """
        return self.network.pair_similarity(left, right)

    @property
    def calibration(self) -> Calibration | None:
        """From similarity to P(same); it travels with the model, and an untouched encoder has none."""
        return None if self.card is None else self.card.calibration

    def compare(
        self,
        left: Path | bytes,
        right: Path | bytes,
        *,
        far: float | None = None,
        threshold: float | None = None,
        prior: float | None = None,
    ) -> Comparison:
        """Decide whether two images show the same identity.

        Args:
            left: path, or an image file as bytes.
            right: path, or an image file as bytes.
            far: use the operating point for this FAR; None for the one of best accuracy.
            threshold: use this similarity instead of an operating point.
            prior: share of genuine pairs among those that are compared, for the probability; None for that of the
                calibration. The verdict does not depend on it.

        Raises:
            ImageError: an image cannot be read.
            FaceError: no face in an image of which the model needs one.
            OptionError: no operating point for that FAR, or none at all and no threshold given; a prior for a model
                without a calibration, or outside (0, 1).
        """
        point = self._point(far, threshold)
        supposed = self._prior(prior)
        embeddings = self.embed([left, right])
        first, second = embeddings.outcomes
        for source, outcome in ((left, first), (right, second)):
            _require(source, outcome)
        vectors = embeddings.vectors
        score = float(self.similarity(vectors[:1], vectors[1:])[0])
        cut = point.threshold if point is not None else threshold
        assert cut is not None  # noqa: S101 - _point gives one or raises
        return Comparison(
            same=score >= cut,
            similarity=score,
            probability=self._probability(score, supposed),
            prior=supposed,
            threshold=cut,
            far=None if point is None else point.far,
            point=None if point is None else point.name,
            split=None if point is None else point.split,
            outcomes=(first, second),
        )

    def _prior(self, prior: float | None) -> float | None:
        if self.calibration is None:
            if prior is not None:
                raise OptionError(f"--prior {prior:g}: {self.name} has no calibration; train a model folder for it")
            return None
        return self.calibration.prior if prior is None else check_prior(prior)

    def _probability(self, score: float, prior: float | None) -> float | None:
        return None if self.calibration is None else float(self.calibration.probability([score], prior)[0])

    def _point(self, far: float | None, threshold: float | None) -> OperatingPoint | None:
        if threshold is not None:
            if far is not None:
                raise OptionError("--far and --threshold: give one of them")
            if not -1 <= threshold <= 1:
                raise OptionError(f"--threshold {threshold:g}: expected a similarity from -1 to 1")
            return None
        if self.card is None:
            raise OptionError(
                f"{self.name} is an untouched encoder and has no threshold; give --threshold, or train a model "
                "folder with `siamese train`"
            )
        return choose_operating_point(self.operating_points, far)


def _require(source: Path | bytes, outcome: Outcome) -> None:
    if outcome.status == "unreadable":
        raise ImageError(outcome.detail)
    if outcome.status == "no_face":
        name = "the image given as bytes" if isinstance(source, bytes) else str(source)
        raise FaceError(f"{name}: no face found; give a clearer image, or --align no for one that is cropped already")
