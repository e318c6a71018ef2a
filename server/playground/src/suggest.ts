/** From a keystroke to a request: debounce, stream into the ghost, cancel what the user has left behind. */

import { Facet } from "@codemirror/state";
import { EditorView, type ViewUpdate } from "@codemirror/view";

import { streamCompletion } from "./api";
import { beginGhost, clearGhost, ghostField, ghostText, growGhost } from "./ghost";

export interface OpenFile {
  path: string;
  language: string;
}

/** Which file a state of the editor holds. */
export const openFile = Facet.define<OpenFile, OpenFile>({
  combine: (files) => files[0] ?? { path: "untitled", language: "plaintext" },
});

export interface Listener {
  asking(): void;
  /** A whole answer came, `offered` when there is text in it. `id` opens its trail. */
  answered(id: string, offered: string): void;
  /** The user dismissed, moved away, or typed something else. */
  left(): void;
  accepted(): void;
  failed(error: unknown): void;
}

const DEBOUNCE_MS = 120;
const MAX_TOKENS = 96;

export class Suggester {
  /** Ask while the user types. */
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
    // Typing along a suggestion, live or finished, needs no new request: the answer is already here.
    if (ghost || accepted || !this.automatic || update.view.composing) return;
    const byHand = update.transactions.some((one) => one.isUserEvent("input") || one.isUserEvent("delete"));
    window.clearTimeout(this.timer);
    if (byHand) this.timer = window.setTimeout(() => void this.ask(update.view), DEBOUNCE_MS);
  }
}
