// What ../../dev/build_bundle.mjs builds here.

export const builds = [
  { entryPoints: { app: "src/main.ts" }, bundle: true, format: "esm", target: "es2022" },
  { entryPoints: { app: "src/style.css" }, target: "es2022" },
];
export const copied = ["index.html", "icon.svg"];
export const heading = "app.js contains";
export const licences = ["MIT"];
export const vendored = {};
