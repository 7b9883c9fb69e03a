"""The page of traces is what the registries say."""

from agent.traces_doc import PAGE, page


def test_the_page_of_traces_is_fresh() -> None:
    assert PAGE.read_text() == page(), "stale: run python -m agent.traces_doc"
