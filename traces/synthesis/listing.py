"""Everything that a made trace can be made of, as data: `trace synth --list` prints it."""

from typing import Any

from traces.synthesis.arrivals import laws as arrival_laws
from traces.synthesis.requests import PARAMETERS
from traces.synthesis.sizes import laws as size_laws
from traces.synthesis.spec import Parameter
from traces.synthesis.workloads import workloads


def listing() -> dict[str, Any]:
    """Arrival laws and workloads (heads of a spec), the parameters of requests on keys, and laws of sizes."""
    return {
        "arrivals": [
            {"head": f"{law.name}:RATE", "what": law.summary, "parameters": _parameters(law.parameters), "example": law.example}
            for law in arrival_laws().values()
        ],
        "workloads": [
            {
                "head": f"{each.name}:...",
                "what": f"{each.summary} (after the colon: {each.argument})",
                "parameters": _parameters([own for own in each.parameters if own not in PARAMETERS]),
                "takes_parameters_of_requests": PARAMETERS[0] in each.parameters,
                "example": each.example,
            }
            for each in workloads().values()
        ],
        "requests": _parameters(PARAMETERS),
        "sizes": [{"form": law.form, "what": law.summary, "example": law.example} for law in size_laws().values()],
    }


def _parameters(parameters: tuple[Parameter[Any], ...] | list[Parameter[Any]]) -> list[dict[str, str]]:
    return [
        {
            "name": each.name,
            "expected": each.form.said,
            "what": each.meaning,
            "default": each.default,
            "example": f"{each.name}={each.example}",
        }
        for each in parameters
    ]
