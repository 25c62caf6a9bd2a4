//! What brokers and platforms call their queues, told as the contract's series.
//!
//! A mapped series stands beside the one it comes from, with the job's own labels and what names the
//! queue, not with `job` and `instance`: a queue is one however many exporters tell of it. What a single
//! process tells of itself keeps `instance`. Missing is not zero: what an exporter does not know (a lag
//! below 0, a message without a time) becomes nothing.

use crate::normalize::metric_stream::is_dead_letter_name;
use crate::signal::{Labels, METRIC_NAME, Text};

const DEPTH: &str = "throughline_queue_depth";
const DLQ_DEPTH: &str = "throughline_dlq_depth";
const OLDEST_AGE: &str = "throughline_queue_oldest_age_seconds";
const CONCURRENCY: &str = "throughline_concurrency";

/// Whose names are mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The plugin `rabbitmq_prometheus`: `/metrics/per-object` or `/metrics/detailed`.
    Rabbitmq,
    /// danielqsj/kafka_exporter.
    Kafka,
    /// oliver006/redis_exporter with `--check-keys` (lists) and `--check-streams`.
    Redis,
    /// Queue-proxy and autoscaler, by their names before and after 1.19.
    Knative,
    /// The gateway and the JetStream queue worker.
    Openfaas,
    /// prometheus-community/stackdriver_exporter with `--monitoring.metrics-prefixes=pubsub.googleapis.com/subscription`.
    Pubsub,
}

/// How a value is read.
#[derive(Clone, Copy)]
enum Reading {
    AsIs,
    /// Seconds since the epoch at which the oldest message came.
    AgeSince,
}

#[derive(Clone, Copy)]
struct Mapping {
    from: &'static str,
    to: &'static str,
    reading: Reading,
    /// (label there, label here), the first names the queue or function and must be there.
    labels: &'static [(&'static str, &'static str)],
    /// Whether every process tells its own.
    per_instance: bool,
}

const fn depth(from: &'static str, labels: &'static [(&'static str, &'static str)]) -> Mapping {
    Mapping { from, to: DEPTH, reading: Reading::AsIs, labels, per_instance: false }
}

const fn own(mapping: Mapping) -> Mapping {
    Mapping { per_instance: true, ..mapping }
}

const RABBITMQ_LABELS: &[(&str, &str)] = &[("queue", "queue"), ("vhost", "vhost")];

const RABBITMQ: &[Mapping] = &[
    depth("rabbitmq_queue_messages_ready", RABBITMQ_LABELS),
    depth("rabbitmq_detailed_queue_messages_ready", RABBITMQ_LABELS),
    Mapping {
        from: "rabbitmq_queue_head_message_timestamp",
        to: OLDEST_AGE,
        reading: Reading::AgeSince,
        labels: RABBITMQ_LABELS,
        per_instance: false,
    },
    Mapping {
        from: "rabbitmq_detailed_queue_head_message_timestamp",
        to: OLDEST_AGE,
        reading: Reading::AgeSince,
        labels: RABBITMQ_LABELS,
        per_instance: false,
    },
];
const KAFKA: &[Mapping] = &[depth(
    "kafka_consumergroup_lag_sum",
    &[("topic", "queue"), ("consumergroup", "consumer_group")],
)];
const REDIS: &[Mapping] = &[
    depth("redis_key_size", &[("key", "queue"), ("db", "db")]),
    depth(
        "redis_stream_group_lag",
        &[("stream", "queue"), ("group", "consumer_group"), ("db", "db")],
    ),
];
const KNATIVE: &[Mapping] = &[
    own(depth("kn_serving_queue_depth", &[("kn_revision_name", "queue")])),
    own(depth("revision_queue_depth", &[("revision_name", "queue")])),
    Mapping {
        from: "kn_revision_concurrency_stable",
        to: CONCURRENCY,
        reading: Reading::AsIs,
        labels: &[("kn_service_name", "faas_name"), ("kn_revision_name", "faas_version")],
        per_instance: false,
    },
    Mapping {
        from: "autoscaler_stable_request_concurrency",
        to: CONCURRENCY,
        reading: Reading::AsIs,
        labels: &[("service_name", "faas_name"), ("revision_name", "faas_version")],
        per_instance: false,
    },
];
const OPENFAAS: &[Mapping] = &[
    depth(
        "queue_worker_pending_messages",
        &[("queue_name", "queue"), ("function_name", "faas_name")],
    ),
    own(Mapping {
        from: "queue_worker_function_invocation_inflight",
        to: CONCURRENCY,
        reading: Reading::AsIs,
        labels: &[("function_name", "faas_name")],
        per_instance: true,
    }),
];

