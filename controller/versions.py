"""Which versions measured: kept beside the results."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ("offspec", "ray", "grpcio", "protobuf", "pyarrow", "numpy", "prometheus-client", "pydantic")


def versions() -> dict[str, Any]:
    found: dict[str, Any] = {"python": platform.python_version(), "kernel": platform.release()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
