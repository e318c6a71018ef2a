// Bundles src/ into dist/. With --check: builds to a temporary folder and compares it with dist/, byte for byte.

import { builtinModules } from "node:module";
import { mkdtemp, readFile, readdir, rm, mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const KNOWN_LICENCES = ["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"];

// What the published files of two packages hold of others, so that esbuild's list of inputs does not show it.
const INSIDE = {
  "@vue/compiler-sfc": [
    ...["@babel/parser", "@jridgewell/sourcemap-codec", "@vue/compiler-core", "@vue/compiler-dom", "@vue/compiler-ssr"],
    ...["@vue/shared", "base64-js", "buffer", "cssesc", "entities", "estree-walker", "hash-sum", "ieee754"],
    ...["magic-string", "nanoid", "picocolors", "postcss", "postcss-selector-parser", "rollup-plugin-node-polyfills"],
    ...["source-map-js", "util-deprecate"],
  ],
  "@vue/test-utils": ["js-beautify"],
};

async function buildInto(folder) {
  const { metafile } = await build({
    absWorkingDir: here, // so that nothing in the output depends on where the repository lies
    entryPoints: ["typescript", "vue-compile", "vue"].map((name) => `src/${name}.ts`),
    outdir: folder,
    outExtension: { ".js": ".cjs" },
    bundle: true,
    minify: true,
    format: "cjs",
    // Not "node": its builds of Vue are CommonJS, of which nothing can be left out.
    platform: "neutral",
    conditions: ["module"],
    mainFields: ["module", "main"],
    external: [...builtinModules, "node:*"],
    target: "node18",
    define: {
      "process.env.NODE_ENV": '"development"', // Vue's warnings, and the events that a test sees
      __VUE_OPTIONS_API__: "true",
      __VUE_PROD_DEVTOOLS__: "false",
      __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false",
    },
    charset: "utf8",
    legalComments: "none", // the licences are in THIRD-PARTY.txt
    metafile: true,
  });
  await writeFile(join(folder, "THIRD-PARTY.txt"), await licences(metafile));
}

async function licences(metafile) {
  const names = new Set();
  for (const path of Object.keys(metafile.inputs)) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path);
    if (found) for (const name of [found[1], ...(INSIDE[found[1]] ?? [])]) names.add(name);
  }
  const parts = ["The .cjs files here contain these packages, each under the licence that follows its name.\n"];
  for (const name of [...names].sort()) {
    const folder = join(here, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    if (!KNOWN_LICENCES.includes(license)) throw new Error(`${name} is under ${license}: look at it before bundling it`);
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    if (!file) throw new Error(`${name} has no licence file`);
    const text = (await readFile(join(folder, file), "utf8")).replaceAll("\r\n", "\n").trim();
    parts.push(`${"=".repeat(78)}\n${name} ${version}\n\n${text}\n`);
  }
  return parts.join("\n");
}

async function differences(fresh) {
  const names = new Set([...(await readdir(fresh)), ...(await readdir(dist).catch(() => []))]);
  const different = [];
  for (const name of [...names].sort()) {
    const [a, b] = await Promise.all([fresh, dist].map((folder) => readFile(join(folder, name)).catch(() => null)));
    if (!a || !b || !a.equals(b)) different.push(name);
  }
  return different;
}

if (process.argv.includes("--check")) {
  const fresh = await mkdtemp(join(tmpdir(), "acepilot-eval-runtime-"));
  try {
    await buildInto(fresh);
    const different = await differences(fresh);
    if (different.length > 0) {
      console.error(`dist/ does not agree with src/: ${different.join(", ")}. Run: npm run build`);
      process.exitCode = 1;
    } else {
      console.log("dist/ agrees with src/");
    }
  } finally {
    await rm(fresh, { recursive: true });
  }
} else {
  await rm(dist, { recursive: true, force: true });
  await mkdir(dist);
  await buildInto(dist);
  console.log("built dist/");
}
