//! Publishing to the local store and, from there, to the providers of the settings: nothing is sent twice.
//!
//! ```text
//! publish ──► local commit ──► what the first provider has not confirmed ──► delivery ──► record
//!                        └──► the second provider, and everything that was left: caught up in the background
//! ```
//!
//! The local store is the source of truth and is always kept. A provider gets what is not recorded as confirmed by it. Two
//! callers that want the same file published share one upload. When [`Publisher::publish`] returns, the first provider has
//! confirmed every file, unless `mint_unpublished` says that this can wait.

mod copy;

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use fail::fail_point;
use futures_util::StreamExt as _;
use prometheus::Registry;

pub(super) use copy::Copy;
pub use copy::CopyStatus;

use super::{
    Content, ContentId, NowMs, PublishError, Publisher,
    delivery::{Delivery, Item, graver},
    kubo::Kubo,
    local::LocalContent,
    pinata::Pinata,
    remote::{Place, Remote, RemoteError},
    verify::Gateway,
};
use copy::{Claim, Meter};

/// Files that others may have published, remembered at most; beyond it they are sent once more.
const MAX_TOLD: usize = 10_000;
/// Files that are caught up in one go, and bytes, beyond which no further file is added: bounds memory.
const CATCH_UP: usize = 256;
const CATCH_UP_BYTES: usize = 32 << 20;

/// What the venue chose.
#[derive(Clone, Debug, Default)]
pub struct PublishSettings {
    /// Where everything must be published before it is minted; none for the local store alone.
    pub first: Option<Place>,
    /// Where it is published as well, in the background.
    pub second: Option<Place>,
    /// Minting does not wait for the first.
    pub mint_unpublished: bool,
    /// Gateway through which published files are looked at; none to ask the providers themselves.
    pub gateways: Vec<Gateway>,
}

/// The publisher. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Replicated {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) local: LocalContent,
    pub(super) copies: Vec<Copy>,
    mint_unpublished: bool,
    pub(super) gateways: Vec<Gateway>,
    pub(super) now_ms: NowMs,
    /// Files that others say they have published.
    told: Mutex<HashSet<ContentId>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&self.copies).finish()
    }
}

