"""A model for tests: it writes down each run by its key, so that a test can count executions without asking Cog."""
import os
import time
from typing import Optional

from cog import BasePredictor, CancelationException, Input, Path

RUNS = os.environ["RUNS_DIR"]
SETUP_SECONDS_MAX = 60


def write(key: str, line: str) -> None:
    with open(os.path.join(RUNS, key), "a") as file:
        file.write(line + "\n")


class Predictor(BasePredictor):
    def setup(self) -> None:
        """Waits while the file `setup` is in its directory."""
        end = time.monotonic() + SETUP_SECONDS_MAX
        while os.path.exists(os.path.join(RUNS, "setup")) and time.monotonic() < end:
            time.sleep(0.01)

    def predict(
        self,
        key: str = Input(description="Names the run"),
        seconds: float = Input(default=0.0, ge=0, le=60),
        fail: str = Input(default=""),
        crash: bool = Input(default=False),
        image: Optional[Path] = Input(default=None),
    ) -> dict:
        write(key, "started")
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(0.01)
        except CancelationException:
            write(key, "cancelled")
            raise
        if crash:
            os._exit(1)
        write(key, "ended")
        if fail:
            raise ValueError(fail)
        return {"key": key, "bytes": None if image is None else os.path.getsize(image)}
