"""What Locust runs; in Locust's own environment, so it imports nothing of ours."""

from locust import FastHttpUser, constant, task


class Getter(FastHttpUser):  # type: ignore[misc]
    wait_time = constant(0)

    @task
    def get(self) -> None:
        self.client.get("/")
