// Verifies a message with the library of Standard Webhooks and prints its payload; throws if the signature is not right.
// usage: node verify_webhook.mjs SECRET < {"headers": {…}, "body": "…"}
import { readFileSync } from 'node:fs';
import { Webhook } from 'standardwebhooks';

const { headers, body } = JSON.parse(readFileSync(0, 'utf8'));
console.log(JSON.stringify(new Webhook(process.argv[2]).verify(body, headers)));
