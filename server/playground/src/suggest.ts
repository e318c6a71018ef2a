/** From a key to ghost text: debounce, request, stream; cancel when the user has moved on. */

import { Facet } from "@codemirror/state";
import { EditorView, type ViewUpdate } from "@codemirror/view";

import { streamCompletion } from "./api";
import { beginGhost, clearGhost, ghostField, ghostText, growGhost } from "./ghost";

export interface OpenFile {
  path: string;
  language: string;
}

/** The file in an editor state. */
export const openFile = Facet.define<OpenFile, OpenFile>({
  combine: (files) => files[0] ?? { path: "untitled", language: "plaintext" },
});

export interface Listener {
  asking(): void;
  /** The answer is complete. `offered` is its text, perhaps empty; `id` is for its trail. */
  answered(id: string, offered: string): void;
  /** The user dismissed the suggestion, moved the cursor, or typed other text. */
  left(): void;
  accepted(): void;
  failed(error: unknown): void;
}

/** Pause in typing after which a suggestion is requested. */
const DEBOUNCE_MS = 120;
/** Per suggestion, as in the language server. */
const MAX_TOKENS = 96;

export class Suggester {
  /** Whether to request suggestions while the user types. */
  automatic = false;
  readonly extension = EditorView.updateListener.of((update) => this.follow(update));
  private request: AbortController | null = null;
  private timer = 0;

  constructor(private readonly listener: Listener) {}

  cancel(): void {
    window.clearTimeout(this.timer);
    this.request?.abort();
    this.request = null;
  }

  async ask(view: EditorView): Promise<void> {
    this.cancel();
    const request = new AbortController();
    const { doc, selection } = view.state;
    const head = selection.main.head;
    view.dispatch({ effects: beginGhost.of(head), selection: { anchor: head } });
    this.request = request;
    this.listener.asking();
    let id = "";
    let text = "";
    let final: string | null = null;
    try {
      const { language, path } = view.state.facet(openFile);
      const body = { prompt: doc.sliceString(0, head), suffix: doc.sliceString(head), language, path };
      for await (const chunk of streamCompletion({ ...body, max_tokens: MAX_TOKENS }, request.signal)) {
        if (request.signal.aborted) return;
        id = chunk.id;
        text += chunk.choices.map((choice) => choice.text).join("");
        final = chunk.acepilot?.text ?? final;
        view.dispatch({ effects: growGhost.of(final ?? text) });
      }
    } catch (error) {
      if (request.signal.aborted) return;
      this.request = null;
      view.dispatch({ effects: clearGhost.of(null) });
      this.listener.failed(error);
      return;
    }
    if (request.signal.aborted) return;
    this.request = null;
    if (!ghostText(view)) view.dispatch({ effects: clearGhost.of(null) });
    this.listener.answered(id, final ?? text);
  }

  private follow(update: ViewUpdate): void {
    const before = update.startState.field(ghostField);
    const ghost = update.state.field(ghostField);
    const accepted = update.transactions.some((transaction) => transaction.isUserEvent("input.complete"));
    if (before && !ghost && (this.request || before.text)) {
      this.cancel();
      if (accepted) this.listener.accepted();
      else this.listener.left();
    }
    if (!update.docChanged) {
      if (update.selectionSet) window.clearTimeout(this.timer);
      return;
    }
    // Typing a suggestion's characters, streaming or complete, needs no new request.
    if (ghost || accepted || !this.automatic || update.view.composing) return;
    const byHand = update.transactions.some((one) => one.isUserEvent("input") || one.isUserEvent("delete"));
    window.clearTimeout(this.timer);
    if (byHand) this.timer = window.setTimeout(() => void this.ask(update.view), DEBOUNCE_MS);
  }
}
