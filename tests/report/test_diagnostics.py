import numpy as np

from siamese.report.diagnostics import diagnostics_rows
from siamese.report.measured import Diagnostics

MINUS = "\N{MINUS SIGN}"


def test_every_figure_has_a_row_with_the_value_of_each_model_and_a_sentence() -> None:
    rows = diagnostics_rows(
        [
            Diagnostics(0.5, -2.5, 0.75, 0.125, 0.25, 0.0625, float(np.float64(4.0))),
            Diagnostics(None, None, 0.5, None, -0.25, None, None),
        ]
    )
    assert [(row.name, row.values) for row in rows] == [
        ("genuine scores", ("0.7500 ± 0.1250", "0.5000")),
        ("impostor scores", ("0.2500 ± 0.0625", f"{MINUS}0.2500")),
        ("separation d\N{PRIME}", ("4.0000", "not known")),
        ("alignment", ("0.5000", "not known")),
        ("uniformity", (f"{MINUS}2.5000", "not known")),
    ]
    assert all(row.reading.endswith(".") and ("higher" in row.reading or "lower" in row.reading) for row in rows)


def test_no_models_have_no_rows() -> None:
    assert diagnostics_rows([]) == []
