# What the use cases share: a chain and a box of their own in a temporary folder, and the end of both. To be sourced, with
# $program set, and $chain_program if the program itself has no chain. A use case says what it does, and ends with another code than 0 as soon as something is not as it should be.
set -euo pipefail
for tool in curl jq python3; do
  command -v $tool >/dev/null || { echo "this needs $tool" >&2; exit 2; }
done
program=$(realpath "$program")
chain_program=$(realpath "${chain_program:-$program}")
folder=$(mktemp -d)
box=
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$folder"' EXIT

say() { printf '\n== %s\n' "$*"; }
fail() { echo "FAILED: $*" >&2; tail -n 20 "$folder"/*.log >&2; exit 1; }
# expect WHAT ACTUAL WANTED
expect() { [ "$2" = "$3" ] || fail "$1 is $2, and should be $3"; }

# await WHAT SECONDS COMMAND…: until the command succeeds.
await() {
  local what=$1 seconds=$2
  shift 2
  for _ in $(seq $((seconds * 5))); do
    "$@" && return
    sleep 0.2
  done
  fail "$what did not come within $seconds s"
}

# start_chain SOL: a local chain, and a wallet with so much money on it.
start_chain() {
  wallet=$("$chain_program" keygen "$folder/wallet.json" 2>/dev/null)
  "$chain_program" localnet --rpc-port 0 --ws-port 0 --fund "$wallet=$1" >"$folder/chain.log" 2>&1 &
  await 'the chain' 60 grep -qs '^RPC ' "$folder/chain.log"
  rpc=$(sed -n 's/^RPC \([^ ]*\) .*/\1/p' "$folder/chain.log")
}

# start_box [SETTING=VALUE…]: the whole program, with its books in $folder/data.
start_box() {
  env -i HOME="$folder" PATH="$PATH" NETWORK=localnet SOLANA_RPC_URLS="$rpc" WALLET_PATH="$folder/wallet.json" \
    DATA_DIR="$folder/data" PORT=0 LOG_LEVEL=warn RATE_LIMIT_MAX=off RATE_LIMIT_READ_MAX=off "$@" \
    "$program" serve 2>"$folder/box.log" &
  box=$!
  await 'the box' 60 grep -qs '^Listening on ' "$folder/box.log"
  url=$(sed -n 's/^Listening on //p' "$folder/box.log")
}

stop_box() { kill "$box" && wait "$box"; }

get() { curl -sSf "$url$1"; }
# post PATH [FILE]
post() { curl -sSf "$url$1" -H 'content-type: application/json' --data-binary "@${2:-/dev/null}"; }

# ask_chain METHOD PARAMETERS: asks the chain itself, past the box.
ask_chain() {
  curl -sSf "$rpc" -H 'content-type: application/json' -d "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"$1\",\"params\":$2}" |
    jq -e 'if .error then error(.error.message) else .result end'
}

balance() { ask_chain getBalance "[\"$wallet\",{\"commitment\":\"confirmed\"}]" | jq .value; }

# NFTs that the wallet holds, as the chain has it.
nfts() {
  ask_chain getTokenAccountsByOwner "[\"$wallet\",{\"programId\":\"TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA\"},
    {\"encoding\":\"jsonParsed\",\"commitment\":\"confirmed\"}]" |
    jq '[.value[] | select(.account.data.parsed.info.tokenAmount.amount == "1")] | length'
}

# batch VENUE EVENT PREFIX COUNT: the body of a batch-mint request.
batch() {
  jq -cn --arg venue "$1" --arg event "$2" --arg prefix "$3" --argjson count "$4" '{ venueId: $venue, tickets: [range($count) |
    { id: "\($prefix)-\(. + 1)", eventId: $event, userId: "user-\(. + 1)", ticketData: { eventName: "Concert",
      eventDate: "2026-12-01", venue: "Stadium", tier: "Standing", seatNumber: "A\(. + 1)" } }] }'
}
