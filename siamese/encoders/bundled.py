"""The verifier that ships with the package: its name, and where its model folder lies. Imports no torch."""

import os
from pathlib import Path

from siamese.encoders.model_files import CARD
from siamese.errors import ModelError

BUNDLED = "bundled"
# Files, not a resource of a zip archive: they are opened by path, and mapped into memory.
_FOLDER = Path(__file__).parents[1] / "bundled"


def bundled_folder() -> Path:
    """The model folder inside the package.

    Raises:
        ModelError: this build of the package has none.
    """
    if not (_FOLDER / CARD).is_file():
        raise ModelError(
            f"{BUNDLED}: this installation of siamese came without its model ({_FOLDER} has no {CARD}); install a "
            "complete package, or name another model (--model FOLDER, or an encoder)"
        )
    return _FOLDER


def name_of_model(model: str | Path | None) -> str:
    """How a model is named: None is the bundled one.

    A `Path` is always a folder or a file. Its text loses the leading `./`, and one that is called like the bundled
    model would be taken for it.
    """
    if model is None:
        return BUNDLED
    return f"{os.curdir}{os.sep}{BUNDLED}" if model == Path(BUNDLED) else str(model)


def path_of_model(name: str) -> Path:
    """Where a model lies, if it is a folder.

    Args:
        name: `bundled` for the model of the package, whatever lies in the working directory; else a path.

    Raises:
        ModelError: `bundled`, and this build of the package has none.
    """
    return bundled_folder() if name == BUNDLED else Path(name)
