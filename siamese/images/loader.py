"""From files to the pixels that an encoder's `InputSpec` asks for: one path for training and for use."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from siamese.errors import ImageError, OptionError, unknown_name
from siamese.images.faces import Face, FaceChoice, align_face, check_face_choice, choose_face, is_aligned
from siamese.images.input_spec import InputSpec
from siamese.images.source import ImageSource, read_pixels

if TYPE_CHECKING:
    from siamese.images.detector import FaceDetector

# Files of fewer bytes in all are decoded before threads would have started.
THREADED_BYTES = 65_536
AlignChoice = Literal["auto", "yes", "no"]
Status = Literal["ok", "no_face", "unreadable"]


@dataclass(frozen=True)
class Outcome:
    """What happened to one image.

    Attributes:
        status: `ok`; `no_face` where a face was needed and none found; `unreadable`.
        detail: the reason in words when the status is not `ok`.
        face: the chosen face, when a search for faces was needed.
        faces: how many faces were found, None when no search was needed.
    """

    status: Status
    detail: str = ""
    face: Face | None = None
    faces: int | None = None


class ImageLoader:
    """Decodes, aligns where the input specification needs it, and resizes.

    Args:
        spec: the encoder's input specification.
        align: `auto` aligns images that are not exactly of the template's size, `yes` always, `no` never; only for
            specifications that name a template.
        face: which face to take when there are several.
        device: where the face detector runs.
        workers: threads that decode; None for one a core.

    Raises:
        OptionError: an unknown value of `align` or `face`, or `yes` for a specification without a template.
    """

    def __init__(
        self,
        spec: InputSpec,
        *,
        align: AlignChoice = "auto",
        face: FaceChoice = "auto",
        device: str = "cpu",
        workers: int | None = None,
    ) -> None:
        if align not in ("auto", "yes", "no"):
            raise unknown_name("value of --align", align, ("auto", "yes", "no"))
        if align == "yes" and spec.alignment == "none":
            raise OptionError("--align yes: this model's input has no face template; use --align auto or no")
        check_face_choice(face)
        self.spec = spec
        self.align = align
        self.face = face
        self._device = device
        self._workers = workers
        self._detector: FaceDetector | None = None

    def load(self, sources: Sequence[ImageSource]) -> tuple[NDArray[np.uint8], list[Outcome]]:
        """Load images.

        Args:
            sources: paths, files as bytes, Pillow images or arrays, as of `read_pixels`.

        Returns:
            Pixels (N, H, W, 3) uint8 RGB, black where the outcome is not `ok`, and the N outcomes.
        """
        pixels = np.zeros((len(sources), *self.spec.size, 3), np.uint8)
        if self._workers == 1 or len(sources) == 1 or not _worth_threads(sources):
            decoded = [_try_decode(source) for source in sources]
        else:
            with ThreadPoolExecutor(self._workers) as pool:
                decoded = list(pool.map(_try_decode, sources))
        outcomes, images = self._align_all(decoded)
        for row, image in enumerate(images):
            if image is not None:
                pixels[row] = self.spec.resize(image)
        return pixels, outcomes

    def _align_all(
        self, decoded: list[NDArray[np.uint8] | str]
    ) -> tuple[list[Outcome], list[NDArray[np.uint8] | None]]:
        outcomes = [Outcome("unreadable", image) if isinstance(image, str) else Outcome("ok") for image in decoded]
        images = [None if isinstance(image, str) else image for image in decoded]
        raw = [row for row, image in enumerate(images) if image is not None and self._needs_face(image)]
        if not raw:
            return outcomes, images
        photographs = [image for row in raw if (image := images[row]) is not None]
        for row, image, faces in zip(raw, photographs, self._detect(photographs), strict=True):
            chosen = choose_face(faces, image.shape, self.face)
            if chosen is None:
                outcomes[row] = Outcome("no_face", "no face found", faces=0)
                images[row] = None
            else:
                outcomes[row] = Outcome("ok", face=chosen, faces=len(faces))
                images[row] = align_face(image, chosen, self.spec.alignment)
        return outcomes, images

    def _needs_face(self, image: NDArray[np.uint8]) -> bool:
        if self.spec.alignment == "none" or self.align == "no":
            return False
        return self.align == "yes" or not is_aligned(image, self.spec.alignment)

    def _detect(self, images: list[NDArray[np.uint8]]) -> list[list[Face]]:
        if self._detector is None:  # made at first need: aligned data never pays for it
            from siamese.images.detector import FaceDetector

            self._detector = FaceDetector(self._device)
        return self._detector.detect(images)


def _worth_threads(sources: Sequence[ImageSource]) -> bool:
    """Whether there is so much to decode that it pays to start threads for it."""
    size = 0
    for source in sources:
        size += _coded_bytes(source)
        if size >= THREADED_BYTES:
            return True
    return False


def _coded_bytes(source: ImageSource) -> int:
    if isinstance(source, np.ndarray):
        return 0
    if isinstance(source, (bytes, bytearray, memoryview)):
        return len(source)
    if not isinstance(source, (str, os.PathLike)):
        return THREADED_BYTES
    try:
        return Path(source).stat().st_size
    except (OSError, ValueError):  # decoding says what is wrong with it
        return 0


def _try_decode(source: ImageSource) -> NDArray[np.uint8] | str:
    try:
        return read_pixels(source)
    except ImageError as error:
        return str(error)
