// Modules to CommonJS, types out of TypeScript; lines stay where they are.

import { transform } from "sucrase";

export function javascriptOf(source: string, of: { filename: string; typescript: boolean }): string {
  return transform(source, {
    transforms: of.typescript ? ["typescript", "imports"] : ["imports"],
    disableESTransforms: true,
    filePath: of.filename,
  }).code;
}
