"""Payments as JSON lines, and projects whose log holds them. Made once, kept until the end."""

import shutil
import subprocess
from pathlib import Path

DEFINITIONS = Path(__file__).resolve().parents[1] / "definitions"
START = "2026-01-01T00:00:00Z"
# So that a log filled in a minute does not look like one filled over years.
CONFIG = """
[log]
durability = "os"
[batch]
archive = false
keep_manifests = 1
keep_minutes = 0
[speed]
max_bytes = "16 GiB"
"""


class Inputs:
    def __init__(self, context):
        self.context = context

    def payments(self, count: int, cards: int = 10_000, per_second: int = 1000) -> Path:
        """`count` payments, 1,000 per second of event time: some out of order, some twice, none broken."""
        path = self.context.work / f"payments-{count}-{cards}-{per_second}.json"
        if not path.exists():
            self.context.say(f"making {path.name}")
            part = path.with_suffix(".part")
            with part.open("wb") as out:
                command = [self.context.watershed, "datagen", "--count", count, "--cards", cards, "--density", per_second]
                command += ["--bad", 0, "--start", START]
                subprocess.run([str(part) for part in command], stdout=out, check=True)
            part.rename(path)
        return path

    def project(self, payments: Path, definitions=("payments.sql", "card_minute.sql"), name: str = "") -> Path:
        """A project whose log holds these payments, without a batch run."""
        name = name or "-".join(Path(file).stem for file in definitions)
        path = self.context.work / f"{payments.stem}-{name}"
        if not path.exists():
            self.context.say(f"appending to {path.name}")
            part = self.empty_project(path.with_suffix(".part"), definitions)
            append = [self.context.watershed, "append", "--project", part, "payments", payments]
            subprocess.run([str(part) for part in append], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
            part.rename(path)
        return path

    def beside(self, project: Path, definitions, name: str) -> Path:
        """A project of other views on the log of `project`: how fast a file is read from memory depends on how it came there."""
        path = self.empty_project(project.with_name(f"{project.name}-{name}"), definitions)
        (path / "watershed.toml").write_text(CONFIG.replace("[log]", f'[log]\npath = "{project / "log"}"'))
        return path

    def empty_project(self, path: Path, definitions=("payments.sql", "card_minute.sql")) -> Path:
        if path.exists():
            shutil.rmtree(path)
        (path / "definitions").mkdir(parents=True)
        (path / "watershed.toml").write_text(CONFIG)
        for number, file in enumerate(definitions):
            text = (DEFINITIONS / file).read_text() if isinstance(file, str) and file.endswith(".sql") else file
            (path / f"definitions/{number:02}.sql").write_text(text)
        return path

    def without_batch(self, project: Path) -> Path:
        """The project as it was before any batch run."""
        shutil.rmtree(project / "store", ignore_errors=True)
        return project
