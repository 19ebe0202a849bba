"""The files of an OpenVINO network that a user names: the graph, its constants, and what it expects of an image.

Imports neither torch nor OpenVINO.
"""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from siamese.encoders.weights import WeightsRecord
from siamese.errors import OptionError, WeightsError
from siamese.images.input_spec import InputSpec

PREFIX = "openvino:"
SUFFIX = ".xml"
SPEC_SUFFIX = ".input.json"
FORMS = f"{PREFIX}PATH{SUFFIX} or {PREFIX}PATH{SUFFIX}@SPEC.json"
# A graph says little beside its constants; whatever is larger than this is no graph of an encoder.
LARGEST_XML = 64 << 20
LARGEST_BIN = 4 << 30
LARGEST_SPEC = 1 << 20
# How much of a file tells whether it is a graph.
_START = 4096
_UNKNOWN = "unknown: given as a file"


class OpenVinoInput(InputSpec):
    """What lies beside a network: the input that it expects, and where it comes from.

    Attributes:
        licence: terms of the weights and of the images behind them.
        training_set: the images they were trained on.
        source: the project that publishes them, such as its address.
    """

    licence: str = _UNKNOWN
    training_set: str = _UNKNOWN
    source: str = ""

    def input_spec(self) -> InputSpec:
        """The input alone."""
        return InputSpec(**{name: getattr(self, name) for name in InputSpec.model_fields})


@dataclass(frozen=True)
class OpenVinoFiles:
    """The files of a network.

    Attributes:
        xml: the graph.
        spec: what it expects of an image (JSON).
    """

    xml: Path
    spec: Path

    @property
    def bin(self) -> Path:
        """The graph's constants, which lie beside it."""
        return self.xml.with_suffix(".bin")

    def read_xml(self) -> bytes:
        """The graph.

        Raises:
            WeightsError: there is no such file, or it is not a graph of OpenVINO.
        """
        content = _read(self.xml, LARGEST_XML, f"the graph ({SUFFIX}) of an OpenVINO network").tobytes()
        if b"<net" not in content[:_START]:
            raise WeightsError(
                f"weights {self.xml}: not a graph of OpenVINO (it starts with {content[:12]!r}); expected the "
                f"{SUFFIX} that openvino.save_model or ovc writes"
            )
        return content

    def read_bin(self) -> NDArray[np.uint8]:
        """The constants, shape (bytes,).

        Raises:
            WeightsError: there is no such file.
        """
        return _read(self.bin, LARGEST_BIN, f"the constants of {self.xml.name}, which lie beside it")

    def read_spec(self, size: tuple[int, int] | None) -> OpenVinoInput:
        """What the network expects of an image.

        Args:
            size: height and width of the network itself, for the error message; None where it takes any.

        Raises:
            WeightsError: there is no such file, or something in it does not fit; an example says what to write.
        """
        wanted = f"what {self.xml.name} expects of an image, such as {_example(size)}"
        text = _read(self.spec, LARGEST_SPEC, wanted).tobytes()
        try:
            return OpenVinoInput.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise WeightsError(f"{self.spec}: {where}: {first['msg']}; expected {wanted}") from error


def parse_openvino(name: str) -> OpenVinoFiles:
    """The files that `openvino:PATH.xml` or `openvino:PATH.xml@SPEC.json` names.

    Paths may hold an @: the graph is what ends in `.xml` before the last one, or the whole.

    Raises:
        OptionError: the name has neither form.
    """
    given = name.removeprefix(PREFIX)
    if given.lower().endswith(SUFFIX):
        xml = Path(given).expanduser()
        return OpenVinoFiles(xml, xml.with_name(xml.name[: -len(SUFFIX)] + SPEC_SUFFIX))
    place = given.lower().rfind(f"{SUFFIX}@")
    rest = given[place + len(SUFFIX) + 1 :]
    if place < 0 or not rest:
        raise OptionError(f"encoder {name!r}: expected {FORMS}")
    return OpenVinoFiles(Path(given[: place + len(SUFFIX)]).expanduser(), Path(rest).expanduser())


def record_of_openvino(encoder: str, files: OpenVinoFiles, about: OpenVinoInput, *content: bytes) -> WeightsRecord:
    """The record of a network's weights; its SHA-256 is of the graph followed by the constants.

    `cat NAME.xml NAME.bin | sha256sum` gives the same.

    Args:
        encoder: its name.
        files: that it came from.
        about: what lies beside it.
        content: of both files, in this order.
    """
    digest = sha256()
    for part in content:
        digest.update(part)
    return WeightsRecord(
        encoder=encoder,
        tag=None,
        source=f"{files.xml.name} of {about.source}" if about.source else files.xml.name,
        sha256=digest.hexdigest(),
        licence=about.licence,
        training_set=about.training_set,
    )


def _read(path: Path, largest: int, expected: str) -> NDArray[np.uint8]:
    try:
        if not path.is_file():
            raise WeightsError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; expected {expected}")
        if (size := path.stat().st_size) > largest:
            limit = f"at most {largest >> 20} MB"
            raise WeightsError(f"{path}: {size / 1e6:.0f} MB; expected {expected}, {limit}")
        return np.fromfile(path, np.uint8)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from error


def _example(size: tuple[int, int] | None) -> str:
    height, width = size or (112, 112)
    byte = 1 / 255
    return json.dumps(
        {
            "size": [height, width],
            "channels": "BGR",
            "mean": [0, 0, 0],
            "std": [byte, byte, byte],
            "alignment": "arcface-112",
            "licence": "Apache-2.0",
        }
    ) + (
        " (mean and std in units of 0 to 1, so that 0 and 1/255 leave pixels in 0..255; alignment is that of its "
        "training: arcface-112, mtcnn-160 or none)"
    )
