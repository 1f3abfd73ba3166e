"""Which versions of packages made something."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from steer_env import __version__


def package_versions(*packages: str) -> dict[str, str]:
    """By name, the versions of ``steer_env`` and of those packages."""
    versions = {"steer_env": __version__}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    return versions


VERSIONS = package_versions("torch", "diffusers", "numpy")
"""Of what traces, policies and results depend on."""
