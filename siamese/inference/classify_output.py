"""What is written of a classification: a table, or a competition's submission."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import compute, parquet

from siamese.atomic import atomic_path
from siamese.errors import DataError
from siamese.inference.output_file import check_output
from siamese.pairing.arrow_columns import equals, text
from siamese.progress import log

if TYPE_CHECKING:
    from siamese.inference.classify import Classification
    from siamese.inference.submission_form import SubmissionForm

# Rows of a CSV file that are turned into text at a time.
BLOCK = 65_536


def write_classification(classification: "Classification", output: Path) -> None:
    """Write the table as CSV (UTF-8, probabilities with six decimals) or Parquet, by the suffix."""
    check_output(output)
    with atomic_path(output) as temporary:
        if output.suffix.lower() == ".parquet":
            parquet.write_table(classification.table, temporary)
        else:
            _write_csv(classification.table, temporary)


def write_submission(classification: "Classification", output: Path, form: "SubmissionForm") -> None:
    """Write a competition's form: what it calls each image, and the most probable identities between blanks.

    An image that could not be classified has an empty second cell, and is warned of.

    Raises:
        DataError: images have one name, or are not those of the sample; a label among several holds a blank.
    """
    from siamese.inference import submission
    from siamese.inference.submission_ids import image_ids

    table = classification.table
    paths = table["path"].to_pylist()
    words = [table[name] for name in table.column_names if name == "identity" or name.startswith("identity_")]
    labels = compute.unique(pa.chunked_array([chunk for column in words for chunk in column.chunks], pa.string()))
    check_submission(paths, labels.drop_null().to_pylist(), form, places=len(words))
    if classification.failed:
        log.warning("%d of %d images have no identity in the submission", classification.failed, len(paths))
    blank = {"null_handling": "replace", "null_replacement": ""}
    joined = compute.utf8_trim_whitespace(compute.binary_join_element_wise(*words, text(" ", pa.string()), **blank))
    submission.write_submission(output, image_ids(paths, form), joined.to_pylist(), form)


def check_submission(paths: Sequence[str], labels: Sequence[str], form: "SubmissionForm", *, places: int) -> None:
    """Refuse what cannot stand in a submission.

    Args:
        paths: of the images.
        labels: that may be answers.
        form: of the file.
        places: labels to an image.

    Raises:
        DataError: images share an id or have none, or labels cannot stand beside each other.
    """
    from siamese.inference import submission
    from siamese.inference.submission_ids import image_ids

    ids = image_ids(paths, form)
    names = pa.array([str(name) for name in ids], pa.string())
    counts = compute.value_counts(names)
    repeated = counts.filter(compute.greater(counts.field("counts"), pa.scalar(1, pa.int64())))
    if len(repeated):
        first = repeated[0]["values"].as_py()
        rows = compute.indices_nonzero(equals(names, first)).to_pylist()
        twice = " and ".join(paths[row] for row in rows[:2])
        raise DataError(
            f"--submission: names images by file name, but {first!r} is that of {twice}; submit one folder"
        )
    submission.check_ids(Path(form.source), ids, form)
    blank = next((label for label in labels if any(letter.isspace() for letter in label)), None)
    if places > 1 and blank is not None:
        raise DataError(
            f"--submission: separates labels by blanks, but {blank!r} holds one; rename the identity, or give --top 1"
        )


def _write_csv(table: pa.Table, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.column_names)
        for block in table.to_batches(max_chunksize=BLOCK):
            writer.writerows(zip(*map(_cells, block.columns), strict=True))


def _cells(column: pa.Array) -> list[str | None]:
    """Cells as they are written; what is missing is an empty one."""
    if not pa.types.is_floating(column.type):
        texts: list[str | None] = column.to_pylist()
        return texts
    values = np.from_dlpack(column.fill_null(np.nan))  # `to_numpy` would import pandas
    return list(np.where(np.isnan(values), "", np.char.mod("%.6f", values)))
