// Runs a test of a compiled component; bundled into dist/vue.cjs. vue-compile.ts has the command lines.
//
// The test is the body of an async function with these names: `Component`; `assert` (strict); `vue` and its `h` and
// `nextTick`; `mount` and `flushPromises` of @vue/test-utils; `fakeTimers` (timers.ts). It passes if it reaches its
// end. Timers that still run then are not waited for; Vue's warnings are printed and do not fail the test.
// The component may import only `vue`, and it cannot reach the test.

import "./dom";
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { compileFunction, Script } from "node:vm";
import { flushPromises, mount } from "@vue/test-utils";
import * as vue from "vue";
import { fakeTimers } from "./timers";

const { argv, exit } = process;
const [componentFile, testFile] = argv.slice(2);
if (componentFile === undefined || testFile === undefined) throw new Error("usage: node vue.cjs COMPONENT TEST");

function load(file: string): vue.Component {
  const exports: { default?: vue.Component } = {};
  const module = compileFunction(readFileSync(file, "utf8"), ["require", "exports"], { filename: file });
  Reflect.deleteProperty(globalThis, "process"); // as in a browser
  module(importable, exports);
  assert(exports.default);
  return exports.default;
}

function importable(name: string): typeof vue {
  if (name !== "vue") throw new Error(`Cannot find module '${name}': a component may import only 'vue' here`);
  return vue;
}

const names = { assert, vue, h: vue.h, nextTick: vue.nextTick, mount, flushPromises, fakeTimers };
const test = new Script(`(async ({ Component, ${Object.keys(names).join(", ")} }) => {${readFileSync(testFile, "utf8")}\n})`, {
  filename: testFile,
}).runInThisContext();

test({ Component: load(componentFile), ...names }).then(
  () => exit(0),
  (error: unknown) => {
    console.error(error instanceof Error ? error.stack : error);
    exit(1);
  },
);
