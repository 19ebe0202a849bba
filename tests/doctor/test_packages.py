"""The table of packages against the project's own declaration."""

import re
import tomllib
from pathlib import Path

import pytest

from siamese.doctor import packages
from siamese.doctor.finding import Finding
from siamese.doctor.packages import PACKAGES, Package, check_packages, describe_optional, describe_versions

PROJECT = Path(__file__).parents[2]


def declared() -> set[tuple[str, str | None]]:
    """Names and extras as pyproject.toml has them; `dev` is for those who work on the project."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {None: project["dependencies"], **project["optional-dependencies"]}
    return {
        (re.split(r"[\[<>=!~;\s]", line)[0], extra)
        for extra, lines in extras.items()
        if extra != "dev"
        for line in lines
    }


def test_the_table_is_that_of_the_project() -> None:
    assert {(package.name, package.extra) for package in PACKAGES} == declared()


def test_what_is_installed_is_told_by_version() -> None:
    import numpy

    versions = describe_versions()
    assert versions["numpy"] == numpy.__version__
    assert None not in versions.values(), "the tests need all that every installation has"
    assert set(describe_optional()) == {package.name for package in PACKAGES if package.extra is not None}
    assert Finding("numpy", "ok", numpy.__version__) in check_packages()


def test_what_is_missing_is_told_with_its_purpose_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = Package("no-such-package", "no_such_package", "flying")
    extra = Package("no-such-extra", "no_such_extra", "swimming", "sea")
    assert check_packages((needed, extra)) == [
        Finding("no-such-package", "warn", "missing: flying; pip install no-such-package"),
        Finding("no-such-extra", "ok", "not installed, optional: swimming; pip install 'siamese[sea]'"),
    ]
    monkeypatch.setattr(packages, "is_installed", lambda module: module != "torch")
    assert describe_versions()["torch"] is None, "installed, but it cannot be imported"
