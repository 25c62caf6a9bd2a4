//! Messages as Pub/Sub delivers them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::normalize::show::message_text;

fn check(event: &Value, expect: &Expect) {
    let told = of_event(event.as_object().unwrap());
    expect.assert_eq(&told.as_ref().map_or_else(|| "no message".to_owned(), message_text));
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_push_tells_id_queue_time_attempt_and_trace() {
    check(
        &json!({"message": {"data": "e30=", "messageId": "5187", "message_id": "5187",
            "publishTime": "2026-11-25T10:00:00.250Z", "publish_time": "2026-11-25T10:00:00.250Z",
            "attributes": {"googclient_traceparent": PARENT}},
            "subscription": "projects/shop/subscriptions/orders-push", "deliveryAttempt": 2}),
        &expect![
            "Topic 5187 queue=orders-push sent=2026-11-25T10:00:00.250000000Z receive_count=2 trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331"
        ],
    );
}

#[test]
fn the_data_of_a_cloud_event_is_a_push() {
    check(
        &json!({"specversion": "1.0", "type": "google.cloud.pubsub.topic.v1.messagePublished",
            "source": "//pubsub.googleapis.com/projects/shop/topics/orders", "id": "3103",
            "data": {"message": {"messageId": "3103", "attributes": {"traceparent": PARENT}}}}),
        &expect!["Topic 3103 queue=orders trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331"],
    );
    check(
        &json!({"specversion": "1.0", "type": "google.cloud.pubsub.topic.v1.messagePublished",
            "source": "//pubsub.googleapis.com/projects/shop/topics/orders", "id": "3103",
            "traceparent": PARENT, "data": {"message": {"data": "e30="}}}),
        &expect!["Topic 3103 queue=orders trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331"],
    );
}

#[test]
fn a_function_of_the_first_generation_gets_a_message_and_its_context() {
    let data = json!({"@type": "type.googleapis.com/google.pubsub.v1.PubsubMessage",
        "attributes": {"traceparent": PARENT}, "data": "e30="});
    check(
        &json!({"context": {"eventId": "aa-11", "timestamp": "2026-11-25T10:00:00.123Z",
            "eventType": "google.pubsub.topic.publish", "resource": {
            "service": "pubsub.googleapis.com", "name": "projects/shop/topics/orders"}}, "data": data}),
        &expect![
            "Topic aa-11 queue=orders sent=2026-11-25T10:00:00.123000000Z trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331"
        ],
    );
    check(
        &json!({"eventId": "aa-11", "timestamp": "2026-11-25T10:00:00.123Z", "data": data,
            "eventType": "providers/cloud.pubsub/eventTypes/topic.publish",
            "resource": "projects/shop/topics/orders"}),
        &expect![
            "Topic aa-11 queue=orders sent=2026-11-25T10:00:00.123000000Z trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331"
        ],
    );
}

#[test]
fn data_that_is_an_object_may_carry_the_trace_and_attributes_go_before_it() {
    let data = json!({"_datadog": {"x-datadog-trace-id": "11", "x-datadog-parent-id": "22"}});
    let packed = STANDARD.encode(data.to_string());
    let push = |attributes: Value| {
        json!({"message": {"messageId": "1", "data": packed, "attributes": attributes},
            "subscription": "s"})
    };
    check(
        &push(json!({})),
        &expect!["Topic 1 queue=s trace=0000000000000000000000000000000b/0000000000000016"],
    );
    check(
        &push(json!({"traceparent": PARENT})),
        &expect!["Topic 1 queue=s trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331"],
    );
    check(
        &push(json!({"googclient_traceparent": PARENT, "traceparent": "00-0af7"})),
        &expect!["Topic 1 queue=s trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331"],
    );
}

#[test]
fn what_was_forwarded_to_a_dead_letter_topic_names_its_subscription() {
    check(
        &json!({"message": {"messageId": "9", "data": "e30=", "attributes": {
            "CloudPubSubDeadLetterSourceDeliveryCount": "5",
            "CloudPubSubDeadLetterSourceSubscription": "orders-push",
            "CloudPubSubDeadLetterSourceSubscriptionProject": "shop"}},
            "subscription": "projects/shop/subscriptions/orders-dead"}),
        &expect!["Topic 9 queue=orders-dead dead_letter_source=orders-push"],
    );
}

#[test]
fn other_things_called_message_are_none() {
    for event in [
        json!({"message": {"messageId": "1", "data": "e30="}}),
        json!({"message": {"text": "hi"}, "subscription": "s"}),
        json!({"message": "hi", "subscription": "s"}),
        json!({"message": {"data": "e30="}, "subscription": "s"}),
        json!({"type": "com.example.order", "id": "1", "data": {"message": {"data": "e30="}}}),
        json!({"eventType": "google.storage.object.finalize", "eventId": "1", "data": {}}),
    ] {
        check(&event, &expect!["no message"]);
    }
}
