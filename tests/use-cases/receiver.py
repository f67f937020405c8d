"""Receives messages of boxoffice, verifies their signatures as Standard Webhooks 1.0 has it, and writes each down.

Usage: receiver.py SECRET FILE    prints its address first; a message whose signature is not right is answered with 401."""

import base64
import hashlib
import hmac
import http.server
import sys
import time

secret, file = sys.argv[1:]
key = base64.b64decode(secret.removeprefix("whsec_"))


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        name, at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        digest = hmac.new(key, f"{name}.{at}.{body}".encode(), hashlib.sha256).digest()
        wanted = "v1," + base64.b64encode(digest).decode()
        signatures = self.headers["webhook-signature"].split(" ")
        right = any(hmac.compare_digest(wanted, signature) for signature in signatures)
        fresh = abs(time.time() - int(at)) < 300
        if right and fresh:
            with open(file, "a") as messages:
                messages.write(body + "\n")
        self.send_response(204 if right and fresh else 401)
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
print(f"http://127.0.0.1:{server.server_port}/hook", flush=True)
server.serve_forever()