impl Replicated {
    /// A publisher over a local store. `now_ms` tells the time.
    ///
    /// # Errors
    /// When the store cannot be written, or no HTTP client can be set up.
    pub async fn open(
        local: LocalContent,
        settings: PublishSettings,
        now_ms: impl Fn() -> i64 + Send + Sync + 'static,
        registry: &Registry,
    ) -> Result<Self, PublishError> {
        let now_ms: NowMs = Arc::new(now_ms);
        let meters = Meter::vectors(registry).map_err(PublishError::Metrics)?;
        let places = settings.first.into_iter().chain(settings.second);
        let remotes: Vec<Arc<dyn Remote>> =
            places.map(|place| connect(&place, &now_ms)).collect::<Result<_, RemoteError>>()?;
        let accounts = remotes.iter().map(|remote| remote.account().to_owned()).collect();
        let rows = local.publishers(accounts).await?;
        let copies = rows.into_iter().zip(remotes).map(|(row, remote)| {
            let meter = Meter::of(&meters, remote.provider());
            Copy::new(row, Delivery::new(remote), meter)
        });
        let shared = Shared {
            local,
            copies: copies.collect(),
            mint_unpublished: settings.mint_unpublished,
            gateways: settings.gateways,
            now_ms,
            told: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The provider that must confirm what is minted, with its endpoint and account; none when everything stays on this box.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.shared.copies.first().map(|copy| copy.delivery.remote.account())
    }

    /// How many providers there are.
    #[must_use]
    pub fn providers(&self) -> usize {
        self.shared.copies.len()
    }

    /// Files that were sent to all providers since the start of this process, and files that were to be sent and were there
    /// already.
    #[must_use]
    pub fn uploads(&self) -> (u64, u64) {
        self.shared.copies.iter().fold((0, 0), |(files, saved), copy| {
            (files.saturating_add(copy.meter.files.get()), saved.saturating_add(copy.meter.saved_files.get()))
        })
    }

    /// Publishes what a provider has not confirmed yet. Returns how many files it has confirmed now.
    ///
    /// # Errors
    /// What keeps the rest from being published.
    pub async fn catch_up(&self, provider: usize) -> Result<u64, PublishError> {
        match self.shared.copies.get(provider) {
            Some(copy) => self.shared.catch_up(copy).await,
            None => Ok(0),
        }
    }

    /// Waits until a provider has something to catch up.
    pub async fn work(&self, provider: usize) {
        match self.shared.copies.get(provider) {
            Some(copy) => copy.work.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Asks every provider something cheap; the first fault.
    ///
    /// # Errors
    /// What keeps a provider from being used.
    pub async fn check(&self) -> Result<(), PublishError> {
        for copy in &self.shared.copies {
            let remote = &copy.delivery.remote;
            let told = |source| PublishError::Remote { provider: remote.provider(), source };
            copy.delivery.asked(remote.check()).await.map_err(told)?;
        }
        Ok(())
    }

    /// How the providers are, in the order of the settings.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn status(&self) -> Result<Vec<CopyStatus>, PublishError> {
        let mut status = Vec::new();
        for (place, copy) in (0_usize..).zip(&self.shared.copies) {
            let remote = &copy.delivery.remote;
            status.push(CopyStatus {
                provider: remote.provider(),
                host: remote.host().to_owned(),
                required: place == 0 && !self.shared.mint_unpublished,
                health: copy.delivery.health(),
                unpublished: self.shared.local.count_open(copy.row).await?,
                totals: self.shared.local.totals(copy.row).await?,
            });
        }
        Ok(status)
    }
}

fn connect(place: &Place, now_ms: &NowMs) -> Result<Arc<dyn Remote>, RemoteError> {
    Ok(match place {
        Place::Kubo { url, token } => Arc::new(Kubo::new(url, token.clone(), NowMs::clone(now_ms))?),
        Place::Pinata { api, uploads, jwt } => Arc::new(Pinata::new(api, uploads, jwt.clone(), now_ms)?),
    })
}

#[async_trait]
impl Publisher for Replicated {
    async fn publish(&self, mut contents: Vec<Content>) -> Result<(), PublishError> {
        let shared = &self.shared;
        let mut known = HashSet::new();
        contents.retain(|content| known.insert(content.id));
        let copy = shared.copies.first();
        let open = shared.local.keep(contents.clone(), copy.map(|copy| copy.row)).await?;
        let Some(copy) = copy else { return Ok(()) };
        copy.expect(&open);
        if !shared.mint_unpublished {
            match shared.bring(copy, among(&open, contents.clone())).await {
                Err(PublishError::Remote { provider, source }) => {
                    let missing = shared.local.open_among(copy.row, open).await?;
                    return Err(PublishError::Unpublished { provider, source, missing });
                }
                brought => drop(brought?),
            }
        }
        for copy in shared.copies.iter().skip(usize::from(!shared.mint_unpublished)) {
            copy.work.notify_one();
        }
        shared.count_saved(copy, &contents).await
    }

    async fn fetch(&self, id: ContentId) -> Result<Option<Content>, PublishError> {
        self.shared.local.fetch(id).await
    }

    fn waits_for_others(&self) -> bool {
        self.providers() > 0 && !self.shared.mint_unpublished
    }

    fn may_be_there(&self, ids: Vec<ContentId>) {
        let mut told = self.shared.told.lock().unwrap_or_else(PoisonError::into_inner);
        // Some may be confirmed already, and are never asked for again.
        if told.len() > MAX_TOLD {
            told.clear();
        }
        told.extend(ids.into_iter().take(MAX_TOLD));
    }

    async fn publish_ahead(&self, contents: Vec<Content>) {
        let shared = &self.shared;
        let Some(copy) = shared.copies.first() else { return };
        if let Ok(open) = shared.local.keep(contents.clone(), Some(copy.row)).await {
            copy.expect(&open);
            drop(shared.bring(copy, among(&open, contents)).await);
        }
    }
}

/// Those of some files that are open.
fn among(open: &[ContentId], mut contents: Vec<Content>) -> Vec<Content> {
    let open: HashSet<&ContentId> = open.iter().collect();
    contents.retain(|content| open.contains(&content.id));
    contents
}

impl Shared {
    /// Sees to it that a provider confirms some files, and records it. Files that somebody else is sending are waited for. A
    /// file that is refused is told of when all others are there.
    pub(super) async fn bring(&self, copy: &Copy, files: Vec<Content>) -> Result<u64, PublishError> {
        let mut wanted = files;
        let (mut brought, mut refused) = (0_u64, None);
        loop {
            let landed = copy.landed.notified();
            tokio::pin!(landed);
            landed.as_mut().enable();
            let (claim, others) = copy.claim(wanted);
            if !claim.files.is_empty() {
                let (sent, fault) = self.send(copy, &claim).await?;
                brought = brought.saturating_add(sent);
                refused = fault.map(|fault| graver(refused.take(), fault)).or(refused);
            }
            drop(claim);
            if others.is_empty() || refused.as_ref().is_some_and(|fault| !fault.is_of_files()) {
                return match refused {
                    Some(source) => Err(PublishError::Remote { provider: copy.delivery.remote.provider(), source }),
                    None => Ok(brought),
                };
            }
            landed.await;
            let ids = others.iter().map(|file| file.id).collect();
            wanted = among(&self.local.open_among(copy.row, ids).await?, others);
        }
    }

    /// How many files a provider has confirmed, and why not the others.
    async fn send(&self, copy: &Copy, claim: &Claim<'_>) -> Result<(u64, Option<RemoteError>), PublishError> {
        let ids = claim.files.iter().map(|file| file.id).collect();
        let begun = self.local.begin(copy.row, ids).await?;
        let items = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let item = |content: &Content| {
                let may_be_there = *begun.get(&content.id)? | told.remove(&content.id);
                Some(Item { content: content.clone(), may_be_there })
            };
            claim.files.iter().filter_map(item).collect()
        };
        let (mut fault, mut brought) = (None, 0_u64);
        // What has arrived together is recorded together.
        let mut outcomes = copy.delivery.send(items).ready_chunks(CATCH_UP);
        while let Some(some) = outcomes.next().await {
            let (mut confirmed, mut requests) = (Vec::new(), 0_u64);
            for delivered in some {
                confirmed.extend(delivered.confirmed);
                requests = requests.saturating_add(delivered.requests);
                fault = delivered.fault.map(|later| graver(fault.take(), later)).or(fault);
            }
            brought = brought.saturating_add(confirmed.len() as u64);
            copy.meter.confirmed(&confirmed, requests);
            fail_point!("publish.confirmed");
            if !confirmed.is_empty() || requests > 0 {
                self.local.confirm(copy.row, confirmed, requests, (self.now_ms)()).await?;
            }
        }
        Ok((brought, fault))
    }

    async fn catch_up(&self, copy: &Copy) -> Result<u64, PublishError> {
        self.local.register_all(copy.row).await?;
        let (mut after, mut brought, mut refused) = (String::new(), 0_u64, None);
        loop {
            let open = self.local.next_open(copy.row, after, CATCH_UP).await?;
            let Some(last) = open.last() else { return refused.map_or(Ok(brought), Err) };
            after = last.to_string();
            let (more, fault) = self.bring_kept(copy, open).await?;
            brought = brought.saturating_add(more);
            refused = refused.or(fault);
        }
    }

    /// Brings files of the local store, a few of them at a time. Those behind one that is refused are none the worse for it:
    /// its fault is told when they are there.
    pub(super) async fn bring_kept(
        &self,
        copy: &Copy,
        ids: Vec<ContentId>,
    ) -> Result<(u64, Option<PublishError>), PublishError> {
        let (mut brought, mut refused) = (0_u64, None);
        let mut ids = ids.into_iter().peekable();
        while ids.peek().is_some() {
            let (mut files, mut bytes) = (Vec::new(), 0_usize);
            while bytes < CATCH_UP_BYTES {
                let Some(id) = ids.next() else { break };
                // A file that is lost here too cannot be sent; reconciliation tells of it.
                let Some(file) = self.local.fetch(id).await?.filter(Content::is_sound) else { continue };
                bytes = bytes.saturating_add(file.bytes.len());
                files.push(file);
            }
            match self.bring(copy, files).await {
                Ok(more) => brought = brought.saturating_add(more),
                Err(error) if error.is_of_files() => refused = refused.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        Ok((brought, refused))
    }

    /// Counts what was there already when it was asked for.
    async fn count_saved(&self, copy: &Copy, contents: &[Content]) -> Result<(), PublishError> {
        let (files, bytes) = copy.there_already(contents);
        if files == 0 {
            return Ok(());
        }
        copy.meter.saved_files.inc_by(files);
        copy.meter.saved_bytes.inc_by(bytes);
        self.local.saved(copy.row, files, bytes).await
    }
}
