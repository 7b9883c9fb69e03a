"""Regenerates the Python code of the gRPC contract: `python -m protos.generate`, from the project's root."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = "protos/offspec/v1/agent_link.proto"


def generate(out: Path) -> int:
    from grpc_tools import protoc

    return int(
        protoc.main(
            [
                "protoc",
                f"-I{ROOT}",
                f"--python_out={out}",
                f"--pyi_out={out}",
                f"--grpc_python_out={out}",
                SOURCE,
            ]
        )
    )


if __name__ == "__main__":
    sys.exit(generate(ROOT))
