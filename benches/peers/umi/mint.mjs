// Mints tickets as a venue's own script would, with Metaplex's Umi: a transaction for each, sent and awaited, so many at once.
//   node mint.mjs RPC_URL WEBSOCKET_URL KEY_FILE TICKETS AT_ONCE GAP_MS
// Prints what it believes it minted, and how long that took from the first to the last, as JSON. Start-up is not counted.
import { readFile } from 'node:fs/promises';
import { createNft, mplTokenMetadata } from '@metaplex-foundation/mpl-token-metadata';
import { generateSigner, keypairIdentity, percentAmount } from '@metaplex-foundation/umi';
import { createUmi } from '@metaplex-foundation/umi-bundle-defaults';
import { Connection } from '@solana/web3.js';

const [rpc, websocket, keyFile, ...numbers] = process.argv.slice(2);
const [tickets, atOnce, gap] = numbers.map(Number);
const commitment = 'confirmed';
const umi = createUmi(new Connection(rpc, { commitment, wsEndpoint: websocket })).use(mplTokenMetadata());
const secret = Uint8Array.from(JSON.parse(await readFile(keyFile, 'utf8')));
umi.use(keypairIdentity(umi.eddsa.createKeypairFromSecretKey(secret)));

async function mint(number) {
  const ticket = createNft(umi, {
    mint: generateSigner(umi),
    name: `Winter Gala #${number}`,
    uri: `https://tickets.example/winter-gala/${String(number).padStart(28, '0')}.json`,
    sellerFeeBasisPoints: percentAmount(0),
  });
  const { result } = await ticket.sendAndConfirm(umi, { send: { preflightCommitment: commitment }, confirm: { commitment } });
  if (result.value.err) throw new Error(JSON.stringify(result.value.err));
}

const faults = {};
let minted = 0;
const note = (fault) => {
  const words = String(fault?.message ?? fault).split('\n')[0].slice(0, 120);
  faults[words] = (faults[words] ?? 0) + 1;
};
// web3.js asks for statuses beside the subscription, and lets a refusal of that escape; it would end the whole run.
process.on('unhandledRejection', note);
const began = performance.now();
for (let first = 1; first <= tickets; first += atOnce) {
  const group = Array.from({ length: Math.min(atOnce, tickets - first + 1) }, (_, n) => mint(first + n));
  for (const outcome of await Promise.allSettled(group)) {
    if (outcome.status === 'fulfilled') minted += 1;
    else note(outcome.reason);
  }
  if (gap > 0 && first + atOnce <= tickets) await new Promise((resolve) => setTimeout(resolve, gap));
}
console.log(JSON.stringify({ minted, seconds: (performance.now() - began) / 1000, faults }));
process.exit(0);
