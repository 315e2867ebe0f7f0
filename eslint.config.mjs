import js from '@eslint/js';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['**/node_modules/**', '.venv/**', 'labextension/shoal_lab/**', 'kernel/**'] },
  js.configs.recommended,
  {
    files: ['labextension/src/**/*.{ts,tsx}'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { project: './labextension/tsconfig.json', tsconfigRootDir: import.meta.dirname } },
    rules: {
      // The records of this project are checked by hand before they are narrowed.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // Command ids are grouped in a namespace, as everywhere in JupyterLab.
      '@typescript-eslint/no-namespace': 'off',
      // `void f()` marks a promise that nobody waits for.
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true, ignoreVoidOperator: true }],
      '@typescript-eslint/no-meaningless-void-operator': 'off',
      '@typescript-eslint/dot-notation': 'off',
      'max-lines': ['error', { max: 400 }],
      'max-lines-per-function': ['warn', { max: 120, skipBlankLines: true, skipComments: true }],
      eqeqeq: 'error',
      'no-restricted-globals': ['error', { name: 'fetch', message: 'Only request.ts talks to the server.' }]
    }
  },
  {
    files: ['**/*.config.js', 'tools/**/*.mjs'],
    languageOptions: { globals: { require: 'readonly', module: 'readonly', __dirname: 'readonly', console: 'readonly', process: 'readonly' } },
    rules: { '@typescript-eslint/no-require-imports': 'off' }
  }
);
