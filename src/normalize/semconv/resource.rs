//! Who speaks, from a resource's attributes.
//!
//! In: the attributes of an OTLP resource, redacted. Out: a [`Resource`]; what it names leaves the
//! attributes, the rest stays. A function's name comes from `faas.name`, else from
//! `cloud.resource_id` (`faas.id` of old), else from the log group `/aws/lambda/NAME`.

use crate::number::u64_from_i64;
use crate::signal::{Attributes, Resource, Text, Value};

use super::number;

/// `faas.max_memory` is bytes since semantic conventions 1.14 and was MiB before; no function has less
/// than this many bytes, and none has this many MiB.
const MEMORY_BYTES_MIN: u64 = 1024 * 1024;

/// Reads a resource. `function` names it where nothing else does (the header `Lambda-Function-Name`).
pub(crate) fn resource(attributes: Attributes, function: Option<&str>) -> Resource {
    let id = attributes.first_str(&["cloud.resource_id", "faas.id"]).map(ResourceId::parse);
    let id = id.unwrap_or_default();
    let group = attributes.get("aws.log.group.names").and_then(first_text);
    let grouped = group.and_then(|group| group.strip_prefix("/aws/lambda/"));
    let named = |name: Option<&str>| name.filter(|name| !name.is_empty()).map(Text::from);
    let mut resource = Resource {
        function: named(id.name).or_else(|| named(grouped)).or_else(|| named(function)),
        version: named(id.version),
        account: named(id.account),
        region: named(id.region),
        ..Resource::default()
    };
    let mut instance_of_service = None;
    let mut rest = Vec::with_capacity(attributes.0.len());
    for (key, value) in attributes.0 {
        let slot = match &*key {
            "service.name" => &mut resource.service,
            "faas.name" => &mut resource.function,
            "faas.version" => &mut resource.version,
            "faas.instance" => &mut resource.instance,
            "service.instance.id" => &mut instance_of_service,
            "cloud.account.id" => &mut resource.account,
            "cloud.region" => &mut resource.region,
            "faas.max_memory" => {
                resource.memory_bytes = memory(&value);
                continue;
            }
            _ => {
                rest.push((key, value));
                continue;
            }
        };
        if let Some(text) = plain(value) {
            *slot = Some(text);
        }
    }
    if resource.instance.is_none() {
        resource.instance = instance_of_service;
    } else if let Some(id) = instance_of_service {
        rest.push(("service.instance.id".into(), Value::Str(id)));
    }
    resource.attributes = Attributes(rest);
    resource
}

/// What a platform's own resource id tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ResourceId<'a> {
    pub(super) name: Option<&'a str>,
    version: Option<&'a str>,
    account: Option<&'a str>,
    region: Option<&'a str>,
}

impl<'a> ResourceId<'a> {
    /// Reads a Lambda ARN (`arn:aws:lambda:REGION:ACCOUNT:function:NAME[:VERSION]`), a Google full
    /// resource name (`//run.googleapis.com/projects/P/locations/L/services/NAME`), an Azure path
    /// (`/subscriptions/…/sites/APP[/functions/NAME]`).
    pub(super) fn parse(id: &'a str) -> Self {
        if id.starts_with("arn:") {
            let mut parts = id.split(':').skip(3);
            let (region, account) = (parts.next(), parts.next());
            let is_function = parts.next() == Some("function");
            let name = if is_function { parts.next() } else { None };
            return Self { name, version: parts.next(), account, region };
        }
        let after = |key: &str| {
            let mut parts = id.split('/');
            parts.find(|part| part.eq_ignore_ascii_case(key))?;
            parts.next()
        };
        Self {
            name: id.rsplit('/').next(),
            version: None,
            account: after("projects").or_else(|| after("subscriptions")),
            region: after("locations"),
        }
    }
}

fn memory(value: &Value) -> Option<u64> {
    let told = u64_from_i64(number(value)?);
    if told == 0 {
        return None;
    }
    Some(if told < MEMORY_BYTES_MIN { told.saturating_mul(MEMORY_BYTES_MIN) } else { told })
}

/// Plain values as text; lists and maps name nothing.
fn plain(value: Value) -> Option<Text> {
    match value {
        Value::Str(text) if text.is_empty() => None,
        Value::Str(text) => Some(text),
        Value::Int(_) | Value::Bool(_) | Value::Float(_) => Some(value.to_text().into()),
        Value::List(_) | Value::Map(_) => None,
    }
}

fn first_text(value: &Value) -> Option<&str> {
    match value {
        Value::Str(text) => Some(text),
        Value::List(values) => values.first().and_then(Value::as_str),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(attributes: &[(&str, Value)], expect: &Expect) {
        let list = attributes.iter().map(|(k, v)| (Text::from(*k), v.clone())).collect();
        let r = resource(Attributes(list), Some("header"));
        let rest: Vec<&str> = r.attributes.0.iter().map(|(k, _)| &**k).collect();
        let shown = [r.service, r.function, r.version, r.instance, r.account, r.region]
            .map(|field| field.map_or_else(|| "-".to_owned(), |text| text.to_string()));
        let memory = r.memory_bytes;
        expect.assert_eq(&format!("{} {memory:?} {rest:?}", shown.join(" ")));
    }

    fn text(text: &str) -> Value {
        Value::Str(text.into())
    }

    #[test]
    fn named_attributes_win_and_leave_the_rest() {
        check(
            &[
                ("service.name", text("shop")),
                ("faas.name", text("checkout")),
                ("faas.version", Value::Int(42)),
                ("service.instance.id", text("i-1")),
                ("cloud.account.id", text("123456789012")),
                ("cloud.region", text("eu-west-1")),
                ("faas.max_memory", Value::Int(536_870_912)),
                ("cloud.resource_id", text("arn:aws:lambda:us-east-1:1:function:other")),
                ("telemetry.sdk.name", text("opentelemetry")),
            ],
            &expect![[
                r#"shop checkout 42 i-1 123456789012 eu-west-1 Some(536870912) ["cloud.resource_id", "telemetry.sdk.name"]"#
            ]],
        );
    }

    #[test]
    fn resource_ids_of_three_clouds_name_the_function() {
        for (id, want) in [
            (
                "arn:aws:lambda:us-east-1:123456789012:function:pay:7",
                expect![[r#"- pay 7 - 123456789012 us-east-1 None ["cloud.resource_id"]"#]],
            ),
            (
                "//run.googleapis.com/projects/p/locations/europe-west1/services/pay",
                expect![[r#"- pay - - p europe-west1 None ["cloud.resource_id"]"#]],
            ),
            (
                "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/app/functions/pay",
                expect![[r#"- pay - - s - None ["cloud.resource_id"]"#]],
            ),
            (
                "arn:aws:ecs:us-east-1:123456789012:task/abc",
                expect![[r#"- header - - 123456789012 us-east-1 None ["cloud.resource_id"]"#]],
            ),
        ] {
            check(&[("cloud.resource_id", text(id))], &want);
        }
    }

    #[test]
    fn the_log_group_names_the_function_where_nothing_else_does() {
        check(
            &[
                ("aws.log.group.names", Value::List(vec![text("/aws/lambda/fulfil")])),
                ("faas.max_memory", text("512")),
            ],
            &expect![[r#"- fulfil - - - - Some(536870912) ["aws.log.group.names"]"#]],
        );
        check(
            &[("faas.instance", text("a")), ("service.instance.id", text("b"))],
            &expect![[r#"- header - a - - None ["service.instance.id"]"#]],
        );
    }
}
