// Bundles the console into dist/: index.html, and assets/ whose names hold a hash of their content.
//   node build.mjs            once
//   node build.mjs --quiet    once, and says nothing but what is wrong
//   node build.mjs --watch    again with each change; a debug build of the daemon serves what is there

import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import * as esbuild from 'esbuild';

const DIST = 'dist';

/** Files whose names begin with a dot stay: git knows the folder by one. */
async function clear() {
  await mkdir(DIST, { recursive: true });
  const old = (await readdir(DIST)).filter((name) => !name.startsWith('.'));
  await Promise.all(old.map((name) => rm(`${DIST}/${name}`, { recursive: true })));
}

/** Names the files of this build in the page. */
const page = {
  name: 'page',
  setup(build) {
    build.onStart(clear);
    build.onEnd(async ({ errors, metafile }) => {
      if (errors.length > 0) return;
      const outputs = Object.entries(metafile.outputs);
      const [script, { cssBundle }] = outputs.find(([, output]) => output.entryPoint === 'src/main.tsx');
      const icon = outputs.find(([path]) => path.endsWith('.svg'))[0];
      const files = { SCRIPT: script, STYLE: cssBundle, ICON: icon };
      let html = await readFile('index.html', 'utf8');
      for (const [name, path] of Object.entries(files)) html = html.replace(`{${name}}`, `/assets/${basename(path)}`);
      await writeFile(`${DIST}/index.html`, html);
    });
  },
};

const watching = process.argv.includes('--watch');
const context = await esbuild.context({
  entryPoints: ['src/main.tsx', 'src/icon.svg'],
  outdir: `${DIST}/assets`,
  entryNames: '[name]-[hash]',
  chunkNames: '[name]-[hash]',
  assetNames: '[name]-[hash]',
  publicPath: '/assets',
  loader: { '.svg': 'copy' },
  bundle: true,
  splitting: true,
  format: 'esm',
  // Chromium, Firefox and Safari of 2022.
  target: ['es2022'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  minify: !watching,
  legalComments: 'none',
  metafile: true,
  logLevel: process.argv.includes('--quiet') ? 'warning' : 'info',
  plugins: [page],
});
if (watching) {
  await context.watch();
} else {
  await context.rebuild();
  await context.dispose();
}
