// Bundles src/ of the package in the working directory into its dist/, as its bundle.config.mjs describes.
// With --check: builds into a temporary folder and compares the result with dist/, byte for byte.

import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const here = process.cwd();
const dist = join(here, "dist");
const { build } = createRequire(join(here, "package.json"))("esbuild"); // the package's own version
const config = await import(pathToFileURL(join(here, "bundle.config.mjs")).href);

async function buildInto(folder) {
  const inputs = [];
  for (const options of config.builds) {
    const { metafile } = await build({
      ...options,
      absWorkingDir: here, // so that the output does not depend on the repository's location
      outdir: folder,
      minify: true,
      charset: "utf8",
      legalComments: "none", // the licences are in THIRD-PARTY.txt
      metafile: true,
    });
    inputs.push(...Object.keys(metafile.inputs));
  }
  for (const name of config.copied) await copyFile(join(here, "src", name), join(folder, name));
  await writeFile(join(folder, "THIRD-PARTY.txt"), await licencesOf(inputs));
}

async function licencesOf(inputs) {
  const names = new Set();
  for (const path of inputs) {
    const [, name] = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path) ?? [];
    if (name) for (const each of [name, ...(config.vendored[name] ?? [])]) names.add(each);
  }
  const parts = [`${config.heading} these packages, each under the licence that follows its name.\n`];
  for (const name of [...names].sort()) {
    const folder = join(here, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    if (!config.licences.includes(license)) {
      throw new Error(`${name} has the licence ${license}: check it, then add it to bundle.config.mjs`);
    }
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
  const fresh = await mkdtemp(join(tmpdir(), "acepilot-bundle-"));
  try {
    await buildInto(fresh);
    const different = await differences(fresh);
    if (different.length > 0) {
      console.error(`dist/ does not match src/: ${different.join(", ")}. Run: npm run build`);
      process.exitCode = 1;
    } else {
      console.log("dist/ matches src/");
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
