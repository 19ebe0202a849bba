"""Short tests that really run: the same faces through what siamese uses every day."""

import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from siamese.atomic import write_text
from siamese.cache_folder import cache_folder
from siamese.demo.identity import sample_identities
from siamese.demo.render import render
from siamese.demo.variation import sample_variation
from siamese.doctor.finding import Finding
from siamese.encoders.bundled import bundled_folder
from siamese.encoders.model_files import read_embedding_card, weights_file
from siamese.errors import ModelError
from siamese.inference.runtime_choice import is_installed, torch_is_there

# A network of timm for tests: some thousand weights, and layers of every common kind.
ENCODER, SIZE = "timm/test_resnet@random", (64, 64)
FACE = 160
# As `siamese export` has it: in float32 embeddings move by rounding alone.
LIMIT = 1e-4


class _MissingError(Exception):
    """A part is not installed that the test needs: no failure."""


@dataclass(frozen=True)
class _Test:
    name: str
    run: Callable[[], str]


def run_checks() -> list[Finding]:
    """Run all tests; whatever goes wrong in one is its result, and the others run all the same."""
    return [_outcome(test) for test in _TESTS]


def _outcome(test: _Test) -> Finding:
    try:
        return Finding(test.name, "ok", test.run())
    except _MissingError as error:
        return Finding(test.name, "warn", f"not run: {error}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return Finding(test.name, "fail", f"{where}{error.strerror or error}")
    except Exception as error:  # a diagnosis tells of every failure, also of those nobody thought of
        reason = " ".join(str(error).split())[:300]
        return Finding(test.name, "fail", f"{type(error).__name__}: {reason}")


def _cache() -> str:
    path = cache_folder() / f"doctor-{secrets.token_hex(6)}.txt"
    written = secrets.token_hex(32)
    write_text(path, written)
    try:
        found = path.read_text(encoding="utf-8")
    finally:
        path.unlink()
    if found != written:
        raise ValueError(f"{path}: reads back other than it was written")
    return "a file was written and read back"


def _images() -> str:
    from siamese.images.decode import decode

    face = _face(0, 0)
    for suffix, limit in ((".png", 0.0), (".jpg", 8.0)):
        whole, encoded = cv2.imencode(suffix, face[..., ::-1])
        found = decode(encoded.tobytes()).astype(np.float64)
        if not whole or found.shape != face.shape or np.abs(found - face).mean() > limit:
            raise ValueError(f"an image of type {suffix} is decoded to other pixels")
    return "PNG and JPEG are decoded to the pixels that were encoded"


def _openvino() -> str:
    """A convolution that is written down here, held against NumPy: OpenVINO alone, without torch."""
    _need("openvino")
    from siamese.openvino_library import core, openvino

    library = openvino()
    operations = library.opset13
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 3, 9, 9)).astype(np.float32)
    weights = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    given = operations.parameter([-1, 3, 9, 9], np.float32)
    sides = ([1, 1], [0, 0], [0, 0], [1, 1])
    graph = library.Model([operations.convolution(given, operations.constant(weights), *sides)], [given])
    compiled = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(2, 3))
    expected = np.einsum("bchwyx,ocyx->bohw", windows, weights)
    return f"a convolution agrees with NumPy's {_agree(compiled(images)[0], expected)}"


def _export() -> str:
    """Two photographs of one face and one of another: decoded, embedded on torch and by an export."""
    _need("openvino", "torch", "timm")
    from siamese.images.loader import ImageLoader
    from siamese.inference.export_files import write_export
    from siamese.inference.runtime_openvino import OpenVinoRuntime
    from siamese.inference.verifier import Verifier

    verifier = Verifier.load(ENCODER, device="cpu", runtime="torch", input_size=SIZE, seed=0)
    pixels, _ = ImageLoader(verifier.input_spec, align="no").load(_photographs())
    images = verifier.input_spec.normalise(pixels)
    with tempfile.TemporaryDirectory(prefix="siamese-doctor-") as name:
        write_export(verifier, Path(name), "openvino")
        vectors = OpenVinoRuntime(Path(name), "f32", cache=False).embed(images)
    return (
        f"a small network exported to OpenVINO embeds as on torch {_agree(vectors, verifier.runtime.embed(images))}"
    )


