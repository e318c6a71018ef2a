import tseslint from "typescript-eslint";

export default tseslint.config(...tseslint.configs.strictTypeChecked, {
  languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
  rules: {
    // Numbers in messages are fine: they are versions, ports and counts.
    "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
  },
});
