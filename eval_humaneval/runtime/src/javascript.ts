// Converts modules to CommonJS and removes TypeScript's types. Line numbers do not change.

import { transform } from "sucrase";

export function javascriptOf(source: string, of: { filename: string; typescript: boolean }): string {
  return transform(source, {
    transforms: of.typescript ? ["typescript", "imports"] : ["imports"],
    disableESTransforms: true,
    filePath: of.filename,
  }).code;
}
