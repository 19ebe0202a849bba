"""Step 4: the trained student as package data, in 16 bits, with a card for people.

Operating points and calibration are fitted anew to what the rounded weights make of the validation pairs, and the
figures are read again: a packed model that differs by more than rounding is not written.
"""

from pathlib import Path, PurePath

from bundled_recipe.card_text import card_text
from bundled_recipe.measure import PARTS, STUDENT, measure_model
from bundled_recipe.reading import Reading
from bundled_recipe.records import Record, read_record
from bundled_recipe.train import is_trained
from bundled_recipe.view1 import fit_decisions
from bundled_recipe.workplace import BUNDLED, Workplace
from siamese.atomic import write_text
from siamese.encoders.checksum import sha256_of
from siamese.encoders.model_files import WEIGHTS
from siamese.errors import DataError, ModelError
from siamese.inference.verifier import Verifier
from siamese.model.card import ModelCard, TrainingCard, read_card
from siamese.model.folder import describe_encoder, load_model, save_model
from siamese.progress import log

MOST_BYTES = 8_000_000
MODEL_CARD = "MODEL_CARD.md"
# Of the crops that it was trained on.
TEMPLATE = "arcface-112"
LICENCE = "Apache-2.0; the images it was trained on are research data, see MODEL_CARD.md"
# Similarities move by thousandths when weights are rounded to 16 bits: of a thousand pairs two may change sides.
ACCURACY_MOVES, AUC_MOVES = 0.002, 0.0005
VIEW1 = f"view1/{STUDENT}"


def pack(place: Workplace, target: Path = BUNDLED) -> None:
    """Write the packed model and its card.

    Args:
        place: with a trained and measured student.
        target: the folder of the package data.

    Raises:
        DataError: the student is not trained, or not measured in full.
        ModelError: the packed weights are too large, or decide differently.
    """
    figures = _figures(place)
    packed = place.work / f"packed-{place.model.name}"
    card = _round(place, packed)
    size = (packed / WEIGHTS).stat().st_size
    if size > MOST_BYTES:
        raise ModelError(f"{packed / WEIGHTS}: {size:,} bytes, at most {MOST_BYTES:,}; train a smaller student")
    found = measure_model(place, packed, packed.with_suffix(".json"), [VIEW1])["parts"][VIEW1]
    check_rounding(figures["parts"][VIEW1], found)
    network, _ = load_model(packed)
    save_model(target, network, card, half=True)
    prepared = read_record(place.prepared)
    assert prepared is not None  # noqa: S101 - measuring has asked for it
    text = card_text(card, _first_run(place), figures, found, prepared, size)
    write_text(target / MODEL_CARD, text)
    log.info("packed: %s, %s bytes of weights", target, f"{size:,}")


def check_rounding(trained: Record, packed: Record) -> None:
    """Make sure that the packed model does as the trained one does.

    Raises:
        ModelError: names the figure, and both values.
    """
    accuracies = (each["devtrain_threshold"]["accuracy"]["value"] for each in (trained, packed))
    aucs = (each["auc"]["value"] for each in (trained, packed))
    for name, (before, after), most in (
        ("accuracy", tuple(accuracies), ACCURACY_MOVES),
        ("AUC", tuple(aucs), AUC_MOVES),
    ):
        if not abs(after - before) <= most + 1e-12:
            raise ModelError(
                f"packed model: {name} on pairsDevTest is {after:.4f}, that of the trained one {before:.4f}, and "
                f"rounding may move it by {most:g}; pack it in 32 bits, or look for a layer that 16 bits do not hold"
            )


def without_folders(config: dict[str, object]) -> dict[str, object]:
    """A run's configuration as the package shows it: names of files, and not where somebody keeps them."""
    return {name: _bare(value) if isinstance(value, str) else value for name, value in config.items()}


def _first_run(place: Workplace) -> TrainingCard:
    training = read_card(place.clean_model).training
    if training is None:
        raise ModelError(f"{place.clean_model}: its card does not say how it was trained; run --step train again")
    return training.model_copy(update={"config": without_folders(training.config)})


def _figures(place: Workplace) -> Record:
    if not is_trained(place):
        raise DataError(f"{place.model}: no trained student of seed {place.seed}; run --step train first")
    found = read_record(place.figures)
    digest = sha256_of(place.model / WEIGHTS)
    if found is None or found.get("weights_sha256") != digest or set(PARTS) - set(found["parts"]):
        raise DataError(f"{place.figures}: not all figures of this student are there; run --step measure first")
    return found


def _round(place: Workplace, packed: Path) -> ModelCard:
    """Write the rounded model with its own operating points and calibration; returns its card."""
    network, card = load_model(place.model)
    training = card.training
    if training is not None:
        training = training.model_copy(update={"config": without_folders(training.config)})
    # A network of timm knows of no faces: that photographs must be aligned for it is of its training images.
    network.encoder.input_spec = network.encoder.input_spec.model_copy(update={"alignment": TEMPLATE})
    card = card.model_copy(update={"training": training, "licence": LICENCE, "encoder": describe_encoder(network)})
    save_model(packed, network, card, half=True)
    reading = Reading(Verifier.load(packed, device="cpu", runtime="torch"), place.work)
    points, calibration = fit_decisions(place, reading)
    card = card.model_copy(update={"operating_points": points, "calibration": calibration})
    save_model(packed, reading.verifier.network, card, half=True)
    return card


def _bare(text: str) -> str:
    scheme, colon, path = text.partition(":")
    if colon and "/" in path and "/" not in scheme:
        return f"{scheme}:{'@'.join(PurePath(part).name for part in path.split('@'))}"
    name, at, path = text.partition("@")
    if at and PurePath(path).is_absolute():
        return f"{name}@{PurePath(path).name}"
    return PurePath(text).name if PurePath(text).is_absolute() else text
