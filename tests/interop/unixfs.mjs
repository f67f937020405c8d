// Gives the files of a folder, and the folder, the addresses that IPFS's own JavaScript importer finds for them.
// usage: node unixfs.mjs FOLDER     prints {"name": [cid, cumulative size], …}; the folder itself is ""
import { readFile, readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { MemoryBlockstore } from 'blockstore-core';
import { importer } from 'ipfs-unixfs-importer';
import { fixedSize } from 'ipfs-unixfs-importer/chunker';
import { balanced } from 'ipfs-unixfs-importer/layout';

const [folder] = process.argv.slice(2);
const entries = await readdir(folder, { recursive: true, withFileTypes: true });
const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
// What `ipfs add --cid-version=1 --raw-leaves` does with Kubo's defaults.
const options = {
  cidVersion: 1,
  rawLeaves: true,
  chunker: fixedSize({ chunkSize: 262144 }),
  layout: balanced({ maxChildrenPerNode: 174 }),
  wrapWithDirectory: true,
};
async function* candidates() {
  for (const file of files) yield { path: relative(folder, file), content: await readFile(file) };
}
const found = {};
for await (const { path, cid, size } of importer(candidates(), new MemoryBlockstore(), options)) {
  found[path ?? ''] = [cid.toString(), Number(size)];
}
console.log(JSON.stringify(found));
