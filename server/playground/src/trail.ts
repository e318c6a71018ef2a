/** Renders the reason trail of one completion: why this text was suggested, or why nothing was. */

import type { Trail } from "./protocol";
import { h } from "./dom";

interface Part {
  name: string;
  size: number;
  label: string;
  className: string;
}

const CACHE = {
  none: "miss: computed by the model",
  response: "hit: asked before",
  typed_through: "hit: typed along an answer",
};
const FINISH = {
  stop: "complete",
  length: "token limit reached",
  cancelled: "cancelled by the client",
};

export function renderTrail(trail: Trail, offered: boolean): HTMLElement {
  return h(
    "div",
    { class: "trail-body" },
    h("p", { class: offered ? "verdict" : "verdict verdict-nothing" }, trail.reason),
    promptSection(trail.prompt),
    timeSection(trail),
    section("Generation", null, facts(generationFacts(trail))),
    filterSection(trail),
    h("p", { class: "trail-id" }, h("code", {}, trail.id)),
  );
}

function promptSection(prompt: Trail["prompt"]): HTMLElement {
  if (!prompt) return section("Prompt", null, h("p", { class: "muted" }, "The model was not asked."));
  const parts: Part[] = [
    { name: "Other files", size: prompt.snippet_tokens, label: count(prompt.snippet_tokens), className: "part-a" },
    { name: "Before cursor", size: prompt.prefix_tokens, label: count(prompt.prefix_tokens), className: "part-b" },
    { name: "After cursor", size: prompt.suffix_tokens, label: count(prompt.suffix_tokens), className: "part-c" },
  ];
  const total = parts.reduce((sum, part) => sum + part.size, 0);
  const clipped = prompt.clipped
    ? h("span", { class: "warn" }, `yes: ${count(prompt.dropped_chars)} characters cut`)
    : "no";
  return section(
    "Prompt",
    tokens(total),
    ...bar("Prompt tokens", parts),
    facts([
      ["Clipped", clipped],
      ["Fill in the middle", prompt.fim ?? "no: prefix only"],
    ]),
  );
}

function timeSection(trail: Trail): HTMLElement {
  if (trail.total_ms == null) return section("Time", null, h("p", { class: "muted" }, "Not finished."));
  const total = trail.total_ms;
  const first = trail.first_token_ms ?? total;
  const parts: Part[] = [
    { name: "Queued", size: trail.queue_ms, label: ms(trail.queue_ms), className: "part-a" },
    { name: "First token at", size: Math.max(0, first - trail.queue_ms), label: ms(first), className: "part-b" },
    { name: "Done at", size: Math.max(0, total - first), label: ms(total), className: "part-c" },
  ];
  return section("Time", ms(total), ...bar("Time", parts));
}

function generationFacts(trail: Trail): [string, Node | string][] {
  const rows: [string, Node | string][] = [
    ["Cache", h("span", trail.cache === "none" ? {} : { class: "good" }, CACHE[trail.cache])],
    ["Generated", `${tokens(trail.generated_tokens)}${speed(trail)}`],
    ["Early stop", trail.early_stop ? h("code", {}, trail.early_stop) : "none"],
  ];
  if (trail.finish_reason) rows.push(["End", FINISH[trail.finish_reason]]);
  rows.push(["Mode", trail.mode], ["Engine", trail.engine]);
  return rows;
}

function speed(trail: Trail): string {
  if (trail.first_token_ms == null || trail.total_ms == null || trail.generated_tokens < 2) return "";
  const seconds = (trail.total_ms - trail.first_token_ms) / 1000;
  return seconds > 0 ? `, ${((trail.generated_tokens - 1) / seconds).toFixed(0)} a second` : "";
}

function filterSection({ filters = [] }: Trail): HTMLElement {
  if (filters.length === 0) {
    return section("Filters", "none fired", h("p", { class: "muted" }, "No filter changed the text."));
  }
  const rows = filters.map(({ name, removed_chars, dropped }): [string, Node] => [
    name,
    dropped ? h("span", { class: "warn" }, "dropped the whole suggestion") : h("span", {}, change(removed_chars)),
  ]);
  const list = facts(rows);
  list.classList.add("filters");
  return section("Filters", `${filters.length} fired`, list);
}

function change(removed: number): string {
  if (removed === 0) return "changed the text, same length";
  return removed > 0 ? `−${count(removed)} characters` : `+${count(-removed)} characters`;
}

function section(title: string, note: string | null, ...content: Node[]): HTMLElement {
  const heading = h("h3", {}, title);
  if (note !== null) heading.append(h("span", { class: "note" }, note));
  return h("section", {}, heading, ...content);
}

/** Smallest share of a bar that is drawn: a smaller one would be drawn larger than it is. */
const SMALLEST_SHARE = 0.004;

/** Renders a stacked bar and a list with the same values. The bar is hidden from screen readers. */
function bar(title: string, parts: Part[]): HTMLElement[] {
  const track = h("div", { class: "bar", "aria-hidden": "true" });
  const legend = h("ul", { class: "legend", "aria-label": title });
  const total = parts.reduce((sum, part) => sum + part.size, 0);
  for (const part of parts) {
    const piece = h("span", { class: part.className });
    piece.style.flexGrow = String(part.size);
    if (part.size > total * SMALLEST_SHARE) track.append(piece);
    legend.append(
      h("li", {}, h("i", { class: part.className, "aria-hidden": "true" }), `${part.name} `, h("b", {}, part.label)),
    );
  }
  return [track, legend];
}

function facts(rows: [string, Node | string][]): HTMLElement {
  const list = h("dl", { class: "facts" });
  for (const [name, value] of rows) list.append(h("dt", {}, name), h("dd", {}, value));
  return list;
}

function count(value: number): string {
  return value.toLocaleString("en");
}

function tokens(value: number): string {
  return value === 1 ? "1 token" : `${count(value)} tokens`;
}

function ms(value: number): string {
  return value >= 10_000 ? `${(value / 1000).toFixed(1)} s` : `${value < 10 ? value.toFixed(1) : count(Math.round(value))} ms`;
}
