use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::normalize::show;

#[expect(clippy::needless_pass_by_value, reason = "bodies are written where they are used")]
fn check(body: impl ToString, expect: &Expect) {
    let origin = Origin {
        arrived: Timestamp::parse_rfc3339("2026-11-25T10:00:00Z").unwrap(),
        ..Origin::default()
    };
    expect.assert_eq(&show::outcome(&normalize(
        body.to_string().as_bytes(),
        &origin,
        &Config::default(),
    )));
}

fn host(message: &str, more: &Value) -> Value {
    let mut properties = json!({"appName": "shop", "functionName": "Functions.hello",
        "functionInvocationId": "g-1", "hostInstanceId": "h-1", "category": "Function.hello",
        "message": message, "level": "Information"});
    let own = more.as_object().unwrap().clone();
    properties.as_object_mut().unwrap().extend(own);
    json!({"time": "2026-11-25T09:59:59Z", "category": "FunctionAppLogs", "location": "eastus2",
        "resourceId": "/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.WEB/SITES/SHOP",
        "level": "Informational", "properties": properties})
}

#[test]
fn the_hosts_lines_are_an_executions_start_and_report() {
    let started = "Executing 'Functions.hello' (Reason='Timer fired', Id=g-1)";
    let done = "Executed 'Functions.hello' (Succeeded, Id=g-1, Duration=25ms)";
    let failed = r#"Executed "Functions.hello" (Failed, Id=g-1, Duration=25ms)"#;
    check(
        json!({"records": [host(started, &json!({})), host(done, &json!({}))]}),
        &expect![[r#"
        2026-11-25T09:59:59.000000000Z platform Start invocation=g-1 function=shop/hello service=shop account=s region=eastus2
        2026-11-25T09:59:59.000000000Z platform Report invocation=g-1 status=Success duration=25ms function=shop/hello service=shop account=s region=eastus2
        2 signals, 0 rejected, 0 filtered"#]],
    );
    check(
        host(failed, &json!({"exceptionType": "System.Exception", "exceptionMessage": "no stock"})),
        &expect![[r#"
            2026-11-25T09:59:59.000000000Z platform Report invocation=g-1 status=Failure error_type=System.Exception: no stock duration=25ms function=shop/hello service=shop account=s region=eastus2
            1 signals, 0 rejected, 0 filtered"#]],
    );
    check(
        host(
            failed,
            &json!({"exceptionType": "Microsoft.Azure.WebJobs.Host.FunctionTimeoutException"}),
        ),
        &expect![[r#"
            2026-11-25T09:59:59.000000000Z platform Report invocation=g-1 status=Timeout error_type=Microsoft.Azure.WebJobs.Host.FunctionTimeoutException duration=25ms function=shop/hello service=shop account=s region=eastus2
            1 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn user_code_cannot_speak_for_the_host() {
    let done = "Executed 'Functions.hello' (Succeeded, Id=g-1, Duration=25ms)";
    check(
        host(done, &json!({"category": "Function.hello.User"})),
        &expect![[r#"
        2026-11-25T09:59:59.000000000Z log severity=Info invocation=g-1 body="Executed 'Functions.hello' (Succeeded, I"… attributes=appName,category,functionInvocationId,hostInstanceId,location,resourceId function=shop/hello service=shop account=s region=eastus2 anonymous
        1 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn every_shape_of_an_envelope_holds_the_same_record() {
    let record = host("hi", &json!({"category": "Function.hello.User", "correlation_id": "o-7"}));
    let want = expect![[r#"
        2026-11-25T09:59:59.000000000Z log severity=Info invocation=g-1 correlation=o-7 body="hi" attributes=appName,category,functionInvocationId,hostInstanceId,location,resourceId function=shop/hello service=shop account=s region=eastus2 anonymous
        1 signals, 0 rejected, 0 filtered"#]];
    check(&record, &want);
    check(json!([record]), &want);
    check(json!({"records": [record]}), &want);
    check(json!([{"records": [{"records": [record]}]}]), &want);
    let mut as_text = record.clone();
    as_text["properties"] = json!(record["properties"].to_string());
    check(as_text, &want);
    let mut single = record.clone();
    single["properties"] = json!(record["properties"].to_string().replace('"', "'"));
    check(&single, &want);
    let raw = record.to_string().replace(
        &record["properties"].to_string(),
        &record["properties"].to_string().replace('"', "'"),
    );
    check(raw, &want);
}

#[test]
fn only_what_names_an_invocation_or_a_run_joins() {
    let record = |properties: Value| {
        json!({"time": "2026-11-25T09:59:59Z", "workflowId": "/WORKFLOWS/ORDERS", "level": "Error",
            "properties": properties})
    };
    check(
        record(json!({"message": "a", "requestId": "storage-1"})),
        &expect![[r#"
        2026-11-25T09:59:59.000000000Z log severity=Error error=other because="a" body="a" anonymous
        1 signals, 0 rejected, 0 filtered"#]],
    );
    check(
        record(json!({"message": "b", "resource": {"runId": "run-1"}})),
        &expect![[r#"
        2026-11-25T09:59:59.000000000Z log severity=Error correlation=run-1 error=other because="b" body="b" attributes=resource anonymous
        1 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn tables_of_application_insights_are_spans_and_log_records() {
    let row = |kind: &str, more: Value| {
        let mut row = json!({"time": "2026-11-25T09:59:59Z", "Type": kind, "AppRoleName": "shop",
            "OperationName": "hello", "OperationId": "28aad6f31b49a543549b6721bde89c81",
            "ParentId": "56d86b8fef4f1c6c", "ItemCount": 4});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    let request = json!({"Id": "4821911c2c909251", "Name": "hello", "DurationMs": 12.5,
        "Success": false, "ResultCode": "500", "Properties": {"InvocationId": "g-1"}});
    check(
        row("AppRequests", request),
        &expect![[r#"
            2026-11-25T09:59:59.000000000Z span Server trace=28aad6f31b49a543549b6721bde89c81 span=4821911c2c909251 parent=56d86b8fef4f1c6c end=2026-11-25T09:59:59.012500000Z invocation=g-1 stands_for=4 error=other because="500" name="hello" function=shop/hello service=shop
            1 signals, 0 rejected, 0 filtered"#]],
    );
    let call = json!({"Id": "4821911c2c909252", "Name": "GET /stock", "DurationMs": 4,
        "Success": true, "ResultCode": "200", "Target": "stock.example", "DependencyType": "HTTP"});
    check(
        row("AppDependencies", call),
        &expect![[r#"
            2026-11-25T09:59:59.000000000Z span Client trace=28aad6f31b49a543549b6721bde89c81 span=4821911c2c909252 parent=56d86b8fef4f1c6c end=2026-11-25T09:59:59.004000000Z stands_for=4 name="GET /stock" function=shop/hello service=shop
            1 signals, 0 rejected, 0 filtered"#]],
    );
    check(
        row("AppTraces", json!({"Message": "hi", "SeverityLevel": 2})),
        &expect![[r#"
            2026-11-25T09:59:59.000000000Z log severity=Warn trace=28aad6f31b49a543549b6721bde89c81/56d86b8fef4f1c6c stands_for=4 body="hi" attributes=ItemCount function=shop/hello service=shop anonymous
            1 signals, 0 rejected, 0 filtered"#]],
    );
    let thrown = json!({"ExceptionType": "System.Exception", "OuterMessage": "no stock"});
    check(
        row("AppExceptions", thrown),
        &expect![[r#"
            2026-11-25T09:59:59.000000000Z log severity=Error trace=28aad6f31b49a543549b6721bde89c81/56d86b8fef4f1c6c stands_for=4 error=other because="System.Exception: no stock" body="no stock" attributes=ItemCount,errorMessage,errorType function=shop/hello service=shop anonymous
            1 signals, 0 rejected, 0 filtered"#]],
    );
    check(
        row("AppRequests", json!({"Id": "x", "DurationMs": 1})),
        &expect![[r#"
            rejected 0: OperationId is no trace id, or Id no span id
            0 signals, 1 rejected, 0 filtered"#]],
    );
}

#[test]
fn metrics_keep_their_dimensions_and_queues_their_names() {
    let metric = |more: Value| {
        let mut metric = json!({"time": "2026-11-25T09:59:00Z", "timeGrain": "PT1M",
            "resourceId": "/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.SERVICEBUS/NAMESPACES/BUS"});
        metric.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        metric
    };
    check(
        json!({"records": [
            metric(json!({"metricName": "ActiveMessages", "maximum": 7, "average": 5, "dimension": {"EntityName": "orders"}})),
            metric(json!({"metricName": "DeadletteredMessages", "Maximum": 2, "dimension": {"EntityName": "orders"}})),
            metric(json!({"metricName": "IncomingRequests", "total": 9, "maximum": 4})),
            metric(json!({"metricName": "CPU", "unit": "Percent", "total": 9, "maximum": 4, "dimension": {"Node": "n-1"}})),
            metric(json!({"metricName": "Empty"})),
            metric(json!({"metricName": "Old", "total": 1, "time": "2020-01-01T00:00:00Z"})),
        ]}),
        &expect![[r#"
            2026-11-25T09:59:00.000000000Z metric throughline_queue_depth{queue="orders"} gauge=7 account=s
            2026-11-25T09:59:00.000000000Z metric throughline_dlq_depth{queue="orders/$deadletterqueue", source_queue="orders"} gauge=2 account=s
            2026-11-25T09:59:00.000000000Z metric azure_servicebus_namespaces_incoming_requests{resource="bus", stat="total", subscription="s"} gauge=9 account=s
            2026-11-25T09:59:00.000000000Z metric azure_servicebus_namespaces_cpu{dimension_node="n-1", resource="bus", stat="maximum", subscription="s"} gauge=4 account=s
            rejected 4: the metric has neither a total nor a maximum nor an average
            rejected 5: the time lies more than 7 days before or 10 minutes after the arrival
            4 signals, 2 rejected, 0 filtered"#]],
    );
}

#[test]
fn what_is_no_record_is_rejected_and_its_neighbours_are_unharmed() {
    check(
        r#"{"records":"I am text"}"#,
        &expect![[r#"
        rejected 0: records is no list of records
        0 signals, 1 rejected, 0 filtered"#]],
    );
    check(
        r#"{"records":[7,{"time":"nonsense","category":"X"}]}"#,
        &expect![[r#"
        2026-11-25T10:00:00.000000000Z log severity=Info body="" attributes=category anonymous
        rejected 0: a record is an object
        1 signals, 1 rejected, 0 filtered"#]],
    );
    check(
        "Message with quotes \" `",
        &expect![[r#"
        2026-11-25T10:00:00.000000000Z log body="Message with quotes \" `" anonymous
        1 signals, 0 rejected, 0 filtered"#]],
    );
    check(
        r#"{"json":"I am valid json"}"#,
        &expect![[r#"
        2026-11-25T10:00:00.000000000Z log severity=Info body="" attributes=json anonymous
        1 signals, 0 rejected, 0 filtered"#]],
    );
    check("", &expect!["undecodable: the body is empty"]);
    check(
        r#"{"records":[{"#,
        &expect!["undecodable: JSON is cut off: EOF while parsing an object at line 1 column 13"],
    );
}

/// What user code threw, not what the host wrapped it in; .NET writes both.
#[test]
fn an_exception_that_the_host_wrapped_is_told_as_what_it_is() {
    let failed = "Executed 'Functions.hello' (Failed, Id=g-1, Duration=25ms)";
    let wrapper = "Microsoft.Azure.WebJobs.Host.FunctionInvocationException";
    let details = format!(
        "{wrapper} : Exception while executing function: Functions.hello ---> System.InvalidOperationException : no stock\n   at Shop.Hello.Run() in /src/Hello.cs:line 12\n   End of inner exception"
    );
    let thrown = json!({"exceptionType": wrapper, "exceptionMessage": "Exception while executing function: Functions.hello",
        "exceptionDetails": details});
    let mut logged = thrown.clone();
    logged["category"] = "Host.Results".into();
    let bare = json!({"exceptionType": wrapper, "exceptionMessage": "Exception while executing function: Functions.hello"});
    check(
        json!({"records": [host(failed, &thrown), host("it failed", &logged), host(failed, &bare)]}),
        &expect![[r#"
            2026-11-25T09:59:59.000000000Z platform Report invocation=g-1 status=Failure error_type=System.InvalidOperationException: no stock duration=25ms function=shop/hello service=shop account=s region=eastus2
            2026-11-25T09:59:59.000000000Z log severity=Info invocation=g-1 body="it failed" attributes=appName,category,errorMessage,errorType,exceptionDetails,exceptionMessage,exceptionType,functionInvocationId,hostInstanceId,location,resourceId function=shop/hello service=shop account=s region=eastus2 anonymous
            2026-11-25T09:59:59.000000000Z platform Report invocation=g-1 status=Failure error_type=Microsoft.Azure.WebJobs.Host.FunctionInvocationException: Exception while executing function: Functions.hello duration=25ms function=shop/hello service=shop account=s region=eastus2
            3 signals, 0 rejected, 0 filtered"#]],
    );
}

#[test]
fn a_run_names_the_message_that_it_was_given() {
    let line = "Trigger Details: MessageId: m-1, SequenceNumber: 6, DeliveryCount: 2, EnqueuedTimeUtc: 2026-11-25T09:59:56.6630000+00:00";
    let row = json!({"Type": "AppTraces", "time": "2026-11-25T09:59:59Z", "AppRoleName": "shop",
        "OperationName": "hello", "OperationId": "0af7651916cd43dd8448eb211c80319c", "Message": line,
        "Properties": {"Category": "Function.hello", "InvocationId": "g-1"}});
    check(
        json!({"records": [host(line, &json!({})), row]}),
        &expect![[r#"
        2026-11-25T09:59:59.000000000Z log severity=Info invocation=g-1 received=(Queue m-1 sent=2026-11-25T09:59:56.663000000Z receive_count=2) trigger=Queue body="Trigger Details: MessageId: m-1, Sequenc"… attributes=appName,category,functionInvocationId,hostInstanceId,location,resourceId function=shop/hello service=shop account=s region=eastus2 anonymous
        2026-11-25T09:59:59.000000000Z log severity=Info trace=0af7651916cd43dd8448eb211c80319c invocation=g-1 received=(Queue m-1 sent=2026-11-25T09:59:56.663000000Z receive_count=2) trigger=Queue body="Trigger Details: MessageId: m-1, Sequenc"… attributes=Category,InvocationId function=shop/hello service=shop anonymous
        2 signals, 0 rejected, 0 filtered"#]],
    );
}

/// The host names the queue and the poison queue, and no message: one arrival.
#[test]
fn a_message_that_moves_to_the_poison_queue_is_an_arrival_there() {
    let moved =
        "Message has reached MaxDequeueCount of 5. Moving message to queue 'orders-poison'.";
    check(
        json!({"records": [
            host(moved, &json!({"category": "Host.Triggers.Queues", "level": "Warning"})),
            host(moved, &json!({"category": "Function.hello.User"})),
            host("Message has reached MaxDequeueCount of 5. Moving message to queue 'odd'.",
                &json!({"category": "Host.Triggers.Queues"})),
        ]}),
        &expect![[r#"
            2026-11-25T09:59:59.000000000Z log severity=Warn invocation=g-1 body="Message has reached MaxDequeueCount of 5"… attributes=appName,category,functionInvocationId,hostInstanceId,location,resourceId function=shop/hello service=shop account=s region=eastus2 anonymous
            2026-11-25T09:59:59.000000000Z metric throughline_dlq_arrivals_total{faas_name="shop/hello", job="shop/hello", queue="orders-poison", source_queue="orders"} sum=1 temporality=Delta function=shop/hello service=shop account=s region=eastus2 anonymous
            2026-11-25T09:59:59.000000000Z log severity=Info invocation=g-1 body="Message has reached MaxDequeueCount of 5"… attributes=appName,category,functionInvocationId,hostInstanceId,location,resourceId function=shop/hello service=shop account=s region=eastus2 anonymous
            2026-11-25T09:59:59.000000000Z log severity=Info invocation=g-1 body="Message has reached MaxDequeueCount of 5"… attributes=appName,category,functionInvocationId,hostInstanceId,location,resourceId function=shop/hello service=shop account=s region=eastus2 anonymous
            4 signals, 0 rejected, 0 filtered"#]],
    );
}
