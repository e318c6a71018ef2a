/** The playground: connects the editor, the suggestions, the server's state and the reason trail. */

import { Prec, type EditorState } from "@codemirror/state";
import { EditorView, keymap } from "@codemirror/view";

import { getModel, getTrail, Refused, saveToken } from "./api";
import { byId, h } from "./dom";
import { newState } from "./editor";
import { clearGhost, ghostText } from "./ghost";
import { languages } from "./languages";
import { samples, type Sample } from "./samples";
import { Suggester } from "./suggest";
import { renderTrail } from "./trail";
import { ServerWatch, stateFrom, type ServerState } from "./watch";

const page = {
  server: byId("server", HTMLElement),
  serverText: byId("server-text", HTMLElement),
  model: byId("model", HTMLElement),
  notice: byId("notice", HTMLElement),
  tokenForm: byId("token-form", HTMLFormElement),
  token: byId("token", HTMLInputElement),
  files: byId("files", HTMLElement),
  language: byId("language", HTMLSelectElement),
  automatic: byId("automatic", HTMLInputElement),
  ask: byId("ask", HTMLButtonElement),
  editor: byId("editor", HTMLElement),
  message: byId("message", HTMLElement),
  trail: byId("trail", HTMLElement),
};

function showMessage(text: string, tone: "calm" | "busy" | "bad" = "calm"): void {
  page.message.textContent = text;
  page.message.dataset["tone"] = tone;
}

// The reason trail

let latest = "";

async function showTrail(id: string, offered: boolean): Promise<void> {
  latest = id;
  try {
    const trail = await getTrail(id);
    if (latest !== id) return; // a later completion has replaced this one
    page.trail.replaceChildren(renderTrail(trail, offered));
    if (!offered && trail.reason) showMessage(trail.reason);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (latest === id) page.trail.replaceChildren(h("p", { class: "muted" }, `There is no trail for this completion: ${text}`));
  }
}

// Suggestions

const suggester = new Suggester({
  asking: () => showMessage("Asking…", "busy"),
  answered: (id, offered) => {
    if (ghostText(view)) showMessage(`${described(offered)}: Tab accepts`);
    else if (offered) showMessage("Typed to its end");
    else showMessage("No suggestion");
    void showTrail(id, offered !== "");
  },
  left: () => showMessage(""),
  accepted: () => showMessage("Accepted"),
  failed: (error) => {
    const state = stateFrom(error);
    if (state) {
      showMessage("No suggestion: see the note above the editor", "bad");
      watch.set(state);
    } else if (error instanceof Refused && error.status === 429) {
      const wait = error.retryAfterSeconds;
      showMessage(wait ? `The server is busy: try again in ${wait} s` : "The server is busy: try again soon", "bad");
    } else {
      showMessage(`No suggestion: ${error instanceof Error ? error.message : String(error)}`, "bad");
    }
  },
});

function described(text: string): string {
  const lines = text.trimEnd().split("\n").length;
  return lines > 1 ? `Suggestion of ${lines} lines` : "Suggestion";
}

// The server's state

const watch = new ServerWatch(showServer);

function showServer(state: ServerState, before: ServerState): void {
  const label = {
    connecting: "Connecting",
    loading: "Loading the model",
    ready: "Ready",
    failed: "Model failed",
    down: "Server down",
    unauthorized: "Token needed",
  }[state.kind];
  page.server.dataset["state"] = state.kind;
  page.serverText.textContent = label;
  page.tokenForm.hidden = state.kind !== "unauthorized";
  page.notice.hidden = state.kind !== "failed" && state.kind !== "down" && state.kind !== "loading";
  page.notice.dataset["state"] = state.kind;
  page.notice.textContent = notice(state);
  suggester.automatic = page.automatic.checked && state.kind === "ready";
  if (state.kind === "ready") void welcome(before);
}

function notice(state: ServerState): string {
  if (state.kind === "down") {
    return `${state.detail} Start it with “make run” or “python -m server”: this page continues by itself.`;
  }
  if (state.kind === "failed") return `The model could not be loaded. ${state.detail}`;
  if (state.kind === "loading") return `The model is loading: suggestions start when it is ready. ${state.detail}`;
  return "";
}

async function welcome(before: ServerState): Promise<void> {
  // After a failure, wait for the user: a server that fails at every answer must not be asked for ever.
  if (before.kind === "down") showMessage("The server answers again");
  else if (suggester.automatic) void suggester.ask(view);
  try {
    const model = await getModel();
    if (!model) return;
    page.model.textContent = model.id;
    page.model.title = `Engine ${model.engine}, context of ${model.context_tokens.toLocaleString("en")} tokens`;
  } catch (error) {
    const state = stateFrom(error);
    if (state) watch.set(state);
  }
}

// Open files, one tab each

interface OpenTab {
  file: Sample;
  state: EditorState;
  tab: HTMLButtonElement;
}

const opened = new Map<string, OpenTab>();
let current = "";

const askKey = Prec.highest(keymap.of([{ key: "Alt-\\", run: (view) => (void suggester.ask(view), true) }]));

function open(file: Sample): void {
  suggester.cancel();
  const leaving = opened.get(current);
  if (leaving) leaving.state = view.state.update({ effects: clearGhost.of(null) }).state;
  const entry = opened.get(file.path) ?? addTab(file);
  current = file.path;
  view.setState(entry.state);
  page.language.value = file.language;
  for (const { tab } of opened.values()) {
    const selected = tab === entry.tab;
    tab.setAttribute("aria-selected", String(selected));
    tab.tabIndex = selected ? 0 : -1;
  }
  page.editor.setAttribute("aria-labelledby", entry.tab.id);
  entry.tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  showMessage("");
  if (suggester.automatic) void suggester.ask(view);
}

function addTab(file: Sample): OpenTab {
  const tab = document.createElement("button");
  tab.type = "button";
  tab.id = `tab-${file.path}`;
  tab.textContent = file.path;
  tab.setAttribute("role", "tab");
  tab.setAttribute("aria-controls", "editor");
  tab.setAttribute("aria-selected", "false");
  tab.tabIndex = -1;
  tab.addEventListener("click", () => {
    open(file);
    view.focus();
  });
  page.files.append(tab);
  const entry = { file, state: newState(file, [suggester.extension, askKey]), tab };
  opened.set(file.path, entry);
  return entry;
}

page.files.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const entries = [...opened.values()];
  const index = entries.findIndex(({ file }) => file.path === current) + step;
  const next = entries[(index + entries.length) % entries.length];
  if (!next) return;
  open(next.file);
  next.tab.focus();
});

// Controls

for (const { id, label } of languages) page.language.add(new Option(label, id));

page.language.addEventListener("change", () => {
  const file = samples.find(({ language }) => language === page.language.value);
  if (file) open(file);
});

page.automatic.addEventListener("change", () => {
  suggester.automatic = page.automatic.checked && watch.state.kind === "ready";
  showMessage(page.automatic.checked ? "Suggestions come as you type" : "Suggestions come on Alt+\\");
});

page.ask.addEventListener("click", () => {
  view.focus();
  void suggester.ask(view);
});

page.tokenForm.addEventListener("submit", (event) => {
  event.preventDefault();
  saveToken(page.token.value.trim());
  page.token.value = "";
  void watch.poll();
});

const view = new EditorView({ parent: page.editor });
const [first, ...others] = samples.slice(0, 4);
if (first) open(first);
for (const file of others) addTab(file);
view.focus();
void watch.poll();
