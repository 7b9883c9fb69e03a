"""Made traces whose speed is measured: one spec for each law, all of what else they hold alike."""

from pathlib import Path

from traces.source import open_trace

ROWS = 500_000
_KEYS = "keys=100000,size=uniform:64:1024"
SPECS = {
    "synth_constant": f"constant:50000,{_KEYS}",
    "synth_poisson": f"poisson:50000,{_KEYS}",
    "synth_gamma": f"gamma:50000,cv=4,{_KEYS}",
    "synth_weibull": f"weibull:50000,cv=4,{_KEYS}",
    "synth_gpareto": f"gpareto:50000,shape=0.155,{_KEYS}",
    "synth_mmpp": f"mmpp:10000,burst=200000,calm_for=900ms,burst_for=100ms,{_KEYS}",
    "synth_diurnal": f"diurnal:50000,period=10s,amplitude=0.6,{_KEYS}",
    "synth_flash": f"flash:20000,peak=10,at=5s,rise=1s,hold=2s,decay=2s,{_KEYS}",
    "synth_zipf": f"poisson:50000,{_KEYS},zipf=0.99",
    "synth_zipf_large": "poisson:50000,keys=1000000000,zipf=0.99,size=uniform:64:1024",
    "synth_mandelbrot": f"poisson:50000,{_KEYS},zipf=0.99,q=20",
    "synth_hotspot": f"poisson:50000,{_KEYS},hotspot=0.2:0.8",
    "synth_latest": f"poisson:50000,{_KEYS},latest=0.99,get=0.95",
    "synth_lognormal": "poisson:50000,keys=100000,size=lognormal:300:1.2",
    "synth_etc": "etc:52715",
    "synth_twitter": "twitter:cluster52",
    "synth_ycsb": "ycsb:a,records=1000000,rate=50000",
    "synth_llm": "llm:1000,turns=3,think=1s,prompt=lognormal:200:1,systems=20,hit=0.8",
}
"""The last makes a tenth of the rows, each with a list of some fifty prefix blocks."""


def made(name: str, _: Path) -> int:
    """Rows of a synthesis, made and thrown away; it needs no folder."""
    rows = ROWS // 10 if name == "synth_llm" else ROWS
    return sum(batch.num_rows for batch in open_trace(f"{SPECS[name]},rows={rows}", seed=1).batches())
