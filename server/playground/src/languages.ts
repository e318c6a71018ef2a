/** The languages in the language menu, by LSP id, with their highlighting. */

import { cpp } from "@codemirror/lang-cpp";
import { css } from "@codemirror/lang-css";
import { go } from "@codemirror/lang-go";
import { html } from "@codemirror/lang-html";
import { java } from "@codemirror/lang-java";
import { javascript } from "@codemirror/lang-javascript";
import { php } from "@codemirror/lang-php";
import { python } from "@codemirror/lang-python";
import { rust } from "@codemirror/lang-rust";
import { vue } from "@codemirror/lang-vue";
import { StreamLanguage, indentUnit } from "@codemirror/language";
import { c, csharp } from "@codemirror/legacy-modes/mode/clike";
import { ruby } from "@codemirror/legacy-modes/mode/ruby";
import { shell } from "@codemirror/legacy-modes/mode/shell";
import type { Extension } from "@codemirror/state";

export interface Language {
  id: string;
  label: string;
  highlight: () => Extension;
}

export const languages: readonly Language[] = [
  { id: "vue", label: "Vue", highlight: () => vue({ base: html({ autoCloseTags: false }) }) },
  { id: "typescript", label: "TypeScript", highlight: () => javascript({ typescript: true }) },
  { id: "javascript", label: "JavaScript", highlight: () => javascript() },
  { id: "python", label: "Python", highlight: () => [python(), indentUnit.of("    ")] },
  { id: "go", label: "Go", highlight: () => [go(), indentUnit.of("\t")] },
  { id: "rust", label: "Rust", highlight: () => [rust(), indentUnit.of("    ")] },
  { id: "java", label: "Java", highlight: () => [java(), indentUnit.of("    ")] },
  { id: "cpp", label: "C++", highlight: () => [cpp(), indentUnit.of("    ")] },
  { id: "c", label: "C", highlight: () => [StreamLanguage.define(c), indentUnit.of("    ")] },
  { id: "csharp", label: "C#", highlight: () => [StreamLanguage.define(csharp), indentUnit.of("    ")] },
  { id: "php", label: "PHP", highlight: () => [php(), indentUnit.of("    ")] },
  { id: "ruby", label: "Ruby", highlight: () => StreamLanguage.define(ruby) },
  { id: "html", label: "HTML", highlight: () => html({ autoCloseTags: false }) },
  { id: "css", label: "CSS", highlight: () => css() },
  { id: "shellscript", label: "Shell", highlight: () => StreamLanguage.define(shell) },
];
