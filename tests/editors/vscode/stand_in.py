"""A folder of wheels with a stand-in for tersely: small, and its command runs the server over a scripted completer."""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

from tests.editors.tools import ROOT

MODEL = "stand-in-model"
_MODULE = '''"""The stand-in's command."""
import json, os, sys

def main():
    if sys.argv[1:] == ["model", "list", "--json"]:
        print(json.dumps([{{"name": {model!r}, "installed": True, "license": "none"}}]))
        return
    assert sys.argv[1:] == ["lsp"], sys.argv
    with open({pid_file!r}, "w") as file:
        file.write(str(os.getpid()))
    os.chdir({root!r})
    os.execv({python!r}, [{python!r}, "-m", "tests.lsp.fake_server"])
'''
_METADATA = "Metadata-Version: 2.1\nName: tersely\nVersion: 0.1.0\n"
_WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_ENTRY = "[console_scripts]\ntersely = tersely_stand_in:main\n"


def make_wheels(folder: Path, pid_file: Path) -> Path:
    """The folder, filled. The server writes its process's number into `pid_file`."""
    module = _MODULE.format(model=MODEL, pid_file=str(pid_file), root=str(ROOT), python=sys.executable)
    about = "tersely-0.1.0.dist-info"
    files = {
        "tersely_stand_in.py": module,
        f"{about}/METADATA": _METADATA,
        f"{about}/WHEEL": _WHEEL,
        f"{about}/entry_points.txt": _ENTRY,
    }
    folder.mkdir()
    with zipfile.ZipFile(folder / "tersely-0.1.0-py3-none-any.whl", "w") as wheel:
        lines = []
        for name, text in files.items():
            wheel.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(text.encode())}")
        wheel.writestr(f"{about}/RECORD", "\n".join([*lines, f"{about}/RECORD,,"]) + "\n")
    return folder
