"""Pages that open by themselves, without a network: the style that all share, and that of a trace."""

from traces.page.style import style
from traces.page.trace import trace_page

__all__ = ["style", "trace_page"]
