"""Node bundles that TypeScript and Vue programs need; `npm run build` makes the committed dist/ of src/."""

from pathlib import Path

DIST = Path(__file__).parent / "dist"
