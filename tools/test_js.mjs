// Runs the JavaScript tests: each tests/**/*.test.mjs is bundled with the TypeScript that it imports, then given to
// Node's own test runner.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const tests = readdirSync('tests', { recursive: true })
  .filter(name => name.endsWith('.test.mjs'))
  .map(name => join('tests', name));
// Inside node_modules, where the bundles still find the packages that they leave outside.
const outdir = mkdtempSync(join('node_modules', '.tests-'));
try {
  await build({
    entryPoints: tests,
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    jsx: 'transform',
    packages: 'external',
    logLevel: 'warning'
  });
  const files = readdirSync(outdir, { recursive: true }).filter(name => name.endsWith('.mjs'));
  const done = spawnSync(process.execPath, ['--test', '--test-reporter=spec', ...files.map(name => join(outdir, name))], { stdio: 'inherit' });
  process.exitCode = done.status ?? 1;
} finally {
  rmSync(outdir, { recursive: true });
}
