// The compiler of TypeScript programs, bundled into dist/typescript.cjs.
//
//   files:   {"typescript.cjs": DIST / "typescript.cjs"}
//   compile: node typescript.cjs main.ts main.js
//   run:     node main.js
//
// Types are removed, not checked: only a syntax error is a compile error (exit code 1).

import { readFileSync, writeFileSync } from "node:fs";
import { compileFunction } from "node:vm";
import { javascriptOf } from "./javascript";

const [source, target] = process.argv.slice(2);
if (source === undefined || target === undefined) throw new Error("usage: node typescript.cjs SOURCE TARGET");

try {
  const code = javascriptOf(readFileSync(source, "utf8"), { filename: source, typescript: true });
  // Sucrase ignores many syntax errors; Node finds them without running the program.
  compileFunction(code, ["exports", "require", "module", "__filename", "__dirname"], { filename: source });
  writeFileSync(target, code);
} catch (error) {
  if (!(error instanceof SyntaxError)) throw error;
  console.error(error.stack?.split("\n    at ")[0]);
  process.exitCode = 1;
}