const PUBSUB: &[Mapping] = &[
    depth(
        "stackdriver_pubsub_subscription_pubsub_googleapis_com_subscription_num_undelivered_messages",
        PUBSUB_LABELS,
    ),
    Mapping {
        from: "stackdriver_pubsub_subscription_pubsub_googleapis_com_subscription_oldest_unacked_message_age",
        to: OLDEST_AGE,
        reading: Reading::AsIs,
        labels: PUBSUB_LABELS,
        per_instance: false,
    },
];
const PUBSUB_LABELS: &[(&str, &str)] =
    &[("subscription_id", "queue"), ("project_id", "project_id")];

impl Preset {
    /// The words of `preset`.
    pub const NAMES: &str = "rabbitmq, kafka, redis, knative, openfaas or pubsub";

    /// None for other words.
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "rabbitmq" => Self::Rabbitmq,
            "kafka" => Self::Kafka,
            "redis" => Self::Redis,
            "knative" => Self::Knative,
            "openfaas" => Self::Openfaas,
            "pubsub" => Self::Pubsub,
            _ => return None,
        })
    }

    /// The contract's series for a sample that was read at `now` (seconds since the epoch).
    pub(super) fn map(self, labels: &Labels, value: f64, now: f64) -> Option<(Labels, f64)> {
        let mappings = match self {
            Self::Rabbitmq => RABBITMQ,
            Self::Kafka => KAFKA,
            Self::Redis => REDIS,
            Self::Knative => KNATIVE,
            Self::Openfaas => OPENFAAS,
            Self::Pubsub => PUBSUB,
        };
        let mapping = mappings.iter().find(|mapping| mapping.from == labels.name())?;
        Some((mapping.labels(labels)?, mapping.value(value, now)?))
    }
}

impl Mapping {
    fn value(&self, value: f64, now: f64) -> Option<f64> {
        match self.reading {
            Reading::AsIs => Some(value).filter(|value| *value >= 0.0),
            Reading::AgeSince => Some(value).filter(|at| *at > 0.0).map(|at| (now - at).max(0.0)),
        }
    }

