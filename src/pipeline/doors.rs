//! Doors: who is let in, which certificate is shown and who is asked, in force and changed while the
//! daemon runs.
//!
//! A configuration comes in at the start and at each reload, and the certificate's files whenever they
//! change. What goes out: what the listeners look at for each connection and each request. Never does a
//! bad file take the place of a good one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::setup;
use super::troubles::{Kind, Trouble, Troubles};
use crate::clock::Clock;
use crate::config::{Config, Listen, Scope, Token};
use crate::internal_telemetry::happening::CertificateChanged;
use crate::listen::Door;
use crate::listen::origin::Hosts;
use crate::listen::tally::Tally;
use crate::listen::tls::{Files, Identity, Pems, Shown};
use crate::receive::pubsub_oidc::PubsubOidc;
use crate::serve::setup::Setup;
use crate::signal::{SecretHash, Timestamp};
use crate::{collect, listen, receive, serve};

/// How often the certificate's files are looked at. A certificate that was renewed days before its end
/// is shown long before anybody misses it.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often somebody is told that a certificate ends soon.
const EXPIRY_TOLD_EVERY: Duration = Duration::from_hours(24);

/// Cheap to clone; all clones change together.
#[derive(Clone, Debug)]
pub(super) struct Doors {
    pub(super) receive: Arc<ArcSwap<receive::Access>>,
    pub(super) serve: Arc<ArcSwap<serve::Access>>,
    pub(super) setup: Arc<ArcSwap<Setup>>,
    certificate: Option<Certificate>,
    limits: listen::Limits,
    /// Bounds that the listeners met.
    met: Arc<Tally>,
    deliveries: receive::Limits,
    collect: Arc<watch::Sender<collect::Config>>,
}

#[derive(Clone, Debug)]
struct Certificate {
    shown: Shown,
    files: Arc<Mutex<Files>>,
}

impl Doors {
    /// `descriptors`: how many files the process may open.
    pub(super) fn new(config: &Config, descriptors: u64) -> Self {
        Self {
            receive: Arc::new(ArcSwap::from_pointee(receive_access(config, None))),
            serve: Arc::new(ArcSwap::from_pointee(serve_access(config))),
            setup: Arc::new(ArcSwap::from_pointee(setup::of(config, Clock::wall().now()))),
            certificate: config.tls.as_ref().map(|tls| Certificate {
                shown: Shown::new(tls.identity.clone()),
                files: Arc::new(Mutex::new(tls.files.clone())),
            }),
            limits: listen::Limits::within(descriptors),
            met: Door::default().met,
            deliveries: receive::Limits::of_memory(config.memory_max_bytes),
            collect: Arc::new(watch::Sender::new(config.collect.clone())),
        }
    }

    /// Watches the certificate and asks those who do not push, until the daemon stops.
    pub(super) fn attend(
        self,
        shared: receive::Shared,
        troubles: Troubles,
        stopping: watch::Receiver<bool>,
    ) -> [JoinHandle<()>; 2] {
        let asking = collect::Shared {
            normalize: shared.normalize,
            clock: shared.clock.clone(),
            accepted: shared.accepted,
            stopping: stopping.clone(),
        };
        let collecting = tokio::spawn(collect::run(self.collect.subscribe(), asking));
        [tokio::spawn(self.watch(shared.clock, troubles, stopping)), collecting]
    }

    pub(super) fn door(&self) -> Door {
        let tls = self.certificate.as_ref().map(|certificate| certificate.shown.clone());
        Door { tls, limits: self.limits, met: Arc::clone(&self.met) }
    }

    /// What the receivers are bound with.
    pub(super) fn receivers(&self, listen: Listen) -> receive::Config {
        receive::Config {
            otlp_grpc: listen.otlp_grpc,
            ingest: listen.ingest,
            door: self.door(),
            limits: self.deliveries,
        }
    }

