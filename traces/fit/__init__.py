"""Learning a made trace from any trace: which laws it follows as far as the laws of `traces.synthesis` go, as a spec that `open_trace`
takes.

Each dimension is fitted by itself; what lies between dimensions (large values being popular, rates that follow sizes) is not. How far the
made trace is from its source says `traces.distance`, not the fit.
"""

from traces.fit.whole import Fitted, fit

__all__ = ["Fitted", "fit"]
