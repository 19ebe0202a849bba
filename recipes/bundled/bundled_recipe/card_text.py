"""The card for people that ships beside the weights: written from what was measured, never by hand."""

from bundled_recipe.figures_text import figures_text, markdown
from bundled_recipe.records import Record
from siamese.config import TrainConfig
from siamese.model.card import ModelCard, TrainingCard

COMMAND = "python recipes/bundled/run.py --data ../shared/data --weights ../shared/weights --work DIR"
# What is of the machine or of the run's place, and says nothing about the model.
_LEFT_OUT = ("device", "workers", "cache", "cache_limit", "checkpoint_every", "track", "devices")

_TEXT = """# The bundled verifier

A small face verifier that works without a download: two photographs in, *same person or not* and a probability out.
It is `{encoder}`{head} ({parameters:,} parameters, {megabytes:.2f} MB, kernels in 16 bits), and
gives an embedding of {dim} numbers for a face aligned to {height}x{width} pixels. It was made with the toolkit's own
commands; this card is written by the recipe from what it measured.

## Meant for

Trying the toolkit, teaching, prototypes; sorting one's own photographs; as a start for a verifier of one's own data
(`siamese train --encoder bundled`); as a baseline that a better one has to beat on the same pairs.

## Not meant for

Deciding over people: access, identification by the police, work, credit, borders; watching people who did not agree;
guessing gender, origin or age. The figures below are of {pairs:,} pairs of press photographs of public persons. They
do not carry over to another camera, to children, to masks, to twins, or to a search among many people: measure on
your own pairs (`siamese evaluate`) before anything depends on an answer, and keep a person in the loop.

## Data

- {training:,} face crops, of which {labelled:,} show {people:,} people of known name, the others unknown ones.
- Held out and never trained on: {held:,} people for choosing the epoch, for thresholds and for calibration
  ({val_pairs:,} pairs, {val_genuine:,} of them genuine), and {groups:,} images for the figures of groups. People
  whose name occurs in several sets count as one.
- Measured on View 1's pairsDevTest of Labeled Faces in the Wild: nobody in it was trained on, or used to choose
  anything. Its View 2 (ten folds) is not reported: its folds hold people whom the student trained on. The unlabelled
  images may show somebody of the test set whom nobody named.

## Teacher and recipe

The student learnt the embeddings of `{teacher}`, seed {seed}, in two runs: first of images as they are, best of
{first_epochs} epochs: epoch {first_best}; then, from there, of damaged ones, best of {epochs} epochs: epoch {best}.

    {command}{seed_option}

What the first run's configuration sets:

{first_config}

What the second one's sets:

{config}

## Figures

Made by the command above, step `measure`; in square brackets 95 % intervals that allow for pairs that share people.
`student` is the trained model in 32 bits. Packed in 16 bits it has accuracy {packed_accuracy:.4f} and AUC
{packed_auc:.4f} on the same pairs, and its own thresholds and calibration.

{figures}
## Limits

- A FAR within a group is that of impostor pairs drawn from one group: strangers who look alike. Where it is higher
  than that of everybody, a threshold lets more strangers of that group pass. Labels of groups are those in the file
  names of the images, made by annotators from looks.
- The probability assumes that half of the pairs are of one person; `--prior` changes that.
- Pictures without a face that is found get no answer, and the finder misses some.
- Printed photographs, screens and masks are not told from live faces.

## Licence

The weights: Apache-2.0. The teacher (Open Model Zoo): Apache-2.0. The training images are research data, collected
from the web by others, as far as is known without asking the people they show; they are not part of the package, and
whoever uses the weights commercially has to judge for themselves what follows from that.

Weights: SHA-256 `{sha256}`
"""


def card_text(
    card: ModelCard, first: TrainingCard, figures: Record, packed: Record, prepared: Record, size: int
) -> str:
    """The card of a packed model.

    Args:
        card: of the packed model.
        first: of the run that the packed model's began from.
        figures: the whole record of the trained one.
        packed: View 1 of the packed one.
        prepared: record of the preparation.
        size: bytes of the packed weights.
    """
    training = card.training
    config = {} if training is None else training.config
    counts, val = prepared["counts"], prepared["val"]
    height, width = card.encoder.input_spec.size
    return _TEXT.format(
        encoder=card.encoder.name,
        head="" if card.head == "none" else f" with the head `{card.head}`",
        parameters=figures["parts"]["cost"]["parameters"],
        megabytes=size / 1e6,
        dim=card.embedding_dim,
        height=height,
        width=width,
        pairs=packed["pairs"],
        training=counts["training"],
        labelled=counts["training_labelled"],
        people=counts["training_people"],
        held=counts["held_out_people"],
        groups=counts["groups"],
        val_pairs=val["pairs"],
        val_genuine=val["genuine"],
        teacher=config.get("teacher", "its teacher"),
        seed=figures["seed"],
        epochs=config.get("epochs", "some"),
        best="unknown" if training is None else training.best_epoch,
        command=COMMAND,
        seed_option=f" --seed {figures['seed']}" if figures["seed"] else "",
        first_epochs=first.config.get("epochs", "some"),
        first_best=first.best_epoch,
        first_config=_table(first.config),
        config=_table(config),
        packed_accuracy=packed["devtrain_threshold"]["accuracy"]["value"],
        packed_auc=packed["auc"]["value"],
        figures=figures_text(figures),
        sha256=card.sha256 or "see model.json",
    )


def _table(config: dict[str, object]) -> str:
    """What differs from the defaults."""
    fields = TrainConfig.model_fields
    rows = [
        [f"`{name}`", f"`{value}`"]
        for name, value in config.items()
        if name not in _LEFT_OUT and not (name in fields and value == fields[name].default)
    ]
    return "\n".join(markdown(["option", "value"], rows))