    /// What a configuration cannot change while the daemon runs, in words.
    pub(super) fn refusal(&self, config: &Config) -> Option<&'static str> {
        (self.certificate.is_some() != config.tls.is_some())
            .then_some("`tls` cannot be begun or ended by a reload; restart the daemon")
    }

    /// From here on, new requests and connections are held against this.
    pub(super) fn set(&self, config: &Config) {
        let access = receive_access(config, Some(&self.receive.load()));
        self.receive.store(Arc::new(access));
        self.serve.store(Arc::new(serve_access(config)));
        self.setup.store(Arc::new(setup::of(config, Clock::wall().now())));
        self.collect.send_replace(config.collect.clone());
        if let (Some(certificate), Some(tls)) = (&self.certificate, &config.tls) {
            *certificate.files.lock().unwrap_or_else(PoisonError::into_inner) = tls.files.clone();
            certificate.shown.swap(tls.identity.clone());
        }
    }

    /// Looks at the certificate until the daemon stops.
    async fn watch(self, clock: Clock, troubles: Troubles, mut stopping: watch::Receiver<bool>) {
        let Some(certificate) = self.certificate else { return };
        let mut watch = CertificateWatch { certificate, refused: None, told_at: None };
        loop {
            watch = tokio::task::spawn_blocking({
                let (now, troubles) = (clock.now(), troubles.clone());
                move || {
                    for trouble in watch.look(now) {
                        troubles.add(&trouble, now);
                    }
                    for (kind, was) in watch.over(now) {
                        troubles.over(kind, was, now);
                    }
                    watch
                }
            })
            .await
            .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
        }
    }
}

/// What was seen of the files so far.
#[derive(Debug)]
struct CertificateWatch {
    certificate: Certificate,
    /// What was found bad, and whether that was said: files that are being replaced one after the other
    /// do not belong together for a moment.
    refused: Option<(SecretHash, bool)>,
    told_at: Option<Timestamp>,
}

impl CertificateWatch {
    /// Takes what is new and good; says what is bad twice in a row, and what ends soon.
    fn look(&mut self, now: Timestamp) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        match self.renewed() {
            Ok(Some(identity)) => {
                CertificateChanged.emit();
                self.certificate.shown.swap(identity);
                (self.refused, self.told_at) = (None, None);
            }
            Ok(None) => self.refused = None,
            Err((digest, message)) => {
                let was_seen = self.refused.filter(|(before, _)| before.is(&digest));
                if was_seen.is_some_and(|(_, was_told)| !was_told) {
                    let message = format!("{message}; the one of before is still shown");
                    troubles.push(Trouble { kind: Kind::CertificateRefused, message });
                }
                self.refused = Some((digest, was_seen.is_some()));
            }
        }
        let is_due = self.told_at.is_none_or(|at| now.since(at) >= EXPIRY_TOLD_EVERY);
        if is_due && let Some(message) = self.certificate.shown.identity().warning(now) {
            self.told_at = Some(now);
            troubles.push(Trouble { kind: Kind::CertificateEnds, message });
        }
        troubles
    }

    /// What does not hold now, whether it ever did, as what was.
    fn over(&self, now: Timestamp) -> Vec<(Kind, &'static str)> {
        let is_refused = self.refused.is_some_and(|(_, was_told)| was_told);
        let ends = self.certificate.shown.identity().warning(now).is_some();
        let refused =
            (Kind::CertificateRefused, "changed TLS files were refused; good ones are shown since");
        let ended =
            (Kind::CertificateEnds, "the certificate was about to end; it was renewed since");
        [(is_refused, refused), (ends, ended)]
            .into_iter()
            .filter_map(|(holds, was)| (!holds).then_some(was))
            .collect()
    }

    /// A good certificate that is not shown yet; or what is wrong with the files.
    fn renewed(&self) -> Result<Option<Identity>, (SecretHash, String)> {
        let files = self.certificate.files.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let read = |path: &std::path::Path| {
            std::fs::read_to_string(path).map_err(|error| {
                let message = format!("cannot read {}: {error}", path.display());
                (SecretHash::of(&message), message)
            })
        };
        let (cert, key) = (read(&files.cert)?, read(&files.key)?);
        let client_ca = files.client_ca.as_deref().map(read).transpose()?;
        let pems = Pems { cert: &cert, key: &key, client_ca: client_ca.as_deref() };
        let digest = pems.digest();
        if self.certificate.shown.identity().digest().is(&digest) {
            return Ok(None);
        }
        Identity::try_new(pems)
            .map(Some)
            .map_err(|wrong| (digest, format!("the changed TLS files are refused: {wrong}")))
    }
}

fn has(token: &Token, scope: Scope) -> bool {
    token.scopes.contains(&scope)
}