    fn labels(&self, there: &Labels) -> Option<Labels> {
        let (first, _) = self.labels.first()?;
        let subject = there.get(first)?;
        let to = if self.to == DEPTH && is_dead_letter_name(subject) { DLQ_DEPTH } else { self.to };
        let told = self.labels.iter().filter_map(|(theirs, ours)| {
            // The default virtual host and database are not worth a label.
            let value = there
                .get(theirs)
                .filter(|value| !matches!((*ours, *value), ("vhost", "/") | ("db", "db0")))?;
            Some((Text::from(*ours), Text::from(value)))
        });
        let instance = there.get("instance").filter(|_| self.per_instance);
        let instance = instance.map(|value| (Text::from("instance"), Text::from(value)));
        Some(Labels::new(told.chain(instance).chain([(METRIC_NAME.into(), to.into())])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(preset: Preset, labels: &[(&str, &str)], value: f64, expect: Option<(&str, f64)>) {
        let found = preset.map(&Labels::of(labels), value, 1000.0);
        let found = found.map(|(labels, value)| (labels.to_string(), value));
        assert_eq!(found, expect.map(|(labels, value)| (labels.to_owned(), value)));
    }

    #[test]
    fn subscriptions_tell_what_waits_and_for_how_long() {
        let name = |metric: &str| {
            format!("stackdriver_pubsub_subscription_pubsub_googleapis_com_subscription_{metric}")
        };
        let (depth, age) = (name("num_undelivered_messages"), name("oldest_unacked_message_age"));
        let of = |name, id| [("__name__", name), ("subscription_id", id), ("project_id", "shop")];
        for (name, id, expect) in [
            (&depth, "orders", r#"throughline_queue_depth{project_id="shop", queue="orders"}"#),
            (
                &depth,
                "orders-dlq",
                r#"throughline_dlq_depth{project_id="shop", queue="orders-dlq"}"#,
            ),
            (
                &age,
                "orders",
                r#"throughline_queue_oldest_age_seconds{project_id="shop", queue="orders"}"#,
            ),
        ] {
            check(Preset::Pubsub, &of(name, id), 7.0, Some((expect, 7.0)));
        }
        check(Preset::Pubsub, &of(&name("sent_message_count"), "orders"), 7.0, None);
    }

    #[test]
    fn each_brokers_names_become_the_contracts() {
        let ready = |queue, vhost| {
            [
                ("__name__", "rabbitmq_queue_messages_ready"),
                ("queue", queue),
                ("vhost", vhost),
                ("instance", "a"),
            ]
        };
        check(
            Preset::Rabbitmq,
            &ready("orders", "/"),
            3.0,
            Some((r#"throughline_queue_depth{queue="orders"}"#, 3.0)),
        );
        check(
            Preset::Rabbitmq,
            &ready("orders-dlq", "eu"),
            1.0,
            Some((r#"throughline_dlq_depth{queue="orders-dlq", vhost="eu"}"#, 1.0)),
        );
        let head = [
            ("__name__", "rabbitmq_detailed_queue_head_message_timestamp"),
            ("queue", "orders"),
            ("vhost", "/"),
        ];
        check(
            Preset::Rabbitmq,
            &head,
            940.0,
            Some((r#"throughline_queue_oldest_age_seconds{queue="orders"}"#, 60.0)),
        );
        let lag =
            [("__name__", "kafka_consumergroup_lag_sum"), ("topic", "t"), ("consumergroup", "g")];
        check(
            Preset::Kafka,
            &lag,
            7.0,
            Some((r#"throughline_queue_depth{consumer_group="g", queue="t"}"#, 7.0)),
        );
        let key = [("__name__", "redis_key_size"), ("db", "db0"), ("key", "jobs")];
        check(Preset::Redis, &key, 2.0, Some((r#"throughline_queue_depth{queue="jobs"}"#, 2.0)));
    }

    #[test]
    fn each_platforms_names_become_the_contracts() {
        let proxy =
            [("__name__", "revision_queue_depth"), ("revision_name", "r"), ("instance", "p:9091")];
        check(
            Preset::Knative,
            &proxy,
            4.0,
            Some((r#"throughline_queue_depth{instance="p:9091", queue="r"}"#, 4.0)),
        );
        let stable = [
            ("__name__", "kn_revision_concurrency_stable"),
            ("kn_service_name", "s"),
            ("kn_revision_name", "r"),
        ];
        check(
            Preset::Knative,
            &stable,
            1.5,
            Some((r#"throughline_concurrency{faas_name="s", faas_version="r"}"#, 1.5)),
        );
        let pending = [
            ("__name__", "queue_worker_pending_messages"),
            ("queue_name", "q"),
            ("function_name", "f"),
        ];
        check(
            Preset::Openfaas,
            &pending,
            9.0,
            Some((r#"throughline_queue_depth{faas_name="f", queue="q"}"#, 9.0)),
        );
    }

    #[test]
    fn what_an_exporter_does_not_know_becomes_nothing() {
        let head = [("__name__", "rabbitmq_queue_head_message_timestamp"), ("queue", "orders")];
        check(Preset::Rabbitmq, &head, f64::NAN, None);
        check(Preset::Rabbitmq, &head, 0.0, None);
        let lag =
            [("__name__", "kafka_consumergroup_lag_sum"), ("topic", "t"), ("consumergroup", "g")];
        check(Preset::Kafka, &lag, -1.0, None);
        // Summed over all queues by the exporter: it names none.
        check(Preset::Rabbitmq, &[("__name__", "rabbitmq_queue_messages_ready")], 3.0, None);
        check(Preset::Rabbitmq, &[("__name__", "up")], 1.0, None);
    }
}
