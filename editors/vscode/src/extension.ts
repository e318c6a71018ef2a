// Where VS Code enters: the parts are made here, and joined.

import { window, workspace, type ExtensionContext } from "vscode";
import { registerCommands } from "./commands";
import { registerExplanations } from "./explain";
import { LanguageServer } from "./language_server";
import { StatusBar } from "./status_bar";

let server: LanguageServer | undefined;

export async function activate(context: ExtensionContext): Promise<void> {
  const log = window.createOutputChannel("Acepilot", { log: true });
  const bar = new StatusBar();
  server = new LanguageServer(context, log, bar);
  const running = server;
  context.subscriptions.push(
    log,
    bar,
    ...registerCommands(context, running, bar, log),
    registerExplanations(),
    context.secrets.onDidChange(() => running.restart()),
    window.onDidChangeActiveTextEditor(() => {
      bar.draw();
    }),
    workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration("acepilot")) void running.align();
      bar.draw(); // editor.inlineSuggest.enabled counts too
    }),
  );
  await running.align();
}

export async function deactivate(): Promise<void> {
  await server?.stop();
}
