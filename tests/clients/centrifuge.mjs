// `centrifuge` (npm) in Node, driven by JSON lines: node centrifuge.mjs FOLDER URL [TOKEN]. FOLDER has node_modules.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { drive } from './centrifuge/driver.mjs';

const [folder, url, token] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { Centrifuge } = require('centrifuge');

const say = (event, more) => process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
const command = drive({ Centrifuge, websocket: require('ws'), url, token, say });
createInterface({ input: process.stdin })
  .on('line', (line) => command(JSON.parse(line)))
  .on('close', () => process.exit(0));
