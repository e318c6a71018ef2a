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
    disabledLanguages: disabledLanguages(),
    serverUrl: all.get("serverUrl", "").trim(),
    timeBudgetMs: all.get<number | null>("timeBudgetMs", null),
    command: all.get<string[]>("command", []),
  };
}

export async function toggleEverywhere(): Promise<void> {
  const off = inspect<boolean>("enabled").globalValue === false;
  await update("enabled", off ? undefined : false, ConfigurationTarget.Global);
}

export async function toggleWorkspace(): Promise<void> {
  if (workspace.workspaceFolders === undefined) {
    void window.showInformationMessage("Acepilot: no folder is open, so there is no workspace to turn it off for.");
    return;
  }
  const { globalValue, workspaceValue } = inspect<boolean>("enabled");
  if (globalValue === false) {
    // To write something into the workspace now would change nothing, and surprise later.
    const everywhere = "Turn on everywhere";
    const said = "Acepilot: it is off everywhere, by the user's settings, so there is nothing to toggle in this workspace.";
    if ((await window.showInformationMessage(said, everywhere)) === everywhere) await toggleEverywhere();
    return;
  }
  await update("enabled", workspaceValue === false ? undefined : false, ConfigurationTarget.Workspace);
}

export async function toggleLanguage(): Promise<void> {
  const language = window.activeTextEditor?.document.languageId;
  if (language === undefined) {
    void window.showInformationMessage("Acepilot: open a file of the language first.");
    return;
  }
  const before = inspect<string[]>("disabledLanguages").globalValue ?? [];
  const others = before.filter((each) => each !== language);
  const after = others.length < before.length ? others : [...before, language];
  await update("disabledLanguages", after.length > 0 ? after : undefined, ConfigurationTarget.Global);
  if (!after.includes(language) && languageIsOff(language)) {
    void window.showWarningMessage(`Acepilot: ${language} stays off here, by this workspace's own acepilot.disabledLanguages.`);
  }
}

export function languageIsOff(language: string): boolean {
  return readSettings().disabledLanguages.includes(language);
}

/** Of all scopes together: a workspace can add to the user's, and takes nothing away. */
function disabledLanguages(): readonly string[] {
  const { globalValue, workspaceValue } = inspect<string[]>("disabledLanguages");
  return [...new Set([globalValue ?? [], workspaceValue ?? []].flat())];
}

function offBecause(): string | undefined {
  const { globalValue, workspaceValue } = inspect<boolean>("enabled");
  if (globalValue === false) return "Acepilot is off everywhere: acepilot.enabled is false in the user's settings.";
  if (workspaceValue === false) return "Acepilot is off in this workspace: acepilot.enabled is false in its settings.";
  return undefined;
}

/** A setting by scope. VS Code's own merging lets the workspace's value replace the user's. */
function inspect<T>(name: string): { readonly globalValue?: T; readonly workspaceValue?: T } {
  return workspace.getConfiguration("acepilot").inspect<T>(name) ?? {};
}

async function update(name: string, value: unknown, target: ConfigurationTarget): Promise<void> {
  await workspace.getConfiguration("acepilot").update(name, value, target);
}
