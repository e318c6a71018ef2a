// "Explain the last completion": the completion server's own record of it, asked for through the language server.

import { EventEmitter, Uri, window, workspace, type Disposable } from "vscode";
import type { LanguageClient } from "vscode-languageclient/node";
import { withoutLinks } from "./status_bar";

const SCHEME = "acepilot-explain"; // not one that the language server is given: nothing is completed there
const PAGE = Uri.from({ scheme: SCHEME, path: "last completion.json" });
const SERVER_COMMAND = "acepilot.explain";

const changed = new EventEmitter<Uri>();
let text = "";

export function registerExplanations(): Disposable {
  return workspace.registerTextDocumentContentProvider(SCHEME, {
    onDidChange: changed.event,
    provideTextDocumentContent: () => text,
  });
}

/** Opens the record; where there is none, says `reason`, which the status has for every request. */
export async function explainLast(client: LanguageClient | undefined, reason: string): Promise<void> {
  const offered = client?.initializeResult?.capabilities.executeCommandProvider?.commands ?? [];
  const record: unknown = offered.includes(SERVER_COMMAND)
    ? await client?.sendRequest("workspace/executeCommand", { command: SERVER_COMMAND })
    : undefined;
  if (record === undefined || record === null) {
    void window.showInformationMessage(withoutLinks(`Acepilot: ${reason || "nothing was asked for yet."}`));
    return;
  }
  text = JSON.stringify(record, undefined, 2);
  changed.fire(PAGE);
  await window.showTextDocument(PAGE, { preview: true });
}
