// Reads a CAR file with the tools of IPLD and IPFS: every block must hash to its address, and every file is read from the
// roots down.
// usage: node car.mjs FILE     prints {roots: [cid…], blocks, files: {cid: sha256 of the bytes, in hex}}
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { CarBlockIterator } from '@ipld/car';
import { MemoryBlockstore } from 'blockstore-core';
import { exporter } from 'ipfs-unixfs-exporter';

const [file] = process.argv.slice(2);
const car = await CarBlockIterator.fromIterable(createReadStream(file));
const store = new MemoryBlockstore();
let blocks = 0;
for await (const { cid, bytes } of car) {
  const digest = createHash('sha256').update(bytes).digest();
  if (cid.multihash.code !== 0x12 || !digest.equals(cid.multihash.digest)) throw new Error(`${cid} has other bytes`);
  await store.put(cid, bytes);
  blocks += 1;
}
const roots = await car.getRoots();
const files = {};
async function read(cid, name) {
  const entry = await exporter(cid, store);
  if (entry.type === 'directory') {
    for await (const below of entry.entries()) await read(below.cid, below.name);
    return;
  }
  if (entry.cid.toString() !== name) throw new Error(`${entry.cid} is called ${name}`);
  const hash = createHash('sha256');
  for await (const part of entry.content()) hash.update(part);
  files[name] = hash.digest('hex');
}
for (const root of roots) await read(root, '');
console.log(JSON.stringify({ roots: roots.map(String), blocks, files }));
