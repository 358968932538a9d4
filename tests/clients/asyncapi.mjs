// A description of AsyncAPI, checked by its own parser (`@asyncapi/parser`), and messages held against it by `ajv`: node asyncapi.mjs FOLDER.
// FOLDER has node_modules.
//
// Reads {"document":TEXT,"samples":[{"message":NAME,"payload":ANY},...]} and writes {"complaints":[TEXT,...]}.

import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';

const require = createRequire(`${process.argv[2]}/`);
const { Parser } = require('@asyncapi/parser');
const Ajv = require('ajv').default;
const addFormats = require('ajv-formats').default;

/** Of a parser's diagnostics: errors and warnings. */
const SEVERITY_WARNING = 1;

const { document: source, samples } = JSON.parse(await text(process.stdin));
const { document, diagnostics } = await new Parser().parse(source);
const complaints = diagnostics
  .filter(({ severity }) => severity <= SEVERITY_WARNING)
  .map(({ path, message }) => `${path.join('.')}: ${message}`);

if (document) {
  const ajv = new Ajv({ strict: false });
  addFormats(ajv);
  // Of OpenAPI's registry; numbers of JavaScript would not hold it.
  ajv.addFormat('uint64', true);
  const messages = new Map(document.allMessages().all().map((message) => [message.name(), message]));
  for (const { message, payload } of samples) {
    const validate = ajv.compile(messages.get(message).payload().json());
    if (!validate(payload)) complaints.push(`${message}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(payload)}`);
  }
}
console.log(JSON.stringify({ complaints }));
