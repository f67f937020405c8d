// Reads NFTs with Metaplex's own client and prints what it sees, one JSON line each.
// usage: node read.mjs RPC_URL OWNER MINT...
import { createUmi } from '@metaplex-foundation/umi-bundle-defaults';
import { publicKey } from '@metaplex-foundation/umi';
import { TokenStandard, fetchDigitalAssetWithAssociatedToken, mplTokenMetadata } from '@metaplex-foundation/mpl-token-metadata';

const [rpc, owner, ...mints] = process.argv.slice(2);
const umi = createUmi(rpc, 'confirmed').use(mplTokenMetadata());
for (const mint of mints) {
  const asset = await fetchDigitalAssetWithAssociatedToken(umi, publicKey(mint), publicKey(owner));
  const { metadata, mint: account, edition, token } = asset;
  console.log(JSON.stringify({
    name: metadata.name,
    symbol: metadata.symbol,
    uri: metadata.uri,
    updateAuthority: metadata.updateAuthority,
    creators: metadata.creators.value,
    tokenStandard: TokenStandard[metadata.tokenStandard.value],
    edition: edition?.isOriginal,
    supply: Number(account.supply),
    decimals: account.decimals,
    owner: token.owner,
    amount: Number(token.amount),
  }));
}
