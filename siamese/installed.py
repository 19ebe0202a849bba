"""Which versions of packages are installed."""


def installed_version(package: str) -> str | None:
    """The version of a package, by the name that it is installed under; None where it is not."""
    from importlib.metadata import PackageNotFoundError, version  # 20 ms, which not every start needs

    try:
        return version(package)
    except PackageNotFoundError:
        return None
