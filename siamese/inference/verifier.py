"""The verifier: a model and everything needed to use it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from siamese.device import may_have_gpu, resolve_device
from siamese.errors import FaceError, ImageError, ModelError, OptionError, unknown_name
from siamese.evaluation.calibration import Calibration
from siamese.evaluation.operating_points import OperatingPoint
from siamese.images.faces import FaceChoice
from siamese.images.input_spec import InputSpec
from siamese.images.loader import AlignChoice, ImageLoader, Outcome
from siamese.inference.decision import DecisionRule, check_finite, make_rule
from siamese.inference.export_manifest import find_export
from siamese.inference.runtime import OpenVinoRuntime, Runtime, TorchRuntime
from siamese.model.card import ModelCard
from siamese.model.embeddings import Embeddings, default_batch
from siamese.progress import progress
from siamese.similarity import normalise

if TYPE_CHECKING:
    from siamese.model.network import SiameseNetwork

RuntimeChoice = Literal["auto", "torch", "openvino"]


@dataclass(frozen=True)
class Comparison:
    """The answer to "same or different?".

    Attributes:
        same: the verdict; None where abstaining was allowed and the answer would be too uncertain.
        similarity: of the two embeddings, in [-1, 1]: the pair head's where the model has one, else their cosine.
        probability: that the two are the same, at `prior`; None for a model without a calibration.
        prior: share of genuine pairs that the probability supposes; None without a probability.
        threshold: accept at this similarity and above; None where the probability decides.
        far: share of impostor pairs of the split that the threshold accepts; None without an operating point.
        point: name of the operating point; None for a threshold given by hand, and where the probability decides.
        split: what the operating point was fitted on, or the calibration where the probability decides; None for a
            threshold given by hand.
        genuine: how many genuine pairs the split has; None without one.
        impostor: how many impostor pairs the split has; None without one.
        abstain: answer only where the answer is wrong with at most this probability; None to answer always.
        outcomes: of the two images: faces found and chosen, where faces were looked for.
    """

    same: bool | None
    similarity: float
    probability: float | None
    prior: float | None
    threshold: float | None
    far: float | None
    point: str | None
    split: str | None
    genuine: int | None
    impostor: int | None
    abstain: float | None
    outcomes: tuple[Outcome, Outcome]


class Verifier:
    """A model folder, an export, or an untouched encoder, ready to embed and compare.

    Attributes:
        name: how the model was named.
        runtime: what runs the network.
        input_spec: what the network expects of an image.
        card: of a model folder or its export; None for an untouched encoder.
        device: `cpu` or `cuda:N`.
        align: whether faces are aligned, as it was asked for.
        face: which face of an image with several.
        flip: whether each image is embedded together with its mirror image.
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
        self._loader = ImageLoader(self.input_spec, align=align, face=face, device=device)

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        device: str = "auto",
        runtime: RuntimeChoice = "auto",
        precision: str = "f32",
        align: AlignChoice = "auto",
        face: FaceChoice = "auto",
        input_size: tuple[int, int] | None = None,
        flip: bool = False,
        seed: int | None = None,
    ) -> "Verifier":
        """Load a model folder or an export, or build an untouched encoder (`NAME`, `NAME@TAG`, `NAME@FILE`).

        Args:
            model: folder or name; a folder of that name goes first.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            runtime: `openvino` runs the export of a model folder, on the CPU and without torch; `torch` runs its
                weights; `auto` takes the export where there is one and no GPU is asked for or found.
            precision: of an export, as of `OpenVinoRuntime`.
            align: `auto` brings raw photographs to the template that the model needs, `yes`, `no`.
            face: which face of an image with several.
            input_size: height and width, for an untouched encoder only.
            flip: test-time augmentation: the direction halfway between the embeddings of the image and of its mirror
                image. It costs a second pass, and is for what may be mirrored: faces, not characters. Operating
                points and calibration of a model folder were fitted without.
            seed: of the weights of `NAME@random`; None to draw them from torch's generator.

        Raises:
            SiameseError: no such model, a changed folder, missing weights, a missing device or export.
        """
        path = Path(model)
        if input_size is not None and path.is_dir():
            raise OptionError(f"--input-size: the model folder {path} has its own; leave the option out")
        if path.is_file():
            raise ModelError(f"{path}: is a file; expected a model folder, or NAME@{path} to use it as weights")
        export = _export_to_run(path, device, runtime)
        choices: dict[str, Any] = {"align": align, "face": face, "flip": flip}
        if export is not None:
            exported = OpenVinoRuntime(export, precision)
            card = None if exported.manifest.card is None else ModelCard.model_validate(exported.manifest.card)
            spec = InputSpec.model_validate(exported.manifest.input)
            return cls(str(model), exported, card, device="cpu", input_spec=spec, **choices)
        where = resolve_device(device)
        if path.is_dir():
            from siamese.model.folder import load_model

            network, card = load_model(path)
            return cls(str(model), network, card, device=where, **choices)
        return cls(str(model), _untouched(str(model), input_size, seed), None, device=where, **choices)

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

    def prepare(self, sources: Sequence[Path | bytes]) -> tuple[NDArray[np.uint8], list[Outcome]]:
        """Images as the network sees them: pixels (N, H, W, 3) RGB, black where the outcome is not `ok`."""
        return self._loader.load(sources)

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

    def embed(self, sources: Sequence[Path | bytes], *, batch: int | None = None) -> Embeddings:
        """Load and embed images, each once; the caller passes unique ones.

        Memory holds one batch of pixels and the embeddings.

        Args:
            sources: paths, or image files as bytes.
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
        """Similarity of each row of `left` (N, D) with the same row of `right` (N, D); shape (N,), in [-1, 1].

        The pair head's where the model has one, else the cosine.
        """
        return self.runtime.similarity(left, right)

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
        left: Path | bytes,
        right: Path | bytes,
        *,
        far: float | None = None,
        at: str | None = None,
        threshold: float | None = None,
        abstain: float | None = None,
        prior: float | None = None,
    ) -> Comparison:
        """Decide whether two images show the same identity; one of `far`, `at`, `threshold`, `abstain` may be given.

        Args:
            left: path, or an image file as bytes.
            right: path, or an image file as bytes.
            far: use the operating point for this FAR; None for the one of best accuracy.
            at: use the operating point of this name: `accuracy`, `f1` or `eer`.
            threshold: use this similarity instead of an operating point.
            abstain: answer where the probability of a wrong answer is at most this, and say nothing elsewhere.
            prior: share of genuine pairs among those that are compared, for the probability; None for that of the
                calibration. Only with `abstain` does the verdict depend on it.

        Raises:
            ImageError: an image cannot be read.
            FaceError: no face in an image of which the model needs one.
            OptionError: more than one way to decide, or one that the model has not; a prior for a model without a
                calibration, or outside (0, 1).
            ModelError: the similarity is no number.
        """
        rule = self.decision_rule(far=far, at=at, threshold=threshold, abstain=abstain, prior=prior)
        embeddings = self.embed([left, right])
        first, second = embeddings.outcomes
        for source, outcome in ((left, first), (right, second)):
            _require(source, outcome)
        vectors = embeddings.vectors
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
            outcomes=(first, second),
        )


def _require(source: Path | bytes, outcome: Outcome) -> None:
    if outcome.status == "unreadable":
        raise ImageError(outcome.detail)
    if outcome.status == "no_face":
        name = "the image given as bytes" if isinstance(source, bytes) else str(source)
        raise FaceError(f"{name}: no face found; give a clearer image, or --align no for one that is cropped already")


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


def _export_to_run(model: Path, device: str, runtime: str) -> Path | None:
    """The export that is to be run; None for torch."""
    if runtime not in get_args(RuntimeChoice):
        raise unknown_name("runtime", runtime, get_args(RuntimeChoice))
    export = find_export(model) if model.is_dir() else None
    if runtime == "openvino":
        if export is None:
            raise ModelError(f"{model}: no export; run `siamese export {model}`, or leave --runtime openvino out")
        if device not in ("auto", "cpu"):
            raise OptionError(
                f"--device {device}: an export runs on the CPU; leave one of --device and --runtime out"
            )
        return export
    wanted = runtime == "auto" and (device == "cpu" or (device == "auto" and not may_have_gpu()))
    return export if wanted else None
