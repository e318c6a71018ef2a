// Which program is the language server: the user's choice, else what is installed.

import { execFile } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join } from "node:path";
import { promisify } from "node:util";

const WINDOWS = process.platform === "win32";

export interface Program {
  readonly command: string;
  readonly args: readonly string[];
}

/** There is no language server to start. Its message says what was looked for. */
export class MissingProgramError extends Error {}

/** Raises MissingProgramError. */
export async function findProgram(chosen: readonly string[]): Promise<Program> {
  const [name, ...args] = chosen;
  if (name !== undefined) {
    const command = locate(name);
    if (command === undefined) {
      throw new MissingProgramError(`acepilot.command says ${name}, and there is no such program.`);
    }
    return { command, args };
  }
  const installed = locate("acepilot-lsp");
  if (installed !== undefined) return { command: installed, args: [] };
  const python = locate(WINDOWS ? "python" : "python3");
  // -P keeps the working directory off Python's path: no project's own `lsp` is taken for ours.
  if (python !== undefined && (await succeeds(python, ["-P", "-c", "import acepilot, lsp"]))) {
    return { command: python, args: ["-P", "-m", "lsp"] };
  }
  throw new MissingProgramError(
    "The language server was not found: acepilot-lsp is neither in the active virtual environment nor on PATH, and " +
      "python3 does not have it. Install Acepilot there, or name the program in acepilot.command.",
  );
}

/** Never relative to the working directory, which is whatever project is open. */
function locate(name: string): string | undefined {
  const path = name.startsWith("~/") ? join(homedir(), name.slice(2)) : name;
  if (isAbsolute(path)) return isProgram(path) ? path : undefined;
  if (/[/\\]/.test(path)) return undefined;
  const venv = process.env["VIRTUAL_ENV"];
  const folders = [
    ...(venv === undefined ? [] : [join(venv, WINDOWS ? "Scripts" : "bin")]),
    ...(process.env["PATH"] ?? "").split(delimiter),
  ];
  const names = WINDOWS ? [`${path}.exe`, path] : [path];
  return folders
    .filter(isAbsolute)
    .flatMap((folder) => names.map((each) => join(folder, each)))
    .find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

async function succeeds(command: string, args: readonly string[]): Promise<boolean> {
  try {
    await promisify(execFile)(command, args, { timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}
