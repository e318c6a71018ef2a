// TypeScript to JavaScript: types out, `import` and `export` to CommonJS; lines stay where they are.

import { transform } from "sucrase";

export function javascriptOf(source: string, filePath: string): string {
  return transform(source, { transforms: ["typescript", "imports"], disableESTransforms: true, filePath }).code;
}
