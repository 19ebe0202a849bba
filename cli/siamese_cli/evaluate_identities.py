"""`siamese evaluate --protocol identification` and `--protocol one-shot`: images by identity instead of pairs."""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from siamese_cli.output import count, percent, table

if TYPE_CHECKING:
    from siamese.evaluation.intervals import Estimate
    from siamese.inference.gallery_protocol import GalleryEvaluation
    from siamese.inference.one_shot_protocol import OneShotEvaluation
    from siamese.inference.verifier import Verifier

PROTOCOLS = ("identification", "one-shot")
# Groups shown on the screen, worst first; all are in metrics.json.
_SHOWN = 10


def evaluate_identities(
    verifier: "Verifier",
    model_name: str,
    protocol: str,
    data: Path,
    *,
    gallery: Path | None = None,
    gallery_images: int | None = None,
    ways: int | None = None,
    runs: int | None = None,
    seed: int = 0,
    identity_depth: int = 1,
    output: Path | None = None,
    extra: dict[str, Any] | None = None,
    started: float | None = None,
) -> tuple[dict[str, Any], str]:
    """Measure a model on images grouped by identity.

    Args:
        verifier: the model.
        model_name: as it was given.
        protocol: `identification` or `one-shot`.
        data: folder of identities, or manifest.
        gallery, gallery_images: of identification; None where the option was not given.
        ways: of one-shot; None where the option was not given.
        runs: draws of a gallery, or runs in each group; None for the protocol's own number.
        seed: of what is drawn.
        identity_depth: levels of folders that name an identity.
        output: folder for `metrics.json` and `probes.csv` or `trials.csv`.
        extra: what else is recorded with the result, such as how images were prepared.
        started: `time.perf_counter()` when the command began; None for now.

    Returns:
        What `--json` prints, and the text for people.

    Raises:
        OptionError: an unknown protocol, an option of the other one, or one out of its range.
        DataError: images or identities that do not suffice.
    """
    started = time.perf_counter() if started is None else started
    _check(protocol, {"--gallery": gallery, "--gallery-images": gallery_images}, {"--ways": ways})
    drawing = _Drawing(runs, seed, identity_depth)
    if protocol == "identification":
        done = _identification(verifier, model_name, data, gallery, gallery_images, drawing)
    else:
        done = _one_shot(verifier, model_name, data, ways, drawing)
    facts = {"model": model_name, "device": verifier.device, "seconds": time.perf_counter() - started}
    result = {"protocol": protocol, "data": str(data), **done.figures, **(extra or {}), **facts}
    if output is None:
        return result, done.text
    from siamese.inference.evaluation import write_metrics

    written = [write_metrics(result, output), output / done.table]
    done.write(written[1])
    return result, f"{done.text}\nwritten: {', '.join(map(str, written))}"


class _Drawing(NamedTuple):
    runs: int | None
    seed: int
    identity_depth: int


class _Done(NamedTuple):
    """Figures, text, and the table of what was asked: its name, and what writes it."""

    figures: dict[str, Any]
    text: str
    table: str
    write: Callable[[Path], None]


def _identification(
    verifier: "Verifier", model: str, data: Path, gallery: Path | None, gallery_images: int | None, drawing: _Drawing
) -> _Done:
    from siamese.inference.gallery_protocol import identify, write_probes

    found = identify(verifier, data, gallery=gallery, gallery_images=gallery_images, **drawing._asdict())
    text = word_identification(found, model, verifier.device)
    figures = {"gallery": None if gallery is None else str(gallery), **found.as_json()}
    return _Done(figures, text, "probes.csv", partial(write_probes, found))


def _one_shot(verifier: "Verifier", model: str, data: Path, ways: int | None, drawing: _Drawing) -> _Done:
    from siamese.inference.one_shot_protocol import one_shot, write_trials

    found = one_shot(verifier, data, ways=ways, **drawing._asdict())
    text = word_one_shot(found, model, verifier.device)
    return _Done(found.as_json(), text, "trials.csv", partial(write_trials, found))


