// Everything that the command palette, the keys and the status bar can ask for.

import {
  commands,
  env,
  ProcessExecution,
  Task,
  TaskRevealKind,
  tasks,
  TaskScope,
  Uri,
  window,
  type Disposable,
  type ExtensionContext,
  type LogOutputChannel,
  type QuickPickItem,
} from "vscode";
import { explainLast } from "./explain";
import type { LanguageServer } from "./language_server";
import { MissingProgramError } from "./program";
import { languageIsOff, readSettings, toggleEverywhere, toggleLanguage, toggleWorkspace } from "./settings";
import type { StatusBar } from "./status_bar";

/** VS Code's own commands for ghost text under our names: for keys, since ghost text is gone once the palette has the focus. */
const EDITOR_COMMANDS = {
  "acepilot.accept": "editor.action.inlineSuggest.commit",
  "acepilot.acceptWord": "editor.action.inlineSuggest.acceptNextWord",
  "acepilot.acceptLine": "editor.action.inlineSuggest.acceptNextLine",
  "acepilot.next": "editor.action.inlineSuggest.showNext",
} as const;

export function registerCommands(
  context: ExtensionContext,
  server: LanguageServer,
  bar: StatusBar,
  log: LogOutputChannel,
): Disposable[] {
  const actions: Record<string, () => unknown> = {
    "acepilot.trigger": suggestNow,
    "acepilot.toggle": toggleEverywhere,
    "acepilot.toggleLanguage": toggleLanguage,
    "acepilot.toggleWorkspace": toggleWorkspace,
    "acepilot.explainLast": () => explainLast(server.client, bar.reason),
    "acepilot.doctor": () => runDoctor(server),
    "acepilot.setToken": () => askForToken(server),
    "acepilot.restart": () => server.restart(),
    "acepilot.showLog": () => {
      log.show();
    },
    "acepilot.openSettings": openSettings,
    "acepilot.walkthrough": () => commands.executeCommand("workbench.action.openWalkthrough", "acepilot.acepilot#start", false),
    "acepilot.menu": () => showMenu(context, bar),
  };
  for (const [ours, theirs] of Object.entries(EDITOR_COMMANDS)) {
    actions[ours] = () => commands.executeCommand(theirs);
  }
  return Object.entries(actions).map(([name, action]) => commands.registerCommand(name, action));
}

async function suggestNow(): Promise<void> {
  if (window.activeTextEditor !== undefined) await commands.executeCommand("editor.action.inlineSuggest.trigger");
  else void window.showInformationMessage("Acepilot: open a file, and put the cursor where a suggestion is wanted.");
}

/** Where program and address are found: they belong to the machine with the files. */
async function openSettings(): Promise<void> {
  const query = "@ext:acepilot.acepilot";
  if (env.remoteName === undefined) await commands.executeCommand("workbench.action.openSettings", query);
  else await commands.executeCommand("workbench.action.openRemoteSettings", { query });
}

async function runDoctor(server: LanguageServer): Promise<void> {
  try {
    const { command, args, ...options } = await server.program(readSettings());
    const execution = new ProcessExecution(command, [...args, "--doctor"], options);
    const task = new Task({ type: "acepilot" }, TaskScope.Workspace, "doctor", "Acepilot", execution, []);
    task.presentationOptions = { reveal: TaskRevealKind.Always, clear: true, focus: false };
    await tasks.executeTask(task);
  } catch (error) {
    if (!(error instanceof MissingProgramError)) throw error;
    void window.showErrorMessage(`Acepilot: ${error.message}`);
  }
}

async function askForToken(server: LanguageServer): Promise<void> {
  const token = await window.showInputBox({
    title: "Acepilot: the server's token",
    prompt: "Kept in VS Code's secret storage. Leave it empty to forget the one that is there.",
    password: true,
    ignoreFocusOut: true,
  });
  if (token !== undefined) await server.setToken(token.trim());
}

async function showMenu(context: ExtensionContext, bar: StatusBar): Promise<void> {
  const { state, message } = bar.view;
  const settings = readSettings();
  const language = window.activeTextEditor?.document.languageId;
  const icon = (theme: string): Uri => Uri.joinPath(context.extensionUri, "media", `logo-${theme}.svg`);
  const entry = (label: string, command: string, detail?: string): QuickPickItem & { command: string } =>
    detail === undefined ? { label, command } : { label, command, detail };
  const entries = [
    {
      ...entry(`Acepilot: ${state}`, "acepilot.explainLast", [message, bar.reason].filter(Boolean).join(" ") || "Nothing asked yet."),
      iconPath: { light: icon("light"), dark: icon("dark") },
    },
    entry("$(question) Explain the last completion", "acepilot.explainLast"),
    entry("$(circle-slash) Turn on or off everywhere", "acepilot.toggle"),
    entry("$(circle-slash) Turn on or off in this workspace", "acepilot.toggleWorkspace", settings.off),
    ...(language === undefined
      ? []
      : [entry(`$(circle-slash) Turn ${languageIsOff(language) ? "on" : "off"} for ${language}`, "acepilot.toggleLanguage")]),
    entry("$(pulse) Run the doctor", "acepilot.doctor"),
    entry("$(debug-restart) Restart", "acepilot.restart"),
    entry("$(output) Show log", "acepilot.showLog"),
    entry("$(gear) Open settings", "acepilot.openSettings"),
  ];
  const chosen = await window.showQuickPick(entries, { title: "Acepilot" });
  if (chosen !== undefined) await commands.executeCommand(chosen.command);
}
