"""Options that commands share, so that each means and reads the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no notes, only warnings and the result.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Same seed, same result.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N; a missing one is an error.")]
Align = Annotated[
    str, typer.Option("--align", help="Bring raw photographs to the model's face template: auto, yes or no.")
]
FaceOption = Annotated[str, typer.Option("--face", help="Which face: auto (large and central), largest, center.")]
Root = Annotated[Path | None, typer.Option("--root", help="What relative paths start from [the pair file's folder].")]
SameLabel = Annotated[
    str | None, typer.Option("--same-label", help="Value of the label column that means same [1 or true].")
]
IdentityDepth = Annotated[int, typer.Option("--identity-depth", help="Levels of folders that name an identity.")]
Identities = Annotated[
    Path | None, typer.Option("--identities", help="Use only the identities listed in this text file, one a line.")
]
InputSize = Annotated[
    str | None, typer.Option("--input-size", help="Input of the encoder in pixels, N or HxW [the encoder's own].")
]

Far = Annotated[float | None, typer.Option("--far", help="Decide at the model's operating point for this FAR.")]
At = Annotated[
    str | None,
    typer.Option("--at", help="Decide at the model's operating point of this name: accuracy, f1 or eer [accuracy]."),
]
Threshold = Annotated[float | None, typer.Option("--threshold", help="Decide at this similarity, from -1 to 1.")]
Abstain = Annotated[
    float | None,
    typer.Option(
        "--abstain", help="Answer only where the answer is wrong with at most this probability, else say unsure."
    ),
]
Prior = Annotated[
    float | None, typer.Option("--prior", help="Share of genuine pairs that the probability supposes [0.5].")
]
Runtime = Annotated[
    str, typer.Option("--runtime", help="auto (an export where there is one, on the CPU), openvino or torch.")
]
Precision = Annotated[
    str,
    typer.Option("--precision", help="Of an export: f32; auto takes bf16 where that passed its check; bf16, f16."),
]
Model = Annotated[
    str | None, typer.Option("--model", help="Model folder, NAME, NAME@TAG or NAME@FILE [the one that ships].")
]
Flip = Annotated[bool, typer.Option("--flip", help="Embed each image together with its mirror image.")]


def choose_model(model: str | None) -> str:
    """The model that was named; where none was, the one that ships, which is said.

    Raises:
        ModelError: none was named, and this build of the package has none.
    """
    if model is not None:
        return model
    from siamese.encoders.bundled import BUNDLED, bundled_folder
    from siamese.progress import log

    bundled_folder()
    log.info("model: %s (the verifier that ships with siamese; --model names another)", BUNDLED)
    return BUNDLED


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Read `N` or `HxW`.

    Raises:
        OptionError: another form.
    """
    from siamese.errors import OptionError

    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise OptionError(f"--input-size {text!r}: expected pixels, such as 112 or 112x96")
    sizes = [int(part) for part in parts]
    return sizes[0], sizes[-1]