def _bundled() -> str:
    """The verifier that ships: its weights are those of its card, and it tells drawn faces apart."""
    try:
        folder = bundled_folder()
    except ModelError as error:
        raise _MissingError(str(error)) from error
    card = read_embedding_card(folder)
    megabytes = weights_file(folder, card.sha256).stat().st_size / 1e6
    whole = f"{megabytes:.1f} MB, whole (SHA-256 {card.sha256[:12]}...)"
    if not torch_is_there():
        return f"{whole}; not run, as torch is missing"
    from siamese.inference.verifier import Verifier

    verifier = Verifier.load(device="cpu", runtime="torch", align="no")
    vectors = verifier.embed(_photographs()).vectors
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.allclose(lengths, 1, atol=1e-3):
        raise ValueError(f"embeddings of length {lengths.min():.3g} to {lengths.max():.3g}, expected 1")
    same, other = (float(verifier.similarity(vectors[:1], vectors[[row]])[0]) for row in (1, 2))
    return f"{whole}; drawn faces: {same:.2f} for two of one person, {other:.2f} for two people"


def _gpu() -> str:
    """The same network on the GPU that would be used."""
    _need("torch", "timm")
    from siamese.device import resolve_device
    from siamese.inference.runtime import TorchRuntime
    from siamese.inference.verifier import Verifier

    device = resolve_device("auto")
    if device == "cpu":
        return "none, nothing to test"
    network = Verifier.load(ENCODER, device="cpu", runtime="torch", input_size=SIZE, seed=0).network
    images = network.input_spec.normalise(np.stack([cv2.resize(_face(*each), SIZE) for each in _PAIRS]))
    expected = TorchRuntime(network, "cpu").embed(images)
    # Convolutions on a GPU may round to 10 bits (TF32).
    found = _agree(TorchRuntime(network, device).embed(images), expected, 1e-2)
    return f"a small network on {device} embeds as on the CPU {found}"


def _detector() -> str:
    from siamese.errors import OptionError, WeightsError
    from siamese.images.detector import FaceDetector

    try:
        detector = FaceDetector("cpu")
    except (OptionError, WeightsError, ImportError) as error:
        if torch_is_there() and is_installed("facenet_pytorch"):
            raise
        raise _MissingError(str(error)) from error
    faces = [_face(identity, 0, FACE) for identity in range(3)]
    plain = np.full((FACE, FACE, 3), 128, np.uint8)
    found = [len(each) for each in detector.detect([*faces, plain])]
    if found != [1, 1, 1, 0]:
        raise ValueError(f"{found} faces in three drawn faces and a plain image, expected [1, 1, 1, 0]")
    return f"finds three drawn faces, and none in a plain image (on {detector.engine})"


# Identity and variation of each face that is embedded.
_PAIRS = ((0, 0), (0, 1), (1, 2))
_TESTS = (
    _Test("cache folder", _cache),
    _Test("images", _images),
    _Test("OpenVINO", _openvino),
    _Test("torch and OpenVINO", _export),
    _Test("bundled model", _bundled),
    _Test("GPU", _gpu),
    _Test("face detector", _detector),
)


def _need(*modules: str) -> None:
    for module in modules:
        if not is_installed(module):
            raise _MissingError(f"{module} is missing")


def _agree(found: NDArray[np.float32], expected: NDArray[np.float32], limit: float = LIMIT) -> str:
    """How far two results are apart, in words.

    Raises:
        ValueError: too far.
    """
    apart = float(np.abs(found - expected).max())
    if not apart <= limit:
        raise ValueError(f"differs from what is expected by {apart:.2g}, {limit:g} may be")
    return f"to {apart:.0e}"


def _photographs() -> list[bytes]:
    return [cv2.imencode(".jpg", _face(*each)[..., ::-1])[1].tobytes() for each in _PAIRS]


def _face(identity: int, variation: int, size: int = FACE) -> NDArray[np.uint8]:
    """A drawn face: which person, and which photograph of them."""
    drawn = sample_identities(identity + 1, 0)[identity]
    return render(drawn, sample_variation(np.random.default_rng(variation)), size)
