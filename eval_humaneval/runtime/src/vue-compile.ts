// The compiler of Vue programs, bundled into dist/vue-compile.cjs.
//
//   files:   {"vue-compile.cjs": DIST / "vue-compile.cjs", "vue.cjs": DIST / "vue.cjs"}
//   compile: node vue-compile.cjs main.vue component.js test.js
//   run:     node vue.cjs component.js test.js
//
// A program is a single-file component, a line TEST_MARK, and the test (see vue.ts). Types are removed, not
// checked; an error of Vue's compiler or of Node's parser is a compile error (exit code 1). Styles are dropped.

import { readFileSync, writeFileSync } from "node:fs";
import { compileFunction } from "node:vm";
import { compileScript, compileTemplate, parse, type SFCDescriptor, type SFCScriptBlock } from "@vue/compiler-sfc";
import { javascriptOf } from "./javascript";

const TEST_MARK = "\n// @acepilot:test\n";

class Refused extends Error {}

/** Returns the component's module as CommonJS, with the component as its default export. */
function compile(source: string, filename: string): string {
  const { descriptor, errors } = parse(source, { filename, sourceMap: false });
  refuse(errors);
  if (descriptor.template === null && descriptor.scriptSetup === null && descriptor.script === null)
    throw new Refused("there is neither a <template> nor a <script>");
  const script = scriptOf(descriptor);
  const template = descriptor.scriptSetup === null ? templateOf(descriptor, script) : "";
  return javascriptOf(`${script?.content ?? "const component = {}"}\n${template}\nexport default component;\n`, {
    filename,
    typescript: isTypeScript(descriptor),
  });
}

/** Compiles the script. With `<script setup>`, it includes the template, as in production builds. */
function scriptOf(descriptor: SFCDescriptor): SFCScriptBlock | null {
  if (descriptor.script === null && descriptor.scriptSetup === null) return null;
  return compileScript(descriptor, { id: "main", inlineTemplate: true, genDefaultAs: "component", sourceMap: false });
}

function templateOf(descriptor: SFCDescriptor, script: SFCScriptBlock | null): string {
  if (descriptor.template === null) return "";
  const { code, errors } = compileTemplate({
    source: descriptor.template.content,
    filename: descriptor.filename,
    id: "main",
    compilerOptions: {
      ...(script?.bindings && { bindingMetadata: script.bindings }),
      ...(isTypeScript(descriptor) && { expressionPlugins: ["typescript"] }),
    },
  });
  refuse(errors);
  return `${code}\ncomponent.render = render;`;
}

function isTypeScript(descriptor: SFCDescriptor): boolean {
  return (descriptor.scriptSetup ?? descriptor.script)?.lang === "ts";
}

function refuse(errors: readonly (string | Error)[]): void {
  const [first] = errors;
  if (first !== undefined) throw new Refused(typeof first === "string" ? first : first.message);
}

const [source, component, test] = process.argv.slice(2);
if (source === undefined || component === undefined || test === undefined)
  throw new Error("usage: node vue-compile.cjs SOURCE COMPONENT TEST");
const text = readFileSync(source, "utf8");
const mark = text.lastIndexOf(TEST_MARK);
if (mark < 0) throw new Error(`${source} has no line ${TEST_MARK.trim()}`);

let code;
try {
  code = compile(text.slice(0, mark), source);
  compileFunction(code, ["require", "exports"], { filename: source }); // parsed, not run
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
writeFileSync(component, code);
writeFileSync(test, text.slice(mark + TEST_MARK.length));
