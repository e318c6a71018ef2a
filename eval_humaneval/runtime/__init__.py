"""Node bundles that run TypeScript and Vue programs. `npm run build` writes the committed dist/ from src/."""

from pathlib import Path

DIST = Path(__file__).parent / "dist"
