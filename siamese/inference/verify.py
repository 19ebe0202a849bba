"""Verifying a pair file: the similarity of every pair, its probability, and the answer, a row to a row."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import OptionError, PairFileError
from siamese.inference.decision import DecisionRule, score_rule
from siamese.inference.output_file import check_output
from siamese.inference.pair_source import open_pairs
from siamese.inference.scoring import score_pairs
from siamese.inference.submission import check_ids, write_submission
from siamese.inference.submission_form import SubmissionForm
from siamese.inference.submission_ids import pair_ids
from siamese.inference.verification import COLUMNS, Verification, judge
from siamese.inference.verifier import Verifier
from siamese.pairing.delimited import write_delimited
from siamese.pairing.parquet_file import write_parquet
from siamese.progress import log


def choose_rule(
    verifier: Verifier,
    *,
    far: float | None = None,
    at: str | None = None,
    threshold: float | None = None,
    abstain: float | None = None,
    prior: float | None = None,
) -> DecisionRule:
    """The rule that options ask for, as `Verifier.decision_rule` makes it.

    Without any of them a model that has no operating points decides nothing: its similarities can be of use alone.
    """
    if far is None and at is None and threshold is None and abstain is None and not verifier.operating_points:
        return score_rule(verifier.name, verifier.calibration, prior)
    return verifier.decision_rule(far=far, at=at, threshold=threshold, abstain=abstain, prior=prior)


def verify(
    verifier: Verifier,
    pairs: Path,
    rule: DecisionRule,
    *,
    root: Path | None = None,
    same_label: str | None = None,
    output: Path | None = None,
    form: SubmissionForm | None = None,
) -> Verification:
    """Score every pair of a file, each unique image embedded once, and write what was found.

    An image that is missing, cannot be read or shows no face fails its pairs and no others.

    Args:
        verifier: the model.
        pairs: pair file in any form, labelled or not; also a `.bin` file, which holds its images.
        rule: of the model: how similarities become answers.
        root: what relative paths start from; None for the pair file's folder.
        same_label: the value of the label column that means same; None: 1 or true.
        output: table to write, .csv or .parquet; None to write none.
        form: write a competition's submission instead of the table.

    Raises:
        PairFileError: the file is malformed, names not one image that is there, or has a column of `COLUMNS` already.
        OptionError: a file that cannot be written, or a submission that the rule cannot answer.
        DataError: ids that are not those of the submission's sample.
        ModelError: the model makes no numbers of any image.
    """
    if output is not None:
        check_output(output, submission=form is not None, inputs=[pairs])
    if form is not None:
        _check_form(form, rule, verifier.name)
    if verifier.flip and (rule.calibration is not None or rule.point is not None):
        log.warning("--flip: thresholds and calibration of %s were fitted without it", verifier.name)
    with open_pairs(pairs, root, same_label=same_label, need_same=False) as (frame, base):
        ids = None if form is None else pair_ids(frame, form)
        if form is None:
            _check_columns(frame, pairs)
        elif ids is not None and output is not None:  # before the work, which may take hours
            check_ids(output, ids, form)
        found = judge(score_pairs(verifier, frame, base, str(pairs), missing="fail"), rule, base)
    _warn_of_failures(found, form)
    if output is not None and form is not None and ids is not None:
        write_submission(output, ids, submitted(found, form), form)
    elif output is not None:
        write_verification(found, output)
    return found


def write_verification(verification: Verification, output: Path) -> None:
    """Write the table as Parquet or CSV (UTF-8, truth values as 1 and 0), by the suffix; whole or not at all."""
    table = verification.table()
    if output.suffix.lower() == ".parquet":
        write_parquet(table, output)
    else:
        write_delimited(table.assign(same_predicted=table["same_predicted"].astype("Int64")), output)


def submitted(verification: Verification, form: SubmissionForm) -> NDArray[np.float64] | NDArray[np.bool_]:
    """The answers of a submission, shape (N,): labels, or probabilities, or similarities without a calibration.

    A pair without a score is answered as one that is different beyond doubt: label 0, probability 0, similarity -1.
    """
    if form.answer == "label":
        return verification.answers.same
    if verification.probabilities is not None:
        return np.nan_to_num(verification.probabilities, nan=0.0)
    return np.nan_to_num(verification.scores.scores, nan=-1.0)


def _check_columns(frame: pd.DataFrame, path: Path) -> None:
    taken = [name for name in COLUMNS if name in frame.columns]
    if taken:
        raise PairFileError(
            f"{path}: has a column {taken[0]!r}, and verifying adds one of that name; rename it or leave it out"
        )


def _check_form(form: SubmissionForm, rule: DecisionRule, name: str) -> None:
    if form.answer == "identity":
        raise OptionError(
            f"{form.source}: its answers are neither labels (0 and 1, or false and true) nor numbers with a decimal "
            "point; say --answer label or --answer score"
        )
    if rule.abstain is not None:
        raise OptionError(f"--abstain {rule.abstain:g}: a submission answers every pair; leave it out")
    if form.answer == "label" and not rule.decides:
        raise OptionError(
            f"--submission: asks for labels, and {name} has no threshold; give --threshold, or train a model folder "
            "with `siamese train`"
        )


def _warn_of_failures(found: Verification, form: SubmissionForm | None) -> None:
    if not found.failed:
        return
    answered = "" if form is None else "; the submission calls them different"
    reason = "" if found.first_failure is None else f"; first: {found.first_failure}"
    log.warning("%d of %d pairs have no score%s%s", found.failed, found.pairs, answered, reason)
