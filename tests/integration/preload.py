# SPDX-License-Identifier: Apache-2.0
"""Libraries that are built here and preloaded into httpd, so that the system fails it on demand."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from harness import Httpd

HERE = Path(__file__).resolve().parent


def preload(server: Httpd, source: str, **environment: str) -> None:
    """Builds the C source that lies here; the server has it, and these variables, from its next start on."""
    library = server.area.path / Path(source).with_suffix(".so")
    compiler = shutil.which(os.environ.get("CC", "").split(" ")[0] or "cc") or shutil.which("gcc")
    assert compiler, "no C compiler, which building mod_kms needs as well"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, HERE / source, "-ldl"], check=True)
    library.chmod(0o755)
    before = server.environ().get("LD_PRELOAD", "")
    server.environment.update(environment, LD_PRELOAD=f"{before} {library}".strip())
