/** Ghost text: one suggestion at the cursor, which stays while the user types its characters. */

import { EditorSelection, StateEffect, StateField, type Extension, type Transaction } from "@codemirror/state";
import { Decoration, EditorView, WidgetType, keymap, type Command } from "@codemirror/view";

/** `text` starts at `from`; its first `typed` characters are in the document already. */
interface Ghost {
  readonly from: number;
  readonly text: string;
  readonly typed: number;
}

/** A suggestion for this position was requested; there is no text yet. */
export const beginGhost = StateEffect.define<number>();
/** The whole text of the suggestion received so far. */
export const growGhost = StateEffect.define<string>();
export const clearGhost = StateEffect.define<null>();

export const ghostField = StateField.define<Ghost | null>({
  create: () => null,
  update(before, transaction) {
    let ghost = before && follow(before, transaction);
    for (const effect of transaction.effects) {
      if (effect.is(beginGhost)) ghost = { from: effect.value, text: "", typed: 0 };
      else if (effect.is(clearGhost)) ghost = null;
      else if (effect.is(growGhost) && ghost) ghost = grow(ghost, effect.value);
    }
    return ghost;
  },
  provide: (field) =>
    EditorView.decorations.from(field, (ghost) => {
      const rest = ghost?.text.slice(ghost.typed);
      if (!ghost || !rest) return Decoration.none;
      const widget = Decoration.widget({ widget: new GhostWidget(rest), side: 1 });
      return Decoration.set(widget.range(ghost.from + ghost.typed));
    }),
});

function follow(ghost: Ghost, transaction: Transaction): Ghost | null {
  const at = ghost.from + ghost.typed;
  let typed = "";
  let along = true;
  transaction.changes.iterChanges((fromA, toA, _fromB, _toB, inserted) => {
    along = along && fromA === at && toA === at && typed === "";
    typed += inserted.toString();
  });
  const cursor = transaction.newSelection.main;
  if (!along || !cursor.empty || cursor.head !== at + typed.length) return null;
  return ghost.text.startsWith(typed, ghost.typed) ? { ...ghost, typed: ghost.typed + typed.length } : null;
}

function grow(ghost: Ghost, text: string): Ghost | null {
  return text.startsWith(ghost.text.slice(0, ghost.typed)) ? { ...ghost, text } : null;
}

class GhostWidget extends WidgetType {
  constructor(private readonly text: string) {
    super();
  }

  override eq(other: GhostWidget): boolean {
    return other.text === this.text;
  }

  toDOM(): HTMLElement {
    const element = document.createElement("span");
    element.className = "ghost";
    element.textContent = this.text;
    element.setAttribute("aria-hidden", "true"); // screen readers read the status line
    return element;
  }

  /** Returns the start of the first line: the box of a suggestion of several lines would stretch the cursor. */
  override coordsAt(element: HTMLElement): { left: number; right: number; top: number; bottom: number } | null {
    const first = element.getClientRects()[0];
    return first ? { left: first.left, right: first.left, top: first.top, bottom: first.bottom } : null;
  }

  override ignoreEvent(): boolean {
    return false;
  }
}

/** Returns the part of the suggestion that is not in the document yet. */
export function ghostText(view: EditorView): string {
  const ghost = view.state.field(ghostField);
  return ghost ? ghost.text.slice(ghost.typed) : "";
}

function insert(view: EditorView, text: string, all: boolean): void {
  const at = view.state.selection.main.head;
  view.dispatch({
    changes: { from: at, insert: text },
    selection: EditorSelection.cursor(at + text.length),
    effects: all ? clearGhost.of(null) : [],
    userEvent: "input.complete",
    scrollIntoView: true,
  });
}

const acceptAll: Command = (view) => {
  const text = ghostText(view);
  if (text) insert(view, text, true);
  return text !== "";
};

/** White space, then one word or a run of punctuation. */
const NEXT_WORD = /^\s*(?:[\p{L}\p{N}_$]+|[^\p{L}\p{N}_$\s]+|$)/u;

const acceptWord: Command = (view) => {
  const text = ghostText(view);
  const word = NEXT_WORD.exec(text)?.[0];
  if (!word) return false;
  insert(view, word, word === text);
  return true;
};

/** For this long after Escape, the Tab key leaves the editor. */
const LEAVE_MS = 2000;

const dismiss: Command = (view) => {
  if (!view.state.field(ghostField)) return false;
  view.dispatch({ effects: clearGhost.of(null) });
  view.setTabFocusMode(LEAVE_MS); // CodeMirror does this itself only if no key binding handles Escape
  return true;
};

export const ghost: Extension = [
  ghostField,
  keymap.of([
    { key: "Tab", run: acceptAll },
    { key: "Mod-ArrowRight", run: acceptWord },
    { key: "Escape", run: dismiss },
  ]),
];
