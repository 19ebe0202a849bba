"""Step 3: what the student can do, and what it cannot, on people whom nobody trained on.

LFW's View 2 (ten folds) is not reported: its folds hold people of View 1's DevTrain, whom the student trained on.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from bundled_recipe.distorted import measure_distorted
from bundled_recipe.figures_text import figures_text
from bundled_recipe.prepare import is_prepared
from bundled_recipe.reading import Reading
from bundled_recipe.records import Record, read_record, write_record
from bundled_recipe.slices import measure_groups, measure_orl
from bundled_recipe.speed import measure_cost, measure_speed
from bundled_recipe.view1 import decisions_of, measure_view1
from bundled_recipe.workplace import Workplace
from siamese.encoders.checksum import sha256_of
from siamese.encoders.model_files import WEIGHTS
from siamese.errors import DataError
from siamese.inference.verifier import Verifier
from siamese.model.folder import load_model
from siamese.progress import log

STUDENT, TEACHER, COMPARED = "student", "teacher", "mobilefacenet"
PARTS = (
    *(f"view1/{name}" for name in (STUDENT, TEACHER, COMPARED)),
    *("distorted", "groups", "orl", "cost", "speed"),
)
VERSION = 1


class Models:
    """The three models, each loaded when it is first needed.

    Args:
        place: where the teacher and the compared encoder are.
        model: folder of the student.
    """

    def __init__(self, place: Workplace, model: Path) -> None:
        self.place, self.model = place, model

    @cached_property
    def student(self) -> Reading:
        """What is measured."""
        return self._reading(str(self.model))

    @cached_property
    def teacher(self) -> Reading:
        """What it learnt from."""
        # A graph of OpenVINO as it is, which torch holds: there is nothing to export.
        return Reading(Verifier.load(self.place.teacher, device="cpu", runtime="torch"), self.place.work)

    @cached_property
    def compared(self) -> Reading:
        """The pretrained encoder that it is compared with."""
        return self._reading(self.place.compared)

    def _reading(self, name: str) -> Reading:
        # As users run it: in float32, by the runtime that this machine is fastest with.
        return Reading(Verifier.load(name, device="cpu"), self.place.work)


def measure(place: Workplace, model: Path | None = None) -> str:
    """Measure the trained student, or another model folder, and keep the figures; returns them as text.

    What an earlier call measured of the same weights is kept.

    Args:
        place: prepared, with a trained student unless another model is named.
        model: a model folder; None for the student of the seed.

    Raises:
        DataError: nothing is prepared.
    """
    file = place.figures if model is None else place.work / f"figures-of-{model.resolve().name}.json"
    record = measure_model(place, place.model if model is None else model.resolve(), file)
    return f"{figures_text(record)}\nwritten: {file}"


def measure_model(place: Workplace, model: Path, file: Path, only: Sequence[str] = PARTS) -> Record:
    """Measure a model folder part by part; each finished part is written at once.

    Args:
        place: prepared.
        model: the folder.
        file: where the figures go.
        only: some of the parts.

    Raises:
        DataError: nothing is prepared.
    """
    if not is_prepared(place):
        raise DataError(f"{place.work}: nothing is prepared there, or it was changed since; run --step prepare first")
    record = _begun(place, model, file)
    parts = _parts(place, Models(place, model))
    for name in only:
        if name in record["parts"]:
            continue
        log.info("measure: %s", name)
        record["parts"][name] = parts[name]()
        write_record(file, record)
    return record


def _begun(place: Workplace, model: Path, file: Path) -> Record:
    """The record of an earlier call with the same weights, or an empty one."""
    weights = model / WEIGHTS
    if not weights.is_file():
        raise DataError(f"{model}: no {WEIGHTS}; run --step train first, or name another model folder")
    facts: Record = {
        "version": VERSION,
        "weights_sha256": sha256_of(weights),
        "seed": place.seed,
        "prepared": (read_record(place.prepared) or {}).get("files"),
    }
    found = read_record(file)
    if found is not None and all(found.get(name) == value for name, value in facts.items()):
        return found
    return {**facts, "parts": {}}


def _parts(place: Workplace, models: Models) -> dict[str, Callable[[], Record]]:
    def groups() -> Record:
        marks = decisions_of(place, models.teacher)
        return measure_groups(place, models.student, models.teacher, decisions_of(place, models.student), marks)

    def orl() -> Record:
        readings = {STUDENT: models.student, TEACHER: models.teacher, COMPARED: models.compared}
        return {name: measure_orl(place, each, decisions_of(place, each)) for name, each in readings.items()}

    return {
        f"view1/{STUDENT}": lambda: measure_view1(place, models.student),
        f"view1/{TEACHER}": lambda: measure_view1(place, models.teacher),
        f"view1/{COMPARED}": lambda: measure_view1(place, models.compared),
        "distorted": lambda: measure_distorted(place, {STUDENT: models.student, COMPARED: models.compared}),
        "groups": groups,
        "orl": orl,
        "cost": lambda: measure_cost(load_model(models.model)[0]),
        "speed": lambda: measure_speed(place, models.model),
    }