/// `before` is what held so far: the keys that it has are kept.
fn receive_access(config: &Config, before: Option<&receive::Access>) -> receive::Access {
    let pubsub = config.auth.pubsub.as_ref().and_then(|written| {
        let kept = before.and_then(|before| before.pubsub.clone());
        if let Some(kept) = kept.filter(|kept| kept.config() == written) {
            return Some(kept);
        }
        let made = PubsubOidc::try_new(written.clone());
        // Without it nobody comes in by such a token, which is the safe side.
        made.map(Arc::new)
            .map_err(|error| tracing::error!(event = "receive.key_set.failed", error))
            .ok()
    });
    let token = |token: &Token| receive::Token {
        name: token.name.clone(),
        hash: token.hash,
        reach: token.reach.clone(),
    };
    receive::Access {
        tokens: config.auth.tokens.iter().map(token).collect(),
        signers: config.auth.signers.clone(),
        pubsub,
        clients_ingest: config.auth.client_scopes.contains(&Scope::Ingest),
        hosts: hosts(config),
        required: config.auth.is_required(),
    }
}

fn hosts(config: &Config) -> Hosts {
    Hosts::new(config.external_url.as_deref(), config.auth.is_required())
}

fn serve_access(config: &Config) -> serve::Access {
    let token = |token: &Token| serve::Token {
        hash: token.hash,
        reads: has(token, Scope::Read) || has(token, Scope::Write),
        writes: has(token, Scope::Write),
    };
    let clients = &config.auth.client_scopes;
    serve::Access {
        tokens: config.auth.tokens.iter().map(token).collect(),
        clients_read: clients.contains(&Scope::Read) || clients.contains(&Scope::Write),
        clients_write: clients.contains(&Scope::Write),
        hosts: hosts(config),
        required: config.auth.is_required(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::tls::Wrong;

    fn write(dir: &std::path::Path, cert: &str, key: &str) {
        std::fs::write(dir.join("cert"), cert).expect("a writable folder");
        std::fs::write(dir.join("key"), key).expect("a writable folder");
    }

    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a pair");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn identity(cert: &str, key: &str) -> Result<Identity, Wrong> {
        Identity::try_new(Pems { cert, key, client_ca: None })
    }

    #[test]
    fn changed_files_are_shown_if_they_belong_together_and_said_if_they_stay_bad() {
        let dir = tempfile::tempdir().expect("a folder");
        let ((cert, key), (next_cert, next_key)) = (pair("a"), pair("b"));
        write(dir.path(), &cert, &key);
        let files =
            Files { cert: dir.path().join("cert"), key: dir.path().join("key"), client_ca: None };
        let shown = Shown::new(identity(&cert, &key).expect("a good pair"));
        let certificate = Certificate { shown: shown.clone(), files: Arc::new(Mutex::new(files)) };
        let mut watch = CertificateWatch { certificate, refused: None, told_at: None };
        let now = Clock::wall().now();
        let mut look = || watch.look(now).iter().map(|one| one.kind).collect::<Vec<_>>();
        assert_eq!(look(), []);

        write(dir.path(), &next_cert, &key);
        assert_eq!(look(), [], "the other file may be on its way");
        assert_eq!(look(), [Kind::CertificateRefused]);
        assert_eq!(look(), [], "said once");
        assert_eq!(*shown.identity(), identity(&cert, &key).expect("a good pair"));

        write(dir.path(), &next_cert, &next_key);
        assert_eq!(look(), []);
        assert_eq!(*shown.identity(), identity(&next_cert, &next_key).expect("a good pair"));
        std::fs::remove_file(dir.path().join("key")).expect("a file");
        assert_eq!([look(), look()], [vec![], vec![Kind::CertificateRefused]]);
        assert_eq!(*shown.identity(), identity(&next_cert, &next_key).expect("a good pair"));
    }

    #[test]
    fn an_end_that_is_near_is_said_once_a_day() {
        let dir = tempfile::tempdir().expect("a folder");
        let now = Timestamp::from_nanos(1_767_225_600 * 1_000_000_000);
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.not_before = rcgen::date_time_ymd(2025, 12, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 9);
        let key = rcgen::KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("a certificate").pem();
        write(dir.path(), &cert, &key.serialize_pem());
        let files =
            Files { cert: dir.path().join("cert"), key: dir.path().join("key"), client_ca: None };
        let shown = Shown::new(identity(&cert, &key.serialize_pem()).expect("a good pair"));
        let certificate = Certificate { shown, files: Arc::new(Mutex::new(files)) };
        let mut watch = CertificateWatch { certificate, refused: None, told_at: None };
        let mut look = |hours: u64| {
            let now = now.saturating_add(Duration::from_hours(hours));
            watch.look(now).iter().map(|one| one.kind).collect::<Vec<_>>()
        };
        let ends = vec![Kind::CertificateEnds];
        assert_eq!([look(0), look(1), look(24)], [ends.clone(), vec![], ends]);
    }
}
