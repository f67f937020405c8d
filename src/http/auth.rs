//! Who may use `/admin`: clients from allowed addresses that know a key with a role that suffices.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, Uri},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::time::Instant;

use super::{
    Api, batches,
    client_address::{Client, contains},
    error::{Problem, text},
    limits::{Limit, Limited, network_of},
    tickets,
    writes::uri_of,
};
use crate::domain::access::{Actor, Role, key_digest};

const HEADER: &str = "x-admin-api-key";
/// What proxies add: behind one that is not named, strangers look like this machine.
const PROXY_HEADERS: [&str; 3] = ["x-forwarded-for", "forwarded", "via"];
/// Wrong keys that are looked at, whatever the other limits are.
const GUESSES: NonZeroU32 = NonZeroU32::new(10).unwrap();
const GUESS_WINDOW: Duration = Duration::from_mins(1);
/// How long a key that was right is looked at all the same.
const TRUST: Duration = Duration::from_mins(10);
/// Addresses remembered before those that matter no more are forgotten.
const MAX_REMEMBERED: usize = 10_000;

/// Lets those through who may do what they ask for, with their [`Actor`].
pub(super) async fn admit(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let client = client_of(&request);
    match decide(&api, client, request.method(), uri_of(&request), request.headers()).await {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// As [`admit`], but this machine and the addresses of `ALLOWED_IPS` need no key: for `/metrics`, which collectors read.
pub(super) async fn admit_collectors(State(api): State<Api>, request: Request, next: Next) -> Response {
    let client = client_of(&request);
    let allowed = &api.app.config.allowed_ips;
    // Behind a proxy that is not named, strangers look like this machine.
    let is_proxied = client.proxied || PROXY_HEADERS.iter().any(|name| request.headers().contains_key(*name));
    // A proxy that does not say for whom it speaks may speak for anyone.
    let is_known = !client.proxied || !contains(&api.app.config.trusted_proxies, client.address);
    if (is_known && contains(allowed, client.address))
        || (allowed.is_empty() && client.address.is_loopback() && !is_proxied)
    {
        return next.run(request).await;
    }
    admit(State(api), request, next).await
}

pub(super) fn client_of(request: &Request) -> Client {
    let nowhere = Client { address: IpAddr::from([0, 0, 0, 0]), proxied: false };
    request.extensions().get::<Client>().copied().unwrap_or(nowhere)
}

async fn decide(api: &Api, client: Client, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Actor, Problem> {
    let allowed = &api.app.config.allowed_ips;
    if !allowed.is_empty() && !contains(allowed, client.address) {
        return Err(Problem::forbidden(format!("{} is not in ALLOWED_IPS", client.address)));
    }
    refuse_other_sites(client, headers)?;
    let actor = authenticate(api, client, headers).await?;
    let is_safe = method.is_safe();
    if !is_safe && actor.role < Role::Operate {
        let detail = format!("the key {:?} has the role read, and this needs the role operate", actor.name);
        return Err(Problem::forbidden(detail));
    }
    let is_read = is_safe || only_looks(uri);
    let (limit, setting) =
        if is_read { (&api.limits.reads, "RATE_LIMIT_READ_MAX") } else { (&api.limits.writes, "RATE_LIMIT_MAX") };
    limit.check_all(api.app.fleet.as_ref(), setting, &actor.name, client.address).await.map_err(|limited| {
        Problem::too_many_requests(&format!("too many requests; {setting} is the limit"), limited)
    })?;
    Ok(actor)
}

/// Whether a request changes nothing though its method may: who corrects a file looks at it again and again.
fn only_looks(uri: &Uri) -> bool {
    let is_dry = || uri.query().is_some_and(|query| query.split('&').any(|part| part == "dryRun=true"));
    uri.path() == tickets::PATH || (uri.path() == batches::PATH && is_dry())
}

/// Refuses what a web page of someone else could make a browser send.
fn refuse_other_sites(client: Client, headers: &HeaderMap) -> Result<(), Problem> {
    let forwarded = text(headers, "x-forwarded-host").filter(|_| client.proxied);
    let host = forwarded.or_else(|| text(headers, "host")).unwrap_or_default();
    let origin = text(headers, "origin").map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
    let from_elsewhere = text(headers, "sec-fetch-site").is_some_and(|site| matches!(site, "cross-site" | "same-site"));
    if from_elsewhere || origin.is_some_and(|origin| origin != host) {
        return Err(Problem::forbidden("requests from other web sites are refused"));
    }
    Ok(())
}

async fn authenticate(api: &Api, client: Client, headers: &HeaderMap) -> Result<Actor, Problem> {
    let access = &api.app.access;
    let Some(given) = headers.get(HEADER) else {
        if access.needs_key().await? {
            return Err(Problem::unauthorized("this needs a key in the header x-admin-api-key"));
        }
        if client.proxied || PROXY_HEADERS.iter().any(|name| headers.contains_key(*name)) {
            let detail = "without a key the box answers this machine only, and this came through a proxy; give it one \
                          (`boxoffice key create` or ADMIN_API_KEY), and name the proxy in TRUSTED_PROXIES";
            return Err(Problem::forbidden(detail));
        }
        // The address bar is all that a web page lacks to come in, so the name the box was reached by must be this machine's.
        if !is_loopback(text(headers, "host").unwrap_or_default()) {
            let detail = "without a key the box answers on localhost only; this request was meant for another host";
            return Err(Problem::forbidden(detail));
        }
        return Ok(access.local());
    };
    let given = given.as_bytes();
    api.guesses.check(client.address, given).map_err(too_many_guesses)?;
    let actor = access.actor(given).await?;
    // Once more: of many that are looked at in the same moment, only the first few count.
    api.guesses.check(client.address, given).map_err(too_many_guesses)?;
    if actor.is_some() {
        api.guesses.trust(client.address, given);
    }
    actor.ok_or_else(|| {
        api.guesses.note(client.address);
        tracing::warn!(client = %client.address, "a wrong key was refused");
        Problem::unauthorized("the key in x-admin-api-key is not a key of this box")
    })
}

fn too_many_guesses(limited: Limited) -> Problem {
    Problem::too_many_wrong_keys(limited)
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.parse::<u16>().is_ok() { name } else { host });
    let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Addresses that sent too many wrong keys: for a while, none of theirs is looked at, so that even a short key cannot be
/// guessed. A key that was right there a short while ago still is: one forgotten device must not lock its neighbours out.
#[derive(Debug)]
pub(super) struct Guesses {
    budget: Limit,
    blocked: Mutex<HashMap<IpAddr, Instant>>,
    trusted: Mutex<HashMap<(IpAddr, [u8; 32]), Instant>>,
}

impl Default for Guesses {
    fn default() -> Self {
        let budget = Limit::new(Some(GUESSES), GUESS_WINDOW);
        Self { budget, blocked: Mutex::default(), trusted: Mutex::default() }
    }
}

impl Guesses {
    fn check(&self, address: IpAddr, key: &[u8]) -> Result<(), Limited> {
        let trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        if trusted.get(&(address, key_digest(key))).is_some_and(|at| at.elapsed() < TRUST) {
            return Ok(());
        }
        drop(trusted);
        let blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        let until = blocked.get(&network_of(address));
        let left = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        if left.is_zero() { Ok(()) } else { Err(Limited { retry_after: left }) }
    }

    fn trust(&self, address: IpAddr, key: &[u8]) {
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        if trusted.len() > MAX_REMEMBERED {
            trusted.retain(|_, at| at.elapsed() < TRUST);
        }
        trusted.insert((address, key_digest(key)), Instant::now());
    }

    fn note(&self, address: IpAddr) {
        let Err(Limited { retry_after }) = self.budget.check("", address) else { return };
        let now = Instant::now();
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        if blocked.len() > MAX_REMEMBERED {
            blocked.retain(|_, until| *until > now);
        }
        blocked.insert(network_of(address), now + retry_after);
    }
}
