//! What settings say together: each may be good alone, and no daemon starts, or makes sense, with both.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_saphyr::Spanned;

use super::Listen;
use super::check::Reader;
use super::raw::{RawConfig, RawFunction, RawQueue, Value};
use crate::correlate;

/// No platform gives a function less: a number without a unit was meant in another.
const FUNCTION_BYTES_MIN: u64 = 1 << 20;

impl Reader<'_> {
    pub(super) fn together(
        &mut self,
        raw: &RawConfig,
        listen: &Listen,
        correlate: &correlate::Config,
    ) {
        // What an override lacks may stand in the file.
        if self.source.is_part {
            return;
        }
        self.ports(raw, listen);
        self.waits(raw, correlate);
        self.queues(raw.queues.as_deref().unwrap_or_default());
        self.functions(raw.functions.as_deref().unwrap_or_default());
    }

    /// Each listener has an address of its own.
    fn ports(&mut self, raw: &RawConfig, listen: &Listen) {
        let all = [
            ("otlp_grpc", &raw.listen.otlp_grpc, listen.otlp_grpc),
            ("ingest", &raw.listen.ingest, listen.ingest),
            ("web", &raw.listen.web, listen.web),
        ];
        for (n, (name, value, address)) in all.iter().enumerate() {
            for (before, other_value, other) in all.iter().take(n) {
                if is_taken(*address, *other) {
                    self.error_about(
                        &[value, other_value],
                        format!(
                            "`listen.{name}` ({address}) and `listen.{before}` ({other}) share a port; each listener needs its own"
                        ),
                    );
                }
            }
        }
    }

    fn waits(&mut self, raw: &RawConfig, correlate: &correlate::Config) {
        let settle = correlate.settle_after;
        let written = &raw.correlate;
        if correlate.incomplete_after < settle {
            let message = "`incomplete_after` is shorter than `settle_after`: every request would be incomplete before it can be finished";
            self.error_about(&[&written.incomplete_after, &written.settle_after], message);
        }
        for flow in raw.flows.iter().flatten() {
            let own = self.duration(&flow.value.incomplete_after);
            if own.is_some_and(|own| own < settle) {
                let message =
                    "`incomplete_after` of the flow is shorter than `correlate.settle_after`";
                self.error_about(&[&flow.value.incomplete_after], message);
            }
        }
    }

    fn queues(&mut self, queues: &[Spanned<RawQueue>]) {
        let mut seen = BTreeSet::new();
        for queue in queues {
            let Some(name) = &queue.value.name else { continue };
            let text = &name.value.0;
            if !seen.insert(text) {
                self.error(
                    name,
                    format!("the queue `{text}` is there before; one entry says all of it"),
                );
            }
            if let Some(dlq) = queue.value.dlq.as_ref().filter(|dlq| dlq.value.0 == *text) {
                self.error(dlq, format!("`{text}` cannot be its own dead-letter queue"));
            }
        }
    }

    fn functions(&mut self, functions: &[Spanned<RawFunction>]) {
        let mut seen = BTreeSet::new();
        for function in functions {
            let RawFunction { name, memory, .. } = &function.value;
            if let Some(name) = name
                && !seen.insert(&name.value.0)
            {
                let text = &name.value.0;
                self.error(
                    name,
                    format!("the function `{text}` is there before; one entry says all of it"),
                );
            }
            let bytes = self.bytes(memory);
            if let (Some(memory), Some(_)) = (memory, bytes.filter(|n| *n < FUNCTION_BYTES_MIN)) {
                self.error(memory, "no function has so little memory; write its unit, as 512MiB");
            }
        }
    }

    /// An error of several settings: at the first that was written.
    fn error_about(&mut self, values: &[&Value], message: impl Into<String>) {
        match values.iter().find_map(|value| value.as_ref()) {
            Some(value) => self.error(value, message),
            None => self.error_of_file(message),
        }
    }
}

/// Whether one cannot be bound beside the other. Port 0 is any that is free.
fn is_taken(a: SocketAddr, b: SocketAddr) -> bool {
    // `[::]` takes the addresses of IPv4 as well.
    let takes =
        |a: SocketAddr, b: SocketAddr| a.ip().is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || takes(a, b) || takes(b, a))
}
