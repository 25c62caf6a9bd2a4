//! Events as platforms send them.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::normalize::show::message_text;

fn check(event: &Value, expect: &Expect) {
    let shown = match read(event.as_object().unwrap()) {
        None => "no event".to_owned(),
        Some(facts) => {
            let mut lines = vec![format!("{:?} {:?}", facts.trigger, facts.http)];
            lines.extend(facts.received.iter().map(message_text));
            lines.extend(facts.workflow.map(|w| format!("{w:?}")));
            lines.extend(facts.correlation_id.map(|id| format!("correlation {id}")));
            lines.extend(facts.trace.map(|t| format!("trace {}", t.trace_id)));
            lines.join("\n")
        }
    };
    expect.assert_eq(&shown);
}

#[test]
fn queue_records_tell_when_how_often_and_out_of_which_queue() {
    check(
        &json!({"Records": [{
            "messageId": "m-1", "eventSource": "aws:sqs", "body": "hi",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:orders-dlq",
            "attributes": {
                "SentTimestamp": "1795600800250", "ApproximateReceiveCount": "3",
                "AWSTraceHeader": "Root=1-67891233-abcdef012345678912345678;Parent=463ac35c9f6413ad",
                "DeadLetterQueueSourceArn": "arn:aws:sqs:eu-west-1:123456789012:orders"}
        }]}),
        &expect![[r#"
            Some(Queue) None
            Queue m-1 queue=orders-dlq sent=2026-11-25T10:00:00.250000000Z receive_count=3 dead_letter_source=orders trace=67891233abcdef012345678912345678/463ac35c9f6413ad"#]],
    );
}

#[test]
fn the_producers_own_trace_wins_over_the_systems_header() {
    check(
        &json!({"Records": [{
            "messageId": "m-1", "eventSource": "aws:sqs",
            "messageAttributes": {"traceparent": {"dataType": "String", "stringValue":
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}},
            "attributes": {"AWSTraceHeader": "Root=1-67891233-abcdef012345678912345678"}
        }]}),
        &expect![[r#"
            Some(Queue) None
            Queue m-1 trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331"#]],
    );
}

#[test]
fn envelopes_inside_queue_messages_are_messages_too() {
    let notification = json!({"Type": "Notification", "MessageId": "n-1",
        "TopicArn": "arn:aws:sns:eu-west-1:1:orders-topic", "Timestamp": "2026-11-25T10:00:00Z"});
    let bus = json!({"id": "e-1", "detail-type": "OrderPlaced", "source": "shop",
        "time": "2026-11-25T10:00:00Z", "detail": {}});
    check(
        &json!({"Records": [
            {"messageId": "m-1", "eventSource": "aws:sqs", "body": notification.to_string()},
            {"messageId": "m-2", "eventSource": "aws:sqs", "body": bus.to_string()},
        ]}),
        &expect![[r#"
            Some(Queue) None
            Queue m-1
            Topic n-1 queue=orders-topic sent=2026-11-25T10:00:00.000000000Z
            Queue m-2
            EventBus e-1 sent=2026-11-25T10:00:00.000000000Z"#]],
    );
}

#[test]
fn topics_streams_and_buses_name_their_messages() {
    check(
        &json!({"Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": "n-1",
            "TopicArn": "arn:aws:sns:eu-west-1:1:news", "Timestamp": "2026-11-25T10:00:00Z"}}]}),
        &expect![[r#"
            Some(Topic) None
            Topic n-1 queue=news sent=2026-11-25T10:00:00.000000000Z"#]],
    );
    check(
        &json!({"Records": [{"eventSource": "aws:kinesis", "eventID": "shardId-0:495",
            "kinesis": {"sequenceNumber": "495", "approximateArrivalTimestamp": 1_795_600_800.25},
            "eventSourceARN": "arn:aws:kinesis:eu-west-1:1:stream/clicks"}]}),
        &expect![[r#"
            Some(Stream) None
            Stream shardId-0:495 queue=clicks sent=2026-11-25T10:00:00.250000000Z"#]],
    );
    check(
        &json!({"eventSource": "aws:kafka", "records": {"clicks-0":
            [{"topic": "clicks", "partition": 0, "offset": 15, "timestamp": 1_795_600_800_250_i64}]}}),
        &expect![[r#"
            Some(Stream) None
            Stream clicks-0:15 queue=clicks sent=2026-11-25T10:00:00.250000000Z"#]],
    );
    let bytes = |text: &str| text.bytes().collect::<Vec<u8>>();
    let headers = json!([
        {"x-amzn-trace-id": bytes("Root=1-67891233-abcdef012345678912345678;Parent=463ac35c9f6413ad")},
        {"X-B3-TraceId": bytes("0af7651916cd43dd8448eb211c80319c")},
        {"X-B3-SpanId": bytes("b7ad6b7169203331")},
    ]);
    check(
        &json!({"eventSource": "aws:kafka", "records": {"clicks-0":
            [{"topic": "clicks", "partition": 0, "offset": 15, "headers": headers}]}}),
        &expect![[r#"
            Some(Stream) None
            Stream clicks-0:15 queue=clicks trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331"#]],
    );
    check(
        &json!({"id": "e-1", "detail-type": "Scheduled Event", "source": "aws.events",
            "time": "2026-11-25T10:00:00Z"}),
        &expect![[r#"
            Some(Schedule) None
            Schedule e-1 sent=2026-11-25T10:00:00.000000000Z"#]],
    );
}

#[test]
fn callers_and_workflows_are_told() {
    check(
        &json!({"resource": "/orders/{id}", "httpMethod": "GET", "requestContext": {},
            "headers": {"X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678"}}),
        &expect![[r#"
            Some(Http) Some(Http { method: Some("GET"), route: Some("/orders/{id}"), status: None })
            trace 67891233abcdef012345678912345678"#]],
    );
    check(
        &json!({"routeKey": "$default", "rawPath": "/x/1",
            "requestContext": {"http": {"method": "POST"}}}),
        &expect![[r#"Some(Http) Some(Http { method: Some("POST"), route: None, status: None })"#]],
    );
    check(
        &json!({"Execution": {"Id": "arn:aws:states:x"}, "State": {"Name": "Pay", "RetryCount": 2}}),
        &expect![[r#"
            Some(Workflow) None
            Workflow { execution_id: "arn:aws:states:x", state: "Pay", retry_count: Some(2) }"#]],
    );
}

#[test]
fn other_objects_are_no_events() {
    for value in [
        json!({"Records": []}),
        json!({"Records": [{"eventSource": "aws:s3", "s3": {}}]}),
        json!({"records": "text"}),
        json!({"id": "x", "source": "y"}),
        json!({"requestContext": "x", "httpMethod": "GET"}),
    ] {
        check(&value, &expect!["no event"]);
    }
}

#[test]
fn what_a_message_carries_inside_is_found_through_every_envelope() {
    let carrier = json!({"x-datadog-trace-id": "11", "x-datadog-parent-id": "22"});
    let bus = json!({"id": "e-1", "detail-type": "OrderPlaced", "source": "shop",
        "detail": {"_datadog": carrier}});
    let notification =
        json!({"Type": "Notification", "MessageId": "n-1", "Message": bus.to_string()});
    let system = json!({"AWSTraceHeader": "Root=1-67891233-abcdef012345678912345678"});
    check(
        &json!({"Records": [
            {"messageId": "m-1", "eventSource": "aws:sqs", "body": notification.to_string(),
                "attributes": system},
            {"messageId": "m-2", "eventSource": "aws:sqs", "attributes": system,
                "body": json!({"order": 7, "_datadog": carrier}).to_string()},
            {"messageId": "m-3", "eventSource": "aws:sqs", "attributes": system, "body": "{"},
        ]}),
        &expect![[r#"
            Some(Queue) None
            Queue m-1 trace=0000000000000000000000000000000b/0000000000000016
            Topic n-1 trace=0000000000000000000000000000000b/0000000000000016
            EventBus e-1 trace=0000000000000000000000000000000b/0000000000000016
            Queue m-2 trace=0000000000000000000000000000000b/0000000000000016
            Queue m-3 trace=67891233abcdef012345678912345678"#]],
    );
}

#[test]
fn streams_carry_what_producers_put_into_their_records() {
    use base64::Engine as _;
    let data = json!({"_datadog": {"x-datadog-trace-id": "11", "x-datadog-parent-id": "22"}});
    let data = base64::engine::general_purpose::STANDARD.encode(data.to_string());
    let header: Vec<u8> = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into();
    check(
        &json!({"Records": [{"eventSource": "aws:kinesis", "kinesis": {"sequenceNumber": "495", "data": data}}]}),
        &expect![[r#"
            Some(Stream) None
            Stream 495 trace=0000000000000000000000000000000b/0000000000000016"#]],
    );
    check(
        &json!({"records": [{"recordId": "1", "data": data, "kinesisRecordMetadata":
            {"shardId": "shardId-0", "sequenceNumber": "495"}}]}),
        &expect![[r#"
            Some(Stream) None
            Stream shardId-0:495 trace=0000000000000000000000000000000b/0000000000000016"#]],
    );
    check(
        &json!({"records": {"clicks-0": [{"topic": "clicks", "partition": 0, "offset": 15,
            "headers": [{"other": [1]}, {"traceparent": header}]}]}}),
        &expect![[r#"
            Some(Stream) None
            Stream clicks-0:15 queue=clicks trace=0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331"#]],
    );
}

#[test]
fn a_destination_tells_of_the_invocation_and_of_what_it_gave_up() {
    let record = |condition: &str| {
        json!({"version": "1.0", "timestamp": "2026-11-25T10:00:00Z",
            "requestContext": {"requestId": "r-1", "condition": condition, "approximateInvokeCount": 3,
                "functionArn": "arn:aws:lambda:eu-west-1:1:function:mail:$LATEST"},
            "requestPayload": {"Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": "n-1",
                "TopicArn": "arn:aws:sns:eu-west-1:1:news"}}]}})
    };
    check(
        &record("RetriesExhausted"),
        &expect![[r#"
            Some(Invoke) None
            Invoke r-1 sent=2026-11-25T10:00:00.000000000Z
            Topic n-1 dead_letter_source=news"#]],
    );
    let queued = |record: Value| {
        json!({"Records": [{"messageId": "m-1", "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:1:results", "body": record.to_string()}]})
    };
    check(
        &queued(record("Success")),
        &expect![[r#"
            Some(Queue) None
            Queue m-1 queue=results
            Invoke r-1 sent=2026-11-25T10:00:00.000000000Z"#]],
    );
    let mut direct = record("EventAgeExceeded");
    direct["requestPayload"] = json!({"order": 7});
    check(
        &queued(direct),
        &expect![[r#"
            Some(Queue) None
            Queue m-1 queue=results
            Invoke r-1 queue=results sent=2026-11-25T10:00:00.000000000Z dead_letter_source=mail"#]],
    );
}

#[test]
fn a_dead_letter_queue_of_a_function_tells_of_the_invocation_that_was_given_up() {
    let fallen = |body: Value, attributes: Value| {
        json!({"Records": [{"messageId": "m-1", "eventSource": "aws:sqs", "body": body.to_string(),
            "eventSourceARN": "arn:aws:sqs:eu-west-1:1:mail-dlq", "messageAttributes": attributes}]})
    };
    let text = |value: &str| json!({"stringValue": value, "dataType": "String"});
    let told =
        json!({"RequestID": text("r-1"), "ErrorCode": text("200"), "ErrorMessage": text("no")});
    let notified = json!({"Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": "n-1",
        "TopicArn": "arn:aws:sns:eu-west-1:1:news"}}]});
    check(
        &fallen(notified, told.clone()),
        &expect![[r#"
        Some(Queue) None
        Queue m-1 queue=mail-dlq
        Invoke r-1
        Topic n-1 queue=mail-dlq dead_letter_source=news"#]],
    );
    let of_bus = json!({"id": "e-1", "detail-type": "Order", "source": "shop", "detail": {}});
    check(
        &fallen(of_bus, told),
        &expect![[r#"
        Some(Queue) None
        Queue m-1 queue=mail-dlq
        Invoke r-1 queue=mail-dlq dead_letter_source=
        EventBus e-1"#]],
    );
    // A sender's own attribute of that name alone says nothing.
    let own = json!({"RequestID": text("r-1")});
    check(
        &fallen(json!({"order": 7}), own),
        &expect![[r#"
        Some(Queue) None
        Queue m-1 queue=mail-dlq"#]],
    );
    let topic = |value: &str| json!({"Type": "String", "Value": value});
    let attributes = json!({"RequestID": topic("r-1"), "ErrorCode": topic("200")});
    check(
        &json!({"Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": "n-1",
            "TopicArn": "arn:aws:sns:eu-west-1:1:mail-dlq", "Message": "{}",
            "MessageAttributes": attributes}}]}),
        &expect![[r#"
            Some(Topic) None
            Topic n-1 queue=mail-dlq
            Invoke r-1 queue=mail-dlq dead_letter_source="#]],
    );
}

#[test]
fn executions_that_started_each_other_share_an_id() {
    let context = |id: &str, root: Option<&str>| {
        let mut context = json!({"Execution": {"Id": id}, "State": {"Name": "Pay"},
            "serverless-version": "v1"});
        if let Some(root) = root {
            context["RootExecutionId"] = json!(root);
        }
        json!({"_datadog": context})
    };
    check(
        &context("child", Some("first")),
        &expect![[r#"
            Some(Workflow) None
            Workflow { execution_id: "child", state: "Pay", retry_count: None }
            correlation first"#]],
    );
    check(
        &context("first", None),
        &expect![[r#"
            Some(Workflow) None
            Workflow { execution_id: "first", state: "Pay", retry_count: None }
            correlation first"#]],
    );
}

#[test]
fn the_context_of_a_workflow_is_found_where_a_task_gets_it() {
    let context = json!({"Execution": {"Id": "arn:aws:states:x"}, "State": {"Name": "Pay"}});
    for event in [
        context.clone(),
        json!({"_datadog": context}),
        json!({"Payload": context}),
        json!({"Payload": {"_datadog": context}}),
        json!({"CONTEXT": context, "order": 1}),
        json!({"order": {"id": 1}, "Context": context}),
        json!({"payload": {"Context": context.to_string()}}),
    ] {
        check(
            &event,
            &expect![[r#"
                Some(Workflow) None
                Workflow { execution_id: "arn:aws:states:x", state: "Pay", retry_count: None }"#]],
        );
    }
    for event in [
        json!({"Payload": {"order": context}}),
        json!({"context": {"Execution": {"Id": "arn:aws:states:x"}}}),
        json!({"Payload": {"Payload": {"Payload": {"Payload": {"Payload": {"Payload": context}}}}}}),
    ] {
        check(&event, &expect!["no event"]);
    }
}

#[test]
fn a_message_tells_of_the_workflow_that_sent_it() {
    let context = |id: &str| json!({"Execution": {"Id": id}, "State": {"Name": "Approve"}});
    let task = |id: &str| json!({"TaskToken": "AAA", "Context": context(id)}).to_string();
    let queued =
        |id: &str, body: String| json!({"messageId": id, "eventSource": "aws:sqs", "body": body});
    let notified = json!({"Type": "Notification", "MessageId": "n-1", "Message": task("one")});
    check(
        &json!({"Records": [queued("m-1", task("one")), queued("m-2", notified.to_string())]}),
        &expect![[r#"
            Some(Queue) None
            Queue m-1
            Queue m-2
            Topic n-1
            Workflow { execution_id: "one", state: "Approve", retry_count: None }"#]],
    );
    // Whose work a batch of several executions is, nobody can say.
    check(
        &json!({"Records": [queued("m-1", task("one")), queued("m-2", task("two"))]}),
        &expect![[r#"
            Some(Queue) None
            Queue m-1
            Queue m-2"#]],
    );
    check(
        &json!({"Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": "n-1", "Message": task("one")}}]}),
        &expect![[r#"
            Some(Topic) None
            Topic n-1
            Workflow { execution_id: "one", state: "Approve", retry_count: None }"#]],
    );
    check(
        &json!({"id": "e-1", "detail-type": "d", "source": "s", "detail": {"_datadog": context("one")}}),
        &expect![[r#"
            Some(EventBus) None
            EventBus e-1
            Workflow { execution_id: "one", state: "Approve", retry_count: None }"#]],
    );
}

#[test]
fn what_a_pipe_or_a_receive_call_gives_is_an_event() {
    let record = json!({"messageId": "m-1", "eventSource": "aws:sqs", "body": "x"});
    let message = json!({"MessageId": "m-1", "ReceiptHandle": "h", "Body": "x",
        "Attributes": {"ApproximateReceiveCount": "2"}});
    for held_in in [
        json!({"event": [record]}),
        json!({"event": {"Messages": [message]}}),
        json!({"input": message}),
        message,
    ] {
        let told = held(held_in.as_object().unwrap()).unwrap();
        assert_eq!(&*told.received[0].id, "m-1", "{held_in}");
    }
    assert_eq!(held(json!({"event": [1, {"messageId": "m-1"}]}).as_object().unwrap()), None);
}

#[test]
fn an_object_that_a_bus_tells_of_is_known_by_the_request_that_put_it() {
    check(
        &json!({"id": "e-1", "detail-type": "Object Created", "source": "aws.s3",
            "detail": {"bucket": {"name": "photos"}, "request-id": "C3D1", "reason": "PutObject"}}),
        &expect![[r#"
            Some(EventBus) None
            EventBus e-1
            EventBus C3D1 queue=photos"#]],
    );
}

#[test]
fn brokers_deliver_messages_too() {
    check(
        &json!({"eventSource": "aws:mq", "messages": [{"messageID": "ID:1", "destination": {"physicalName": "orders"}}]}),
        &expect![[r#"
            Some(Queue) None
            Queue ID:1 queue=orders"#]],
    );
}

#[test]
fn pushes_of_pubsub_are_events() {
    let push = json!({"message": {"data": "e30=", "messageId": "5187", "publishTime": "2026-11-25T10:00:00Z"},
        "subscription": "projects/shop/subscriptions/orders", "deliveryAttempt": 2});
    check(
        &push,
        &expect![[r#"
        Some(Topic) None
        Topic 5187 queue=orders sent=2026-11-25T10:00:00.000000000Z receive_count=2"#]],
    );
    let found = |object: Value| {
        held(object.as_object().unwrap()).map(|told| message_text(&told.received[0]))
    };
    let wanted = found(push.clone());
    assert!(wanted.is_some());
    assert_eq!(found(json!({"cloudEvent": {"id": "5187", "data": push}})), wanted);
    assert_eq!(found(json!({"event": push.to_string()})), wanted);
    let entries = |object: &Value| {
        let Value::Object(object) = object else { panic!() };
        let value = |value| crate::normalize::json_fields::attribute(value, 9);
        object.iter().map(|(key, v)| (Text::from(key.as_str()), value(v))).collect::<Vec<_>>()
    };
    let in_body = held_in(&entries(&push)).map(|told| message_text(&told.received[0]));
    assert_eq!(in_body, wanted);
    assert_eq!(held_in(&entries(&json!({"message": "hi", "context": {"a": 1}}))), None);
}

#[test]
fn holders_of_events_may_be_text() {
    let event = json!({"detail-type": "OrderPlaced", "source": "shop", "id": "e-1"});
    for held_in in [json!({"event": event}), json!({"event": event.to_string()})] {
        let facts = held(held_in.as_object().unwrap()).unwrap();
        assert_eq!(facts.received.len(), 1);
        assert_eq!(&*facts.received[0].id, "e-1");
    }
    assert_eq!(held(json!({"event": "OrderPlaced"}).as_object().unwrap()), None);
}

#[test]
fn sockets_and_resolvers_tell_what_was_asked_for() {
    check(
        &json!({"requestContext": {"routeKey": "sendmessage", "eventType": "MESSAGE", "messageId": "M=",
            "connectionId": "L0SM9cOFvHcCIhw=", "requestId": "L0SM9FFYvHcFvQA=", "stage": "prod",
            "apiId": "a1b2c3", "connectedAt": 1_795_600_800_250_i64}, "body": "{}"}),
        &expect![[r#"
            Some(Http) Some(Http { method: Some("MESSAGE"), route: Some("sendmessage"), status: None })
            correlation L0SM9FFYvHcFvQA="#]],
    );
    let asked = json!({"arguments": {"id": "1"}, "source": null, "prev": null, "stash": {},
        "request": {"headers": {"x-amzn-trace-id": "Root=1-67891233-abcdef012345678912345678"}},
        "info": {"fieldName": "getOrder", "parentTypeName": "Query", "variables": {}}});
    let told = expect![[r#"
        Some(Http) Some(Http { method: Some("Query"), route: Some("getOrder"), status: None })
        trace 67891233abcdef012345678912345678"#]];
    check(&asked, &told);
    let many = held(json!({"event": [asked.clone(), asked]}).as_object().unwrap()).unwrap();
    assert_eq!(many.http.unwrap().route.as_deref(), Some("getOrder"));
}

#[test]
fn cloud_events_are_messages_alone_and_in_lists() {
    let event = |n: u32| {
        json!({"specversion": "1.0", "id": format!("9aeb0fdf-c01e-0131-0922-{n:012}"),
            "source": "/shop/orders", "type": "order.placed", "data": {"id": 7}})
    };
    let told = expect![[r#"
        Some(EventBus) None
        EventBus 9aeb0fdf-c01e-0131-0922-000000000001"#]];
    check(&event(1), &told);
    let many = held(json!({"event": [event(1), event(2)]}).as_object().unwrap()).unwrap();
    assert_eq!(many.received.len(), 2);
}
