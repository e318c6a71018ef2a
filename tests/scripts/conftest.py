"""Scripts are run by path, so what they share is imported from their folder: here as there."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
