"""The verifier: a model and everything needed to use it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from siamese.device import resolve_device
from siamese.encoders.bundled import name_of_model, path_of_model
from siamese.errors import DataError, ModelError, OptionError
from siamese.evaluation.calibration import Calibration
from siamese.evaluation.operating_points import OperatingPoint
from siamese.images.faces import FaceChoice
from siamese.images.input_spec import InputSpec
from siamese.images.loader import AlignChoice, ImageLoader, Outcome
from siamese.images.source import ImageSource
from siamese.inference.comparison import Comparison, require_usable
from siamese.inference.decision import DecisionRule, check_finite, make_rule
from siamese.inference.runtime import Runtime, TorchRuntime
from siamese.inference.runtime_choice import RuntimeChoice, choose_runtime
from siamese.inference.runtime_openvino import OpenVinoRuntime
from siamese.model.card import ModelCard
from siamese.model.embeddings import Embeddings, default_batch
from siamese.progress import log, progress
from siamese.similarity import normalise

if TYPE_CHECKING:
    from siamese.model.network import SiameseNetwork


class Verifier:
    """A model folder, an export, or an untouched encoder, ready to embed and compare.

    Safe to use from several threads at once; nothing of it changes once it is loaded.

    Attributes:
        name: how the model was named.
        runtime: what runs the network.
        input_spec: what the network expects of an image.
        card: of a model folder or its export; None for an untouched encoder.
        device: `cpu` or `cuda:N`.
        align: whether faces are aligned, as it was asked for.
        face: which face of an image with several.
        flip: whether each image is embedded together with its mirror image.
        loader: prepares images as all this says.
    """

    def __init__(
        self,
        name: str,
        network: "SiameseNetwork | Runtime",
        card: ModelCard | None,
        *,
        device: str,
        input_spec: InputSpec | None = None,
        align: AlignChoice = "auto",
        face: FaceChoice = "auto",
        flip: bool = False,
    ) -> None:
        self.name = name
        self.device = device
        self.card = card
        self.runtime: Runtime = TorchRuntime(network, device) if _is_network(network) else network  # type: ignore[arg-type, assignment]
        self.input_spec = input_spec or self.network.input_spec
        self.align, self.face, self.flip = align, face, flip
        self.loader = ImageLoader(self.input_spec, align=align, face=face, device=device)

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        device: str = "auto",
        runtime: RuntimeChoice = "auto",
        precision: str = "f32",
        align: AlignChoice = "auto",
        face: FaceChoice = "auto",
        input_size: tuple[int, int] | None = None,
        flip: bool = False,
        seed: int | None = None,
        brief: bool = False,
    ) -> "Verifier":
        """Load a model folder or an export, or build an untouched encoder (`NAME`, `NAME@TAG`, `NAME@FILE`).

        Args:
            model: folder or name; a folder of that name goes first. None, and the text `bundled`, is the verifier
                that ships with the package; a folder of that name is `./bundled`, or given as a `Path`.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            runtime: `openvino` runs an export, on the CPU and without torch; `torch` runs the weights; `auto` chooses
                as `choose_runtime` does, which makes a missing export.
            precision: of an export, as of `OpenVinoRuntime`.
            align: `auto` brings raw photographs to the template that the model needs, `yes`, `no`.
            face: which face of an image with several.
            input_size: height and width, for an untouched encoder only.
            flip: test-time augmentation: the direction halfway between the embeddings of the image and of its mirror
                image. It costs a second pass, and is for what may be mirrored: faces, not characters. Operating
                points and calibration of a model folder were fitted without.
            seed: of the weights of `NAME@random`; None to draw them from torch's generator.
            brief: for a few images only, so that what starts soonest is chosen before what embeds the most a second.

        Raises:
            SiameseError: no such model, a changed folder, missing weights, a missing device or export.
        """
        name = name_of_model(model)
        path = path_of_model(name)
        if input_size is not None and path.is_dir():
            raise OptionError(f"--input-size: the model folder {name} has its own; leave the option out")
        if path.is_file():
            raise ModelError(f"{path}: is a file; expected a model folder, or NAME@{path} to use it as weights")
        export = choose_runtime(name, device, runtime, precision, input_size=input_size, brief=brief).export
        choices: dict[str, Any] = {"align": align, "face": face, "flip": flip}
        if export is not None:
            exported = OpenVinoRuntime(export, precision)
            card = None if exported.manifest.card is None else ModelCard.model_validate(exported.manifest.card)
            spec = InputSpec.model_validate(exported.manifest.input)
            return cls(name, exported, card, device="cpu", input_spec=spec, **choices)._warned()
        where = resolve_device(device)
        if path.is_dir():
            from siamese.model.folder import load_model

            network, card = load_model(path)
            return cls(name, network, card, device=where, **choices)._warned()
        return cls(name, _untouched(name, input_size, seed), None, device=where, **choices)

    def _warned(self) -> "Verifier":
        if self.flip and (self.operating_points or self.calibration is not None):
            log.warning("--flip: thresholds and calibration of %s were fitted without it", self.name)
        return self

    @property
    def network(self) -> "SiameseNetwork":
        """The network on torch.

        Raises:
            ModelError: the verifier runs an export.
        """
        if not isinstance(self.runtime, TorchRuntime):
            raise ModelError(
                f"{self.name}: runs from its export; this needs the network itself, so add --runtime torch"
            )
        return self.runtime.network

    @property
    def embedding_dim(self) -> int:
        """Width of an embedding."""
        return self.runtime.embedding_dim

    @property
    def pair_head(self) -> bool:
        """Whether embeddings are compared by a pair head, and not by their cosine."""
        return self.runtime.pair_head

    @property
    def operating_points(self) -> tuple[OperatingPoint, ...]:
        """Thresholds that travel with the model; none for an untouched encoder."""
        return () if self.card is None else self.card.operating_points

    def prepare(self, sources: Sequence[ImageSource]) -> tuple[NDArray[np.uint8], list[Outcome]]:
        """Images as the network sees them: pixels (N, H, W, 3) RGB, black where the outcome is not `ok`."""
        return self.loader.load(sources)

    def embed_pixels(self, pixels: NDArray[np.uint8], *, batch: int | None = None) -> NDArray[np.float32]:
        """Embed prepared pixels.

        Args:
            pixels: shape (N, H, W, 3), uint8, RGB, of the input's size.
            batch: images at a time; None for what suits the device.

        Returns:
            Shape (N, D), float32, rows of unit length.
        """
        batch = batch or default_batch(self.device)
        vectors = np.zeros((len(pixels), self.embedding_dim), np.float32)
        for start in range(0, len(pixels), batch):
            images = self.input_spec.normalise(pixels[start : start + batch])
            given = self.runtime.embed(images)
            if self.flip:
                given = normalise(given + self.runtime.embed(np.ascontiguousarray(images[..., ::-1])))
            vectors[start : start + batch] = given
        return vectors

    def embed(self, sources: Sequence[ImageSource], *, batch: int | None = None) -> Embeddings:
        """Load and embed images, each once; the caller passes unique ones.

        Memory holds one batch of pixels and the embeddings.

        Args:
            sources: paths, the bytes of image files, Pillow images, or pixels (H, W, 3), uint8, RGB.
            batch: images at a time; None for what suits the device.
        """
        batch = batch or default_batch(self.device)
        vectors = np.zeros((len(sources), self.embedding_dim), np.float32)
        outcomes: list[Outcome] = []
        starts = range(0, len(sources), batch)
        many = len(sources) > batch
        for start in progress(starts, f"embedding {len(sources)} images", unit=f"x{batch}") if many else starts:
            pixels, done = self.prepare(sources[start : start + batch])
            usable = np.array([outcome.status == "ok" for outcome in done], dtype=bool)
            if usable.any():
                vectors[start + np.flatnonzero(usable)] = self.embed_pixels(pixels[usable], batch=batch)
            outcomes.extend(done)
        return Embeddings(vectors, outcomes)

    def similarity(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[Any]:
        """Similarity of each row of `left` with the same row of `right`.

        Args:
            left: embeddings, shape (N, D), rows of unit length.
            right: embeddings, shape (N, D), rows of unit length.

        Returns:
            Shape (N,), in [-1, 1]: the pair head's where the model has one, else the cosine.

        Raises:
            DataError: other shapes.
        """
        shapes = np.shape(left), np.shape(right)
        if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][1] != self.embedding_dim:
            raise DataError(
                f"embeddings {shapes[0]} and {shapes[1]}: expected (N, {self.embedding_dim}) both, a pair a row"
            )
        return self.runtime.similarity(left, right)

    @property
    def identities(self) -> tuple[str, ...]:
        """What the model's identity head tells apart, in the order of its probabilities; none without such a head."""
        return () if self.card is None or self.card.identities is None else self.card.identities

    def identity_probabilities(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of each of `identities` for unit embeddings (N, D): shape (N, C), rows that sum to 1.

        Raises:
            OptionError: the model has no identity head.
        """
        return self.runtime.identity_probabilities(vectors)

    @property
    def calibration(self) -> Calibration | None:
        """From similarity to P(same); it travels with the model, and an untouched encoder has none."""
        return None if self.card is None else self.card.calibration

    def decision_rule(
        self,
        *,
        far: float | None = None,
        at: str | None = None,
        threshold: float | None = None,
        abstain: float | None = None,
        prior: float | None = None,
    ) -> DecisionRule:
        """How similarities become answers; arguments and errors as of `make_rule`."""
        points = None if self.card is None else self.operating_points
        asked = {"far": far, "at": at, "threshold": threshold, "abstain": abstain, "prior": prior}
        return make_rule(self.name, points, self.calibration, **asked)  # type: ignore[arg-type]

    def compare(
        self,
        left: ImageSource,
        right: ImageSource,
        *,
        far: float | None = None,
        at: str | None = None,
        threshold: float | None = None,
        abstain: float | None = None,
        prior: float | None = None,
    ) -> Comparison:
        """Decide whether two images show the same identity; one of `far`, `at`, `threshold`, `abstain` may be given.

        Args:
            left: a path, the bytes of an image file, a Pillow image, or pixels (H, W, 3), uint8, RGB.
            right: likewise.
            far: use the operating point for this FAR; None for the one of best accuracy.
            at: use the operating point of this name: `accuracy`, `f1` or `eer`.
            threshold: use this similarity instead of an operating point.
            abstain: answer where the probability of a wrong answer is at most this, and say nothing elsewhere.
            prior: share of genuine pairs among those that are compared, for the probability; None for that of the
                calibration. Only with `abstain` does the verdict depend on it.

        Raises:
            ImageError: an image cannot be read.
            FaceError: no face in an image of which the model needs one.
            DataError: an image given as something else, or an array of another shape or type.
            OptionError: more than one way to decide, or one that the model has not; a prior for a model without a
                calibration, or outside (0, 1).
            ModelError: the similarity is no number.
        """
        rule = self.decision_rule(far=far, at=at, threshold=threshold, abstain=abstain, prior=prior)
        crops, outcomes = self.prepare([left, right])
        for source, outcome in zip((left, right), outcomes, strict=True):
            require_usable(source, outcome)
        vectors = self.embed_pixels(crops)
        score = check_finite(self.name, float(self.similarity(vectors[:1], vectors[1:])[0]))
        scores, fitted = np.array([score]), rule.fitted
        probabilities, answers = rule.probabilities(scores), rule.answers(scores)
        return Comparison(
            same=bool(answers.same[0]) if answers.answered[0] else None,
            similarity=score,
            probability=None if probabilities is None else float(probabilities[0]),
            prior=rule.prior,
            threshold=rule.threshold,
            far=rule.far,
            point=None if rule.point is None else rule.point.name,
            split=None if fitted is None else fitted.split,
            genuine=None if fitted is None else fitted.genuine,
            impostor=None if fitted is None else fitted.impostor,
            abstain=rule.abstain,
            outcomes=(outcomes[0], outcomes[1]),
            crops=crops,
        )


def _is_network(given: Any) -> bool:
    """Whether it is torch's; a runtime has `embed`. Asking for its class would import torch."""
    return not hasattr(given, "embed")


def _untouched(name: str, input_size: tuple[int, int] | None, seed: int | None) -> "SiameseNetwork":
    import torch

    from siamese.encoders.registry import create_encoder
    from siamese.model.network import SiameseNetwork

    with torch.random.fork_rng(devices=(), enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        return SiameseNetwork(create_encoder(name, input_size=input_size))