def _check(protocol: str, identification: dict[str, Any], one_shot: dict[str, Any]) -> None:
    """Refuse options that the protocol does not have, so that nobody thinks they had an effect."""
    from siamese.errors import OptionError, unknown_name

    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, PROTOCOLS)
    others, owner = (one_shot, "one-shot") if protocol == "identification" else (identification, "identification")
    for option, value in others.items():
        if value is not None:
            raise OptionError(f"{option} {value}: belongs to --protocol {owner}; leave it out")


def word_identification(evaluation: "GalleryEvaluation", model: str, device: str) -> str:
    """Rates of identification with their intervals, and what they are of."""
    measured = evaluation.measured
    figures = [(f"rank {rank}", f"cmc={rank}", each) for rank, each in measured.cmc.items()]
    tpir = list(measured.tpir_at_fpir.items())
    supported = sum(each.value is not None for _, each in tpir)
    # Of rates that the data does not support, the first says it for those below.
    figures += [(f"TPIR at FPIR {fpir}", f"tpir_at_fpir={fpir}", each) for fpir, each in tpir[: supported + 1]]
    rows = [(name, *_ends(each), _spread(measured.deviations[key])) for name, key, each in figures]
    drawn = evaluation.per_identity is not None
    galleries = (
        f"{count(measured.runs, 'gallery', 'galleries')} drawn, mean of them; each: " if drawn else "gallery: "
    )
    lines = [
        f"{galleries}{count(measured.gallery, 'image')} of {count(measured.identities, 'identity', 'identities')}; "
        f"{count(measured.mated, 'mated probe')}, {measured.non_mated:,} non-mated",
        _with_intervals(model, device, rows, measured.runs),
        *_reasons(each for _, _, each in figures),
        _counted(evaluation.images, evaluation.failed),
    ]
    if evaluation.repeated:
        lines.append(f"{count(evaluation.repeated, 'image')} of the gallery among the probes left out")
    return "\n".join(lines)


def word_one_shot(evaluation: "OneShotEvaluation", model: str, device: str) -> str:
    """Accuracy of one-shot trials, the worst groups, and how the trials were drawn."""
    result, runs = evaluation.result, len(evaluation.result.by_run)
    groups = evaluation.by_group
    within = f" in each of {count(len(groups), 'group')}" if groups else ""
    drawers = {
        None: "drawers not known: support and tests are other images",
        "drawer": "support and tests by two drawers (column drawer)",
        "file names": "support and tests by two drawers (from file names)",
    }[evaluation.drawers_from]
    rows = [("accuracy", *_ends(evaluation.accuracy), _spread(evaluation.deviation))]
    lines = [
        f"{count(result.trials, 'trial')}, {result.ways}-way: {count(runs, 'run')}{within}; {drawers}",
        _with_intervals(model, device, rows, runs),
        *_reasons([evaluation.accuracy]),
    ]
    if groups:
        worst = [(name, percent(value)) for name, value in list(groups.items())[:_SHOWN]]
        lines.append(table((f"by {_grouping(evaluation)}, worst first", "accuracy"), worst))
        if len(groups) > _SHOWN:
            lines.append(f"and {count(len(groups) - _SHOWN, 'better one')}")
    lines.append(
        f"{_counted(evaluation.embedded, evaluation.failed)}; {evaluation.images:,} given, "
        f"{count(evaluation.identities, 'identity', 'identities')}"
    )
    return "\n".join(lines)


def _grouping(evaluation: "OneShotEvaluation") -> str:
    return "folder" if evaluation.grouped_by == "folders" else str(evaluation.grouped_by)


def _ends(estimate: "Estimate") -> tuple[str, str]:
    interval = estimate.interval
    return percent(estimate.value), "" if interval is None else f"{percent(interval.low)} to {percent(interval.high)}"


def _spread(deviation: float | None) -> str:
    return "" if deviation is None else percent(deviation)


def _with_intervals(model: str, device: str, rows: Sequence[tuple[str, ...]], runs: int) -> str:
    header = (model, device, "95 % interval", *([f"deviation of {runs} runs"] if runs > 1 else []))
    return table(header, [row[: len(header)] for row in rows])


def _reasons(estimates: Iterable["Estimate"]) -> list[str]:
    """Why figures or intervals are missing, each reason once."""
    return list(dict.fromkeys(each.reason for each in estimates if each.reason))


def _counted(images: int, failed: int) -> str:
    return f"{count(images, 'image')} embedded once each, {failed:,} of them failed"
