"""`python hack/try.py FOLDER …` is `selfheal try FOLDER …`, from any folder."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "operator"))

from selfheal.cli.try_folder import try_folder  # noqa: E402

if __name__ == "__main__":
    if "--sandbox" not in sys.argv:
        sys.argv += ["--sandbox", str(ROOT / ".cluster" / "sandbox.json")]
    try_folder()
