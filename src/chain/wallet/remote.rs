//! Keys that never are in this process: another machine signs, and its signatures are verified here before anything is done.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use solana_keychain::{AwsKmsSigner, SignerError as RemoteFault, SolanaSigner, VaultSigner};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use tokio::time::{Instant, timeout, timeout_at};

use super::{HalfSigned, RemoteSigner, SignError, SignedTransaction, SignerPlace, WalletError};

/// A signer that takes longer counts as away. What is signed must land while its blockhash lives, which is about 30 s.
const PATIENCE: Duration = Duration::from_secs(10);
/// Signatures that it is asked for at once.
const AT_ONCE: usize = 16;

/// A signer on another machine.
#[derive(Clone)]
pub(super) struct Remote {
    signer: Arc<dyn SolanaSigner>,
    settings: RemoteSigner,
}

impl Remote {
    /// Gets ready to ask it; nothing is asked yet.
    pub(super) async fn new(settings: RemoteSigner) -> Result<Self, WalletError> {
        let public_key = settings.public_key.to_string();
        let made: Result<Arc<dyn SolanaSigner>, RemoteFault> = match &settings.place {
            SignerPlace::Vault { url, token, key } => {
                let client = solana_keychain::vault::reqwest::Client::builder();
                let (url, token) = (url.to_string(), token.expose().to_owned());
                VaultSigner::with_client_builder(client, url, token, key.clone(), public_key)
                    .map(|it| Arc::new(it) as _)
            }
            // Region and credentials are those that Amazon's own tools find.
            SignerPlace::AwsKms { key } => {
                AwsKmsSigner::new(key.clone(), public_key, None).await.map(|it| Arc::new(it) as _)
            }
        };
        let unusable = |fault: RemoteFault| WalletError::Signer { signer: settings.to_string(), reason: detail(fault) };
        Ok(Self { signer: made.map_err(unusable)?, settings })
    }

    pub(super) fn address(&self) -> Pubkey {
        self.settings.public_key
    }

    /// Whether it answers, and its key is the one of the settings.
    pub(super) async fn is_ready(&self) -> bool {
        timeout(PATIENCE, self.signer.is_available()).await.unwrap_or(false)
    }

    /// Adds its signature to each where it is missing, several at once, in their order. None is asked for once one was not
    /// given, nor after [`PATIENCE`]: who limits is not pressed, and who is away is asked again later.
    pub(super) async fn complete(&self, half_signed: Vec<HalfSigned>) -> Vec<Result<SignedTransaction, SignError>> {
        let (until, given_up) = (Instant::now() + PATIENCE, AtomicBool::new(false));
        let given_up = &given_up;
        let each = half_signed.into_iter().map(async |half| {
            if given_up.load(Ordering::Relaxed) {
                return Err(self.fault("it did not sign others".into()));
            }
            let signed = self.complete_until(half, until).await;
            given_up.fetch_or(signed.is_err(), Ordering::Relaxed);
            signed
        });
        stream::iter(each).buffered(AT_ONCE).collect().await
    }

    /// Adds its signature where it is missing.
    pub(super) async fn complete_one(&self, half: HalfSigned) -> Result<SignedTransaction, SignError> {
        self.complete_until(half, Instant::now() + PATIENCE).await
    }

    async fn complete_until(&self, half: HalfSigned, until: Instant) -> Result<SignedTransaction, SignError> {
        let HalfSigned { signed, missing } = half;
        let Some((mut transaction, at)) = missing else { return Ok(signed) };
        let signature = self.sign(&transaction.message.serialize(), until).await?;
        if let Some(place) = transaction.signatures.get_mut(at) {
            *place = signature;
        }
        SignedTransaction::of(&transaction)
    }

    /// Asks for one signature, and believes none that is wrong.
    async fn sign(&self, message: &[u8], until: Instant) -> Result<Signature, SignError> {
        let answer = timeout_at(until, self.signer.sign_message(message)).await;
        let slow = |_elapsed| self.fault(format!("no answer within {} s", PATIENCE.as_secs()));
        let signature = answer.map_err(slow)?.map_err(|error| self.fault(detail(error)))?;
        if signature.verify(self.address().as_ref(), message) {
            return Ok(signature);
        }
        Err(self.fault(format!("its signature is not one of {}", self.address())))
    }

    fn fault(&self, reason: String) -> SignError {
        SignError::Remote { signer: self.settings.to_string(), reason, remedy: self.settings.remedy() }
    }
}

/// What went wrong, as the client of the signer says it: statuses and addresses, never what was sent.
fn detail(fault: RemoteFault) -> String {
    match fault {
        RemoteFault::RemoteApiError { detail, .. }
        | RemoteFault::SigningFailed(detail)
        | RemoteFault::HttpError(detail)
        | RemoteFault::SerializationError(detail)
        | RemoteFault::ConfigError(detail)
        | RemoteFault::InvalidPublicKey(detail)
        | RemoteFault::NotAvailable(detail) => detail,
        other @ (RemoteFault::InvalidPrivateKey(_)
        | RemoteFault::UserRejected(_)
        | RemoteFault::IoError(_)
        | RemoteFault::BroadcastUnconfirmed { .. }
        | RemoteFault::Other(_)) => other.to_string(),
    }
}
