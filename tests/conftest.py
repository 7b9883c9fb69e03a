"""What all tests share: no property test is judged by its time."""

from hypothesis import settings

# The first example of a test pays for what it imports, and a busy machine for its neighbours: time says nothing about a law.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
