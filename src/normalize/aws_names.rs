//! Names inside AWS identifiers: ARNs and queue URLs in, the parts that we use out.

/// The parts of a Lambda function's ARN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FunctionArn<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: Option<&'a str>,
    pub(crate) account: &'a str,
    pub(crate) region: &'a str,
}

/// `arn:aws:lambda:REGION:ACCOUNT:function:NAME[:VERSION]`.
pub(crate) fn function_arn(arn: &str) -> Option<FunctionArn<'_>> {
    let mut parts = arn.split(':');
    let mut next = || parts.next().filter(|part| !part.is_empty());
    (next()? == "arn").then_some(())?;
    next()?;
    (next()? == "lambda").then_some(())?;
    let (region, account) = (next()?, next()?);
    (next()? == "function").then_some(())?;
    Some(FunctionArn { name: next()?, version: next(), account, region })
}

/// A queue's, topic's, stream's or bus's own name, from its ARN or URL; a plain name is itself.
pub(crate) fn resource_name(text: &str) -> Option<&str> {
    let text = text.trim_end_matches('/');
    // A DynamoDB stream's last part is a date; the table names it.
    if let Some((_, table)) = text.split_once(":table/") {
        return table.split('/').next().filter(|name| !name.is_empty());
    }
    text.rsplit(['/', ':']).next().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_arn_tells_who_where_and_which_version() {
        let arn = function_arn("arn:aws:lambda:eu-west-1:123456789012:function:pay:42").unwrap();
        assert_eq!((arn.name, arn.version), ("pay", Some("42")));
        assert_eq!((arn.region, arn.account), ("eu-west-1", "123456789012"));
        assert_eq!(function_arn("arn:aws:lambda:eu-west-1:1:function:pay").unwrap().version, None);
        for text in
            ["", "pay", "arn:aws:sqs:eu-west-1:1:orders", "arn:aws:lambda:eu-west-1:1:function:"]
        {
            assert_eq!(function_arn(text), None, "{text}");
        }
    }

    #[test]
    fn resources_are_called_by_their_own_name() {
        for (text, name) in [
            ("arn:aws:sqs:us-east-1:123456789012:orders", Some("orders")),
            ("https://sqs.us-east-1.amazonaws.com/123456789012/orders", Some("orders")),
            ("arn:aws:kinesis:us-east-1:1:stream/clicks", Some("clicks")),
            (
                "arn:aws:dynamodb:us-east-1:1:table/stock/stream/2024-01-01T00:00:00.000",
                Some("stock"),
            ),
            ("orders", Some("orders")),
            ("", None),
        ] {
            assert_eq!(resource_name(text), name, "{text}");
        }
    }
}
