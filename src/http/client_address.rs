//! Where a request comes from: the other end of the connection, or, if that is a proxy named in `TRUSTED_PROXIES`, whom it
//! speaks for.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{Request, State},
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use ipnet::IpNet;

use super::{Api, server::Peer};

/// The client of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// Its address.
    pub(super) address: IpAddr,
    /// A trusted proxy speaks for it. If that does not say for whom, the address is the proxy's.
    pub(super) proxied: bool,
}

/// Finds out who asks, for all that follows.
pub(super) async fn find(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip());
    let client = client(peer, request.headers(), &api.app.config.trusted_proxies);
    request.extensions_mut().insert(client);
    next.run(request).await
}

/// Reads `X-Forwarded-For` from its end, where the proxy nearest to us wrote, until an address that is no trusted proxy's.
/// What stands further left was sent by that client itself, and means nothing.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    let peer = peer.to_canonical();
    let is_trusted = |address: &IpAddr| contains(trusted, *address);
    if !is_trusted(&peer) {
        return Client { address: peer, proxied: false };
    }
    let mut address = peer;
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(',')).map(str::trim);
    for hop in hops {
        // A hop that is no address was not written by a proxy that is worth trusting: it ends the chain.
        let Some(hop) = hop_address(hop) else { break };
        address = hop.to_canonical();
        if !is_trusted(&address) {
            break;
        }
    }
    Client { address, proxied: true }
}

/// A hop as proxies write it: an address, some with the port behind it.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bracketed = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']'));
    let address = bracketed.map_or_else(|| hop.parse().ok(), |hop| hop.parse().ok().map(IpAddr::V6));
    address.or_else(|| hop.parse::<SocketAddr>().ok().map(|hop| hop.ip()))
}

/// Whether one of the networks has an address.
pub(super) fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address_of(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        client(peer.parse().unwrap(), &headers, &trusted).address.to_string()
    }

    #[test]
    fn a_stranger_speaks_for_nobody() {
        assert_eq!(address_of("203.0.113.9", &["10.0.0.1"], &[]), "203.0.113.9");
        assert_eq!(address_of("203.0.113.9", &["10.0.0.1"], &["127.0.0.1/32"]), "203.0.113.9");
    }

    #[test]
    fn a_trusted_proxy_is_believed_as_far_as_it_saw() {
        let proxies = ["127.0.0.1/32", "10.0.0.0/8"];
        assert_eq!(address_of("127.0.0.1", &["203.0.113.9"], &proxies), "203.0.113.9");
        // Whatever the client itself put in front does not count, in one line or in several.
        assert_eq!(address_of("127.0.0.1", &["192.168.0.1, 203.0.113.9"], &proxies), "203.0.113.9");
        assert_eq!(address_of("127.0.0.1", &["192.168.0.1", "203.0.113.9, 10.1.1.1"], &proxies), "203.0.113.9");
        assert_eq!(address_of("127.0.0.1", &["203.0.113.9, nonsense"], &proxies), "127.0.0.1");
        assert_eq!(address_of("127.0.0.1", &[], &proxies), "127.0.0.1");
        assert_eq!(address_of("::ffff:127.0.0.1", &["::ffff:203.0.113.9"], &proxies), "203.0.113.9");
        for (hop, address) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[::ffff:203.0.113.9]:1", "203.0.113.9"),
            ("[203.0.113.9]", "127.0.0.1"),
            ("203.0.113.9:", "127.0.0.1"),
            ("203.0.113.9:99999", "127.0.0.1"),
        ] {
            assert_eq!(address_of("127.0.0.1", &[hop], &proxies), address, "{hop}");
        }
    }
}
