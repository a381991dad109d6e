# SPDX-License-Identifier: Apache-2.0
"""kmsctl of the build tree."""
from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from harness import BUILD

PROGRAM = Path(os.environ.get("KMSCTL", BUILD / "tools" / "kmsctl" / "kmsctl"))


@dataclasses.dataclass
class Done:
    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    """Nothing of who runs the tests decides what kmsctl does."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("HADOOP_", "KMSCTL"))}
    return {**keep, "TZ": "UTC", **more}


def run(*words: Any, exit_status: int | None = None, stdin: str = "", cwd: Path | None = None, **env: str) -> Done:
    done = subprocess.run([str(PROGRAM), *map(str, words)], input=stdin, capture_output=True, text=True, timeout=120,
                          env=environment(**env), cwd=cwd, check=False)
    result = Done(done.returncode, done.stdout, done.stderr)
    assert exit_status is None or result.status == exit_status, f"{words}: {result}"
    return result
