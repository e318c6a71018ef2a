// What the user chose under `acepilot.*`. Who says "off" wins: a workspace cannot turn on what the user turned off.

import { ConfigurationTarget, window, workspace } from "vscode";

/** What a run of the language server depends on: it is restarted when one of these changes. */
export interface Settings {
  /** Why nothing runs, as a sentence; undefined where it should run. */
  readonly off: string | undefined;
  readonly disabledLanguages: readonly string[];
  readonly serverUrl: string;
  readonly timeBudgetMs: number | null;
  readonly command: readonly string[];
}

export function readSettings(): Settings {
  const all = workspace.getConfiguration("acepilot");
  return {
    off: offBecause(),
    disabledLanguages: all.get<string[]>("disabledLanguages", []),
    serverUrl: all.get("serverUrl", "").trim(),
    timeBudgetMs: all.get<number | null>("timeBudgetMs", null),
    command: all.get<string[]>("command", []),
  };
}

export async function toggleEverywhere(): Promise<void> {
  const off = enabledIn().globalValue === false;
  await update("enabled", off ? undefined : false, ConfigurationTarget.Global);
}

export async function toggleWorkspace(): Promise<void> {
  if (workspace.workspaceFolders === undefined) {
    void window.showInformationMessage("Acepilot: no folder is open, so there is no workspace to turn it off for.");
    return;
  }
  const off = enabledIn().workspaceValue === false;
  await update("enabled", off ? undefined : false, ConfigurationTarget.Workspace);
}

export async function toggleLanguage(): Promise<void> {
  const language = window.activeTextEditor?.document.languageId;
  if (language === undefined) {
    void window.showInformationMessage("Acepilot: open a file of the language first.");
    return;
  }
  const before = workspace.getConfiguration("acepilot").inspect<string[]>("disabledLanguages")?.globalValue ?? [];
  const others = before.filter((each) => each !== language);
  const after = others.length < before.length ? others : [...before, language];
  await update("disabledLanguages", after.length > 0 ? after : undefined, ConfigurationTarget.Global);
  if (languageIsOff(language) !== after.includes(language)) {
    void window.showWarningMessage(`Acepilot: this workspace's own acepilot.disabledLanguages decides about ${language}.`);
  }
}

export function languageIsOff(language: string): boolean {
  return readSettings().disabledLanguages.includes(language);
}

function offBecause(): string | undefined {
  const { globalValue, workspaceValue } = enabledIn();
  if (globalValue === false) return "Acepilot is off everywhere: acepilot.enabled is false in the user's settings.";
  if (workspaceValue === false) return "Acepilot is off in this workspace: acepilot.enabled is false in its settings.";
  return undefined;
}

function enabledIn(): { globalValue?: boolean; workspaceValue?: boolean } {
  return workspace.getConfiguration("acepilot").inspect<boolean>("enabled") ?? {};
}

async function update(name: string, value: unknown, target: ConfigurationTarget): Promise<void> {
  await workspace.getConfiguration("acepilot").update(name, value, target);
}
