"""The figures as Markdown, for the terminal, the model card and the results page."""

from collections.abc import Iterable, Sequence
from typing import Any

from bundled_recipe.records import Record

MODELS = ("student", "teacher", "mobilefacenet")


def figures_text(record: Record) -> str:
    """Every part that was measured, under headings."""
    parts = record["parts"]
    sections = [
        *view1_lines(parts),
        *(distorted_lines(parts["distorted"]) if "distorted" in parts else []),
        *(group_lines(parts["groups"]) if "groups" in parts else []),
        *(orl_lines(parts["orl"]) if "orl" in parts else []),
        *(speed_lines(parts["speed"]) if "speed" in parts else []),
        *(cost_lines(parts["cost"]) if "cost" in parts else []),
    ]
    return "\n".join(sections)


def view1_lines(parts: Record) -> list[str]:
    """LFW's View 1, a column for each model."""
    found = {name: parts[f"view1/{name}"] for name in MODELS if f"view1/{name}" in parts}
    if not found:
        return []
    models, first = list(found.values()), next(iter(found.values()))
    rates = [name for name in first if name.startswith("tar_at_far") and _known(found, name)]
    rows = [
        ("accuracy, threshold of pairsDevTrain", [_shown(each["devtrain_threshold"]["accuracy"]) for each in models]),
        ("accuracy, own operating point", [_own(each, "accuracy", "accuracy") for each in models]),
        ("AUC", [_shown(each["auc"]) for each in models]),
        ("EER", [_shown(each["eer"]) for each in models]),
        *((f"TAR at FAR {name.partition('=')[2]}", [_shown(each[name]) for each in models]) for name in rates),
        ("FAR at the own point for FAR 0.01", [_own(each, "far=0.01", "far") for each in models]),
        ("ECE, 15 bins", [f"{each['calibration']['ece']:.4f}" for each in models]),
        ("ECE, equal mass", [f"{each['calibration']['ece_equal_mass']:.4f}" for each in models]),
        ("log loss, nats", [f"{each['calibration']['log_loss']:.4f}" for each in models]),
    ]
    impostor = first["pairs"] - first["genuine"]
    head = f"### LFW View 1, pairsDevTest ({first['genuine']} genuine, {impostor} impostor)"
    return [head, "", *markdown(["figure", *found], [[name, *cells] for name, cells in rows]), ""]


def distorted_lines(part: Record) -> list[str]:
    """What damage costs, a row for each kind."""
    rows = []
    for kind, row in part.items():
        names = [name for name in row if name != "saved"]
        rows.append([kind, *(_shown(row[name][how]) for how in ("one", "both") for name in (*names, "saved"))])
    names = [name for name in next(iter(part.values())) if name != "saved"]
    header = [f"{how}: {name}" for how in ("one damaged", "both") for name in (*names, "less lost")]
    return ["### AUC lost by damaged images, pairsDevTest", "", *markdown(["damage", *header], rows), ""]


def group_lines(part: Record) -> list[str]:
    """False accepts within groups, a row for each."""
    points = [name for name in part["everybody"] if name.startswith(("far=", "accuracy"))]
    rows = [_group_row("everybody", part["everybody"], points)]
    rows += [
        _group_row(f"{column}: {name}", group, points)
        for column, groups in part.items()
        if column != "everybody"
        for name, group in groups.items()
    ]
    header = [f"{point}, {what}" for point in points for what in ("all", "without likely same")]
    head = "### FAR within groups of held-out people, at the model's operating points"
    return [head, "", *markdown(["group", "images", "pairs", "likely same", *header], rows), ""]


def orl_lines(part: Record) -> list[str]:
    """The grey photographs, a row for each model."""
    wanted = ("auc", "eer", "balanced_accuracy", "far", "tar")
    rows = [[name, *(_shown(each[key]) for key in wanted)] for name, each in part.items()]
    first = next(iter(part.values()))
    head = f"### ORL, every pair of {first['images']} grey photographs of {first['people']} people"
    header = ["model", "AUC", "EER", "balanced accuracy, own point", "FAR there", "TAR there"]
    return [head, "", *markdown(header, rows), ""]


def speed_lines(part: Record) -> list[str]:
    """Speed, a row for each runtime, and the checks."""
    rows = [
        [
            *(name, f"{rate:.0f}", f"{part['ratio'][name]:.2f}x"),
            *(f"{part['ms_one_image'][name]:.2f}", f"{part['ms_in_batch'][name]:.2f}"),
        ]
        for name, rate in part["images_per_second"].items()
    ]
    machine = part["machine"]
    head = f"### Warm embedding, {part['threads']} threads of {machine['processor']}"
    header = ["runtime", "images/s, batches of 32", "to the compared encoder", "ms, one image", "ms an image of 32"]
    checks = [
        f"- {each['precision']}: {'passes' if each['passed'] else 'fails'} the check of `siamese export`"
        + (f" ({each['flipped']} of {each['pairs']:,} decisions differ)" if each.get("flipped") is not None else "")
        + (f": {each['reason']}" if each["reason"] else "")
        for each in part["parity"]
    ]
    return [head, "", *markdown(header, rows), "", *checks, ""]


def cost_lines(part: Record) -> list[str]:
    """Size."""
    return [f"{part['parameters']:,} parameters, {part['megabytes_float16']:.2f} MB in float16", ""]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table, the first column flush left, the others flush right."""
    rule = ["---", *(["---:"] * (len(header) - 1))]
    return [f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)]


def _group_row(name: str, group: Record, points: Sequence[str]) -> list[str]:
    cells = [_shown(group[point][what]) for point in points for what in ("all", "without_likely_same")]
    return [name, f"{group['images']:,}", f"{group['pairs']:,}", f"{group['taken_for_one_person']:,}", *cells]


def _known(found: Record, name: str) -> bool:
    return any(each[name]["value"] is not None for each in found.values())


def _own(figures: Record, point: str, name: str) -> str:
    found = figures["own_points"].get(point)
    return "none" if found is None else _shown(found[name])


def _shown(figure: dict[str, Any]) -> str:
    """A value with its interval, in the decimals that small shares need."""
    value, interval = figure["value"], figure["interval"]
    if value is None:
        return "insufficient data"
    decimals = 4 if value >= 0.01 or not value else 5
    ends = "" if interval is None else f" [{interval[0]:.{decimals}f}, {interval[1]:.{decimals}f}]"
    return f"{value:.{decimals}f}{ends}"
