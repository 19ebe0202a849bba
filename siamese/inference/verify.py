"""Verifying a pair file: the similarity of every pair, its probability, and the answer, a row to a row.

Memory is bounded by the images and not by the pairs: the unique images' names with a table to look them up, 37 bytes
for each and the reason of each that failed, and a block of pairs (16 MB of text, 262,144 rows of Parquet) with the
embeddings of 2,048 of them. Embeddings lie in an `EmbeddingStore`; of each pair the numbers of its two images lie in
a file beside it, and the pair file is read twice. In memory whole are only the rows that are asked for where none are
written, the ids and answers of a submission, and a pair file that is neither CSV nor Parquet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from siamese.errors import OptionError, PairFileError
from siamese.images.alignment import failed_alignments
from siamese.images.loader import Outcome
from siamese.inference.decision import DecisionRule, score_rule
from siamese.inference.embedding_store import EmbeddingStore
from siamese.inference.embedding_store_about import about_embeddings
from siamese.inference.embedding_store_fill import fill_store
from siamese.inference.embedding_store_folder import no_room, work_folder
from siamese.inference.output_file import check_output
from siamese.inference.pair_stream import PairStream, open_pair_stream
from siamese.inference.pair_stream_images import PairImages, read_images, texts_of
from siamese.inference.pair_stream_output import table_writer
from siamese.inference.pair_stream_scores import PairScorer
from siamese.inference.pair_stream_sinks import MemorySink, Sink, SubmissionSink, TableSink, Tally
from siamese.inference.submission import check_ids, write_submission
from siamese.inference.submission_form import SubmissionForm
from siamese.inference.submission_ids import pair_ids
from siamese.inference.verification import COLUMNS, Failures, Verification, judge
from siamese.inference.verifier import Verifier
from siamese.pairing.arrow_columns import TEXT, as_numpy
from siamese.pairing.face_bin import is_bin
from siamese.pairing.file_rows import FileRows
from siamese.pairing.presence import present
from siamese.progress import log, progress


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
    keep: int | None = None,
) -> Verification:
    """Score every pair of a file, each unique image embedded once, and write what was found.

    An image that is missing, cannot be read or shows no face fails its pairs and no others. With an output a run that
    ended before its time is gone on with by calling this again: embeddings are kept in the folder `OUTPUT.work` until
    the output is there, whole.

    Args:
        verifier: the model.
        pairs: pair file in any form, labelled or not; also a `.bin` file, which holds its images.
        rule: of the model: how similarities become answers.
        root: what relative paths start from; None for the pair file's folder.
        same_label: the value of the label column that means same; None: 1 or true.
        output: table to write, .csv or .parquet; None to write none.
        form: write a competition's submission instead of the table.
        keep: without an output, how many rows of the table to hand back; None for all.

    Raises:
        PairFileError: the file is malformed, names not one image that is there, or has a column of `COLUMNS` already.
        OptionError: a file that cannot be written, or a submission that the rule cannot answer.
        DataError: ids that are not those of the submission's sample; no room on the disk; another run makes the same
            output.
        ModelError: the model makes no numbers of any image.
    """
    if output is not None:
        check_output(output, submission=form is not None, inputs=[pairs])
    if form is not None:
        _check_form(form, rule, verifier.name)
    with open_pair_stream(pairs, root, same_label=same_label) as (stream, base):
        ids: pa.Array | None = None
        if form is not None and output is not None:
            ids = pair_ids(pa.concat_tables([block.table for block in stream.blocks()]), form)
            check_ids(output, ids, form)  # before the work, which may take hours
        # Images of a .bin file lie in another folder each time.
        about = about_embeddings(verifier, pairs if is_bin(pairs) else base)
        with no_room(output), work_folder(output, about) as work:
            ready = _prepare(verifier, stream, base, pairs, work, takes_columns=form is None)
            if output is None:
                found = _kept(ready, rule, keep)
            elif form is not None and ids is not None:
                found = _submitted(ready, rule, output, ids, form)
            else:
                found = _written(ready, rule, output, work)
    _warn_of_failures(found, form)
    return found


@dataclass(frozen=True, eq=False)
class _Ready:
    """Pairs whose images are embedded.

    Attributes:
        stream: the pairs.
        images: what they name.
        scorer: from numbers of images to similarities.
        failures: of images.
    """

    stream: PairStream
    images: PairImages
    scorer: PairScorer
    failures: Failures


def _prepare(
    verifier: Verifier, stream: PairStream, base: Path, where: Path, work: Path, *, takes_columns: bool
) -> _Ready:
    """Find the images of all pairs and embed them, up to what was done before."""
    store = EmbeddingStore(work, verifier.embedding_dim)
    images = read_images(stream, store.names, work / "pairs")
    if takes_columns:
        _check_columns(images.first.table, where)
    failed = failed_alignments(base)
    lost = as_numpy(pc.is_in(images.names, value_set=pa.array(list(failed), TEXT)))
    wanted = images.named & ~lost
    _check_any_there(images, wanted, failed, base, where)
    store.extend(images.names)
    fill_store(verifier, store, base, wanted)
    failures = [
        (images.names[row].as_py(), outcome) for row, outcome in sorted(store.failures.items()) if wanted[row]
    ]
    for names in texts_of(images.names, images.named & lost):
        failures += [(name, Outcome("no_face", failed[name], faces=0)) for name in names]
    scorer = PairScorer(verifier.similarity, store.vectors, store.usable & wanted)
    return _Ready(stream, images, scorer, Failures(failures, base))


def _written(ready: _Ready, rule: DecisionRule, output: Path, work: Path) -> Verification:
    made = work / f"output{output.suffix}"
    try:
        with table_writer(made, output.suffix) as writer:
            found = _score(ready, rule, TableSink(writer, ready.failures, labelled=ready.images.labelled))
    except OSError:
        made.unlink(missing_ok=True)  # a full disk needs the room more than anyone needs a part of it
        raise
    made.replace(output)
    return found


def _kept(ready: _Ready, rule: DecisionRule, keep: int | None) -> Verification:
    sink = MemorySink(ready.failures, labelled=ready.images.labelled, keep=keep)
    return _score(ready, rule, sink)


def _submitted(ready: _Ready, rule: DecisionRule, output: Path, ids: pa.Array, form: SubmissionForm) -> Verification:
    sink = SubmissionSink(form, rule)
    found = _score(ready, rule, sink)
    write_submission(output, ids, sink.answers(), form)
    return found


def _score(ready: _Ready, rule: DecisionRule, sink: Sink) -> Verification:
    """Score all pairs and hand them on block by block."""
    images, tally, begun = ready.images, Tally(), 0
    nothing: tuple[None, ...] = ()
    with progress(nothing, f"scoring {images.pairs} pairs", images.pairs, "pair") as bar:
        for block in ready.stream.blocks():
            judged = judge(ready.scorer.scores(images.codes[begun : begun + len(block)]), rule)
            for each in (tally, sink):
                each.take(block.table, judged)
            begun += len(block)
            bar.update(len(block))
    decides = rule.decides
    return Verification(
        rule=rule,
        pairs=images.pairs,
        scored=tally.scored,
        images=int(np.count_nonzero(images.named)),
        accepted=tally.same if decides else None,
        unsure=tally.scored - tally.answered if decides else None,
        first_failure=ready.failures.first,
        rows=sink.table() if isinstance(sink, MemorySink) else None,
    )


def _check_any_there(
    images: PairImages, wanted: NDArray[np.bool_], failed: Sequence[str] | dict[str, str], base: Path, where: Path
) -> None:
    """Refuse a root below which not one image is."""
    if any(present(base, names).any() for names in texts_of(images.names, wanted)):
        return
    table, listed = images.first.table, pa.array(list(failed), TEXT)
    known = pc.or_(*(pc.is_in(table.column(side), value_set=listed) for side in ("left", "right")))
    row = pc.index(known, pa.scalar(False, pa.bool_())).as_py()
    if row >= 0:
        _refuse_missing(images.first, row, images.names.filter(pa.array(wanted)), base, where)


def _refuse_missing(rows: FileRows, row: int, names: pa.Array, base: Path, where: Path) -> None:
    import pandas as pd

    from siamese.pairing.table import check_files_exist

    # The row, which is named, and every other image, of which it is said how many there are.
    frame, others = rows.frame(), names.to_pandas()
    every = pd.concat([frame.iloc[[row]][["left", "right"]], pd.DataFrame({"left": others, "right": others})])
    every.attrs = dict(frame.attrs)
    check_files_exist(every, base, str(where))


def _check_columns(table: pa.Table, path: Path) -> None:
    taken = [name for name in COLUMNS if name in table.column_names]
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
