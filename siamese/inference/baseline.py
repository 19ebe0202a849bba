"""The untouched encoder that a trained model started from: what training is measured against."""

import json
from pathlib import Path

from siamese.encoders.bundled import path_of_model
from siamese.encoders.checkpoint import read_checkpoint
from siamese.encoders.checksum import sha256_of
from siamese.encoders.encoder import Encoder
from siamese.encoders.headed_encoder import parse_headed
from siamese.encoders.model_files import WEIGHTS
from siamese.encoders.registry import UNTRAINED_OPENVINO, create_untrained
from siamese.encoders.weights import WeightEntry, WeightsRecord, cached_path, find_entry
from siamese.errors import SiameseError, WeightsError
from siamese.evaluation.calibration_fitting import fit_calibration
from siamese.evaluation.operating_point_fitting import fit_operating_points
from siamese.inference.run_pairs import run_pairs
from siamese.inference.scoring import score_pairs
from siamese.inference.verifier import Verifier
from siamese.model.card import ModelCard
from siamese.model.folder import describe_encoder, load_model
from siamese.model.network import SiameseNetwork
from siamese.pairing.pair_identities import pair_identities
from siamese.progress import log
from siamese.training.kept_pairs import VAL_FILE
from siamese.training.run_folder import RUN

# What it is called beside the model.
BASELINE = "untouched encoder (baseline)"


def load_baseline(verifier: Verifier, *, fit: bool = True) -> Verifier | str:
    """The encoder of a trained model as it was before training, compared by the cosine of its features.

    Nothing is downloaded: published weights are taken from the cache, weights given as a file from where they lay
    when the model was trained. Either must still have the hash that the model's card recorded. Everything else is as
    in the model: input, device, choice of faces, mirror images.

    Args:
        verifier: of a model folder.
        fit: fit thresholds and calibration on the validation pairs that the run folder beside the model holds, as
            training did for the model, so that neither has seen the pairs that both are judged on. Without, or where
            those pairs or their images are gone, the baseline has none, as any untouched encoder.

    Returns:
        The baseline, or in words why there is none.
    """
    if verifier.card is None:
        return f"{verifier.name} is an untouched encoder itself"
    record = verifier.card.encoder.weights
    if record is None:
        return f"the encoder of {verifier.name} started from random weights, and those are not kept"
    training = verifier.card.training
    if training is not None and training.best_epoch == 0:
        return f"no epoch was better than the untouched encoder, so that {verifier.name} is that encoder"
    try:
        network, origin = _untouched(verifier, verifier.card, record)
    except SiameseError as error:
        return str(error)
    name = f"{verifier.card.encoder.name}@{record.tag or origin}"
    plain = _verifier(name, network, None, like=verifier)
    card = _fitted_card(plain, path_of_model(verifier.name)) if fit else None
    return plain if card is None else _verifier(name, network, card, like=verifier)


def _verifier(name: str, network: SiameseNetwork, card: ModelCard | None, *, like: Verifier) -> Verifier:
    return Verifier(name, network, card, device=like.device, align=like.align, face=like.face, flip=like.flip)


def _untouched(verifier: Verifier, card: ModelCard, record: WeightsRecord) -> tuple[SiameseNetwork, Path]:
    """The network of the encoder alone, and the file that its weights were read from."""
    if card.encoder.name.startswith(UNTRAINED_OPENVINO) and "+" not in card.encoder.name:
        # It never trains, so the model folder has it as it came.
        file = record.source.partition(" of ")[0]
        return SiameseNetwork(load_model(path_of_model(verifier.name))[0].encoder), Path(file)
    encoder = create_untrained(card.encoder.name, card.encoder.input_spec)
    path = _given_file(verifier, record) if record.tag is None else _published_file(encoder, record, record.tag)
    found = sha256_of(path)
    if found != record.sha256:
        raise WeightsError(
            f"weights {path}: changed since {verifier.name} was trained from them (SHA-256 {found[:12]}..., "
            f"expected {record.sha256[:12]}...)"
        )
    encoder.load_checkpoint(read_checkpoint(path), str(path))
    encoder.weights, encoder.pretrained = record, True
    return SiameseNetwork(encoder), path


def _published_file(encoder: Encoder, record: WeightsRecord, tag: str) -> Path:
    entry = _entry(encoder, record, tag)
    if entry is None:
        raise WeightsError(f"weights {tag!r} of {record.encoder}: this version of siamese does not know them")
    path = cached_path(entry)
    if not path.is_file():
        raise WeightsError(
            f"weights {tag!r} of {record.encoder}: not in the cache, and a baseline downloads nothing; "
            f"put {entry.url} at {path}"
        )
    return path


def _entry(encoder: Encoder, record: WeightsRecord, tag: str) -> WeightEntry | None:
    if (entry := find_entry(record.encoder, tag)) is not None:
        return entry
    from siamese.encoders.timm_encoder import TimmEncoder, entry_of, tags_of

    if isinstance(encoder, TimmEncoder) and tag in tags_of(encoder.architecture):
        return entry_of(encoder, tag)
    return None


def _given_file(verifier: Verifier, record: WeightsRecord) -> Path:
    """The file that training was given: from here, or from the folder that training was started in."""
    training = verifier.card.training if verifier.card is not None else None
    encoder = "" if training is None else str(training.config.get("encoder") or "")
    given = encoder.partition("@")[2]
    if encoder and not given and parse_headed(record.encoder):  # it started from a model folder, as its head tells
        given = str(path_of_model(encoder) / WEIGHTS)
    if not given:
        raise WeightsError(f"weights {record.source}: the model folder {verifier.name} does not say where they lay")
    path = Path(given).expanduser()
    places = [path, *(folder / path for folder in _started_in(path_of_model(verifier.name) / RUN))]
    there = next((place for place in places if place.is_file()), None)
    if there is None:
        raise WeightsError(
            f"weights {path}: no such file; {verifier.name} was trained from them, put them there (SHA-256 "
            f"{record.sha256[:12]}...)"
        )
    return there


def _started_in(run: Path) -> list[Path]:
    """The folder that a run was started in, which relative paths meant; none where it is not known."""
    try:
        start = json.loads((run / "provenance.json").read_text(encoding="utf-8"))["start"]
        return [Path(start["directory"])]
    except (OSError, ValueError, KeyError, TypeError):  # a run folder may be gone, of an earlier version, or edited
        return []


def _fitted_card(baseline: Verifier, model: Path) -> ModelCard | None:
    """A card with what the validation pairs of a run say of the baseline; None where they are not to be had."""
    try:
        known = run_pairs(model)
        if known is None:
            return None
        scored = score_pairs(baseline, *known, str(model / RUN / VAL_FILE))
        kept = scored.scored
        frame, scores = scored.frame[kept], scored.scores[kept]
        same, people = frame["same"].to_numpy(dtype=bool), pair_identities(frame)
        split = "validation"
        points = fit_operating_points(scores, same, split)
        calibration = fit_calibration(scores, same, people.left, people.right, split)
    except (OSError, ValueError, SiameseError) as error:
        log.warning("baseline: no threshold from the validation pairs of the run: %s", error)
        return None
    encoder = baseline.network.encoder
    return ModelCard(
        encoder=describe_encoder(baseline.network),
        head=baseline.network.head_name,
        embedding_dim=baseline.network.embedding_dim,
        operating_points=points,
        calibration=calibration,
        licence="unknown" if encoder.weights is None else encoder.weights.licence,
    )
