"""Damages books and chain behind the back of boxoffice, as no program would.

Usage: damage.py DATA_DIR RPC    4 tickets of the arena in books and content, 6 of the theatre in books and chain; says what."""

import base64
import json
import sqlite3
import sys
import urllib.request

folder, rpc = sys.argv[1:]
books = sqlite3.connect(f"{folder}/boxoffice.db", timeout=10, isolation_level=None)
content = sqlite3.connect(f"{folder}/content.db", timeout=10, isolation_level=None)


def ask(method, *params):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(rpc, body, {"content-type": "application/json"})
    answer = json.load(urllib.request.urlopen(request))
    assert "error" not in answer, answer
    return answer["result"]


def in_books(ticket, change, what):
    changed = books.execute(f"UPDATE mints SET {change} WHERE ticket_id = ?", [ticket]).rowcount
    assert changed == 1, ticket
    print(f"{ticket}: {what}")


GIVEN_UP = "status = 'failed', error_code = 'never_landed', signature = NULL, slot = NULL"
in_books("arena-1", GIVEN_UP, "the books say that it failed, although it landed")
in_books("arena-2", "slot = slot - 1", "the books have another slot")
in_books("arena-3", "name = 'Other'", "the books have another name")
(uri,) = books.execute("SELECT metadata_uri FROM mints WHERE ticket_id = 'arena-4'").fetchone()
assert content.execute("DELETE FROM content WHERE cid = ?", [uri.removeprefix("ipfs://")]).rowcount == 1
print("arena-4: its metadata is lost")

for number in range(1, 6):
    in_books(f"theatre-{number}", GIVEN_UP, "the books say that it failed, although it landed")
# The ticket's metadata is among the accounts of its transaction: the one that has the symbol in it, and names its mint behind
# a byte and the authority. Others of the same transaction belong to the tickets that rode along.
(signature, mint) = books.execute("SELECT signature, mint_address FROM mints WHERE ticket_id = 'theatre-6'").fetchone()
LETTERS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
number = 0
for letter in mint:
    number = number * 58 + LETTERS.index(letter)
mint = number.to_bytes(32, "big")
options = {"encoding": "json", "commitment": "confirmed", "maxSupportedTransactionVersion": 1}
for account in ask("getTransaction", signature, options)["transaction"]["message"]["accountKeys"]:
    value = ask("getAccountInfo", account, {"encoding": "base64", "commitment": "confirmed"})["value"]
    data = base64.b64decode(value["data"][0]) if value else b""
    if b"TKT" in data and data[33:65] == mint:
        changed = data.replace(b"TKT", b"XKT", 1).hex()
        ask("surfnet_setAccount", account, {"lamports": value["lamports"], "owner": value["owner"], "data": changed})
        print("theatre-6: the chain has another symbol")
        break
else:
    sys.exit("theatre-6 has no metadata on the chain")
