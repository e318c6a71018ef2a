// What ../../dev/build_bundle.mjs builds here.

import { builtinModules } from "node:module";

export const builds = [
  {
    entryPoints: ["typescript", "vue-compile", "vue"].map((name) => `src/${name}.ts`),
    outExtension: { ".js": ".cjs" },
    bundle: true,
    format: "cjs",
    // Not "node": with it, esbuild takes Vue's CommonJS builds, and cannot leave out what is unused.
    platform: "neutral",
    conditions: ["module"],
    mainFields: ["module", "main"],
    external: [...builtinModules, "node:*"],
    target: "node18",
    define: {
      "process.env.NODE_ENV": '"development"', // for Vue's warnings, and the events that a test sees
      __VUE_OPTIONS_API__: "true",
      __VUE_PROD_DEVTOOLS__: "false",
      __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false",
    },
  },
];
export const copied = [];
export const heading = "The .cjs files here contain";
export const licences = ["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"];
/** Packages inside the published files of two others, where esbuild's list of inputs does not show them. */
export const vendored = {
  "@vue/compiler-sfc": [
    ...["@babel/parser", "@jridgewell/sourcemap-codec", "@vue/compiler-core", "@vue/compiler-dom", "@vue/compiler-ssr"],
    ...["@vue/shared", "base64-js", "buffer", "cssesc", "entities", "estree-walker", "hash-sum", "ieee754"],
    ...["magic-string", "nanoid", "picocolors", "postcss", "postcss-selector-parser", "rollup-plugin-node-polyfills"],
    ...["source-map-js", "util-deprecate"],
  ],
  "@vue/test-utils": ["js-beautify"],
};
