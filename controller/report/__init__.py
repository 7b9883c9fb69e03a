"""Reports of a run: one HTML file that opens offline, Markdown, and a table for the terminal. All from the run's document."""

from controller.report.files import write_report

__all__ = ["write_report"]
