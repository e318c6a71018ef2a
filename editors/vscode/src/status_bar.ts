// What the user sees of Acepilot's state: the item in the status bar, its tooltip, and one notification a trouble.

import { MarkdownString, StatusBarAlignment, ThemeColor, window, workspace, commands } from "vscode";
import type { Disposable } from "vscode";
import { languageIsOff } from "./settings";

/** The language server's `acepilot/status` (lsp/features/status.py). */
export interface ServerStatus {
  readonly state: "ready" | "loading" | "busy" | "slow" | "off" | "unauthorized" | "error";
  /** What to do about it; empty when all is well. */
  readonly message: string;
  /** Why the last request was answered as it was. */
  readonly reason: string;
}

/** How the language server's own process is. */
export type Phase =
  | { readonly name: "starting" }
  | { readonly name: "running"; readonly version: string; readonly own: string }
  | { readonly name: "off" | "missing" | "failed"; readonly why: string };

/** What is shown: `state` in words, `message` a sentence or nothing. */
export interface View {
  readonly icon: string;
  readonly state: string;
  readonly message: string;
  readonly alarm?: "warning" | "error";
}

const SERVER_VIEWS: Record<ServerStatus["state"], Omit<View, "message">> = {
  ready: { icon: "check", state: "ready" },
  loading: { icon: "loading~spin", state: "loading" },
  busy: { icon: "watch", state: "busy" },
  slow: { icon: "watch", state: "slow" },
  off: { icon: "debug-disconnect", state: "server down", alarm: "warning" },
  unauthorized: { icon: "key", state: "token refused", alarm: "warning" },
  error: { icon: "error", state: "error", alarm: "error" },
};

type Remedy = readonly [label: string, command: string];
const DOCTOR: Remedy = ["Run the doctor", "acepilot.doctor"];
const SETTINGS: Remedy = ["Open settings", "acepilot.openSettings"];
const LOG: Remedy = ["Show log", "acepilot.showLog"];
const REMEDIES: Readonly<Record<string, readonly Remedy[]>> = {
  "not found": [SETTINGS, ["How to install", "acepilot.walkthrough"]],
  failed: [LOG, DOCTOR],
  "server down": [DOCTOR, SETTINGS],
  "token refused": [["Set the token", "acepilot.setToken"], DOCTOR],
  error: [DOCTOR, LOG],
  "versions differ": [SETTINGS],
};

export class StatusBar implements Disposable {
  readonly #item = window.createStatusBarItem("status", StatusBarAlignment.Right, 100);
  readonly #told = new Set<string>();
  #phase: Phase = { name: "starting" };
  #server: ServerStatus | undefined;

  constructor() {
    this.#item.name = "Acepilot";
    this.#item.command = "acepilot.menu";
    this.draw();
    this.#item.show();
  }

  set phase(phase: Phase) {
    this.#phase = phase;
    if (phase.name !== "running") this.#server = undefined;
    this.draw();
    if (phase.name === "running" && minor(phase.version) !== minor(phase.own)) this.#tell("versions differ", differ(phase));
  }

  set serverStatus(status: ServerStatus) {
    this.#server = status;
    this.draw();
  }

  /** Why the last request was answered as it was. */
  get reason(): string {
    return this.#server?.reason ?? "";
  }

  get view(): View {
    const phase = this.#phase;
    switch (phase.name) {
      case "off":
        return { icon: "circle-slash", state: "off", message: phase.why };
      case "missing":
        return { icon: "error", state: "not found", message: phase.why, alarm: "error" };
      case "failed":
        return { icon: "error", state: "failed", message: phase.why, alarm: "error" };
      case "starting":
        return { icon: "loading~spin", state: "starting", message: "The language server is starting." };
      case "running":
        return this.#running(phase);
    }
  }

  draw(): void {
    const view = this.view;
    this.#item.text = `$(${view.icon}) Acepilot${view.state === "ready" ? "" : `: ${view.state}`}`;
    this.#item.accessibilityInformation = { label: `Acepilot: ${[view.state, view.message, this.reason].filter(Boolean).join(". ")}` };
    this.#item.backgroundColor = view.alarm && new ThemeColor(`statusBarItem.${view.alarm}Background`);
    this.#item.tooltip = this.#tooltip(view);
    if (view.alarm !== undefined) this.#tell(view.state, view.message);
  }

  dispose(): void {
    this.#item.dispose();
  }

  #running(phase: { readonly version: string; readonly own: string }): View {
    const language = window.activeTextEditor?.document.languageId;
    if (language !== undefined && languageIsOff(language)) {
      return { icon: "circle-slash", state: `off for ${language}`, message: `acepilot.disabledLanguages has ${language}.` };
    }
    if (!workspace.getConfiguration("editor").get<boolean>("inlineSuggest.enabled", true)) {
      return { icon: "circle-slash", state: "not shown", message: "VS Code shows no ghost text: editor.inlineSuggest.enabled is false." };
    }
    const server: ServerStatus = this.#server ?? { state: "loading", message: "", reason: "" };
    const message = server.message || (minor(phase.version) === minor(phase.own) ? "" : differ(phase));
    return { ...SERVER_VIEWS[server.state], message };
  }

  #tooltip(view: View): MarkdownString {
    const text = new MarkdownString(`**Acepilot** `, true);
    text.appendText(view.state);
    for (const line of [view.message, this.reason && `Last request: ${this.reason}`]) {
      if (line) text.appendMarkdown("\n\n").appendText(line);
    }
    return text;
  }

  /** Once a window and trouble: the status bar goes on saying it. */
  #tell(trouble: string, message: string): void {
    if (this.#told.has(trouble) || message === "") return;
    this.#told.add(trouble);
    const remedies = REMEDIES[trouble] ?? [];
    void window.showWarningMessage(withoutLinks(`Acepilot: ${message}`), ...remedies.map(([label]) => label)).then((chosen) => {
      const remedy = remedies.find(([label]) => label === chosen);
      if (remedy !== undefined) void commands.executeCommand(remedy[1]);
    });
  }
}

/** A message that VS Code shows without links: `[x](command:y)` of a server would run a command at a click. */
export function withoutLinks(message: string): string {
  return message.replaceAll("](", "] (");
}

/** Releases that differ in their last number understand each other. */
function minor(version: string): string {
  return version.split(".").slice(0, 2).join(".");
}

function differ({ version, own }: { readonly version: string; readonly own: string }): string {
  return (
    `The language server is ${version} and this extension ${own}. Install the same version of both: Acepilot where ` +
    "acepilot.command points, or the extension that came with it."
  );
}
