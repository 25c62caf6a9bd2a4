//! Which receivers a token may deliver to.
//!
//! Names of receivers come in, as the configuration writes them; what goes out says who may deliver where.
//! Never does a name stand for a receiver that nobody delivers to.

use crate::signal::Receiver;

/// Receivers that take deliveries; the others fetch what they have.
const DELIVERED: [Receiver; 11] = [
    Receiver::OtlpGrpc,
    Receiver::OtlpHttp,
    Receiver::Json,
    Receiver::Firehose,
    Receiver::Telemetry,
    Receiver::Pubsub,
    Receiver::Eventhub,
    Receiver::RemoteWrite,
    Receiver::Xray,
    Receiver::Cloudflare,
    Receiver::Vercel,
];
/// Stands for both ways that OTLP comes by.
const OTLP: &str = "otlp";

/// What a credential lets its holder deliver to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Every receiver, those of later versions too.
    All,
    /// These, none at the least.
    Only(Vec<Receiver>),
}

impl Reach {
    pub fn has(&self, receiver: Receiver) -> bool {
        match self {
            Self::All => true,
            Self::Only(receivers) => receivers.contains(&receiver),
        }
    }

    /// For people: the names, with commas.
    pub(super) fn names(&self) -> String {
        let Self::Only(receivers) = self else { return "all".to_owned() };
        let names: Vec<&str> = receivers.iter().map(|receiver| receiver.as_str()).collect();
        names.join(", ")
    }
}

/// The receivers that a name of the configuration stands for; None: it stands for none.
pub fn named(name: &str) -> Option<Vec<Receiver>> {
    if name == OTLP {
        return Some(vec![Receiver::OtlpGrpc, Receiver::OtlpHttp]);
    }
    DELIVERED.iter().find(|receiver| receiver.as_str() == name).map(|receiver| vec![*receiver])
}

/// Every name that [`named`] knows, with commas.
pub fn names() -> String {
    format!("{OTLP}, {}", Reach::Only(DELIVERED.to_vec()).names())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_for_who_bears_it() {
        for name in names().split(", ").filter(|name| *name != OTLP) {
            let one = named(name).expect("a receiver");
            assert_eq!(Reach::Only(one).names(), name);
        }
        assert_eq!(named("scrape"), None, "nobody delivers to it");
        let both = Reach::Only(named(OTLP).expect("two"));
        assert_eq!(both.names(), "otlp_grpc, otlp_http");
        assert!(both.has(Receiver::OtlpGrpc) && !both.has(Receiver::Json));
        assert!(Reach::All.has(Receiver::Vercel));
    }
}
