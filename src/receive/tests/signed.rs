//! Bodies that are signed.

use super::*;

#[tokio::test]
async fn a_signed_body_needs_no_token_and_its_id_names_the_delivery() {
    let signer = Signer::try_new("shop", Scheme::StandardWebhooks, "whsec_c2VjcmV0");
    let desk = desk_with(Ok(()), Limits::default(), |access| {
        access.signers = vec![signer.expect("a secret")];
        access.required = true;
    })
    .await;
    let now = Clock::wall().now().as_secs();
    let body = r#"{"message":"a","level":"INFO"}"#;
    let sign = |id: &str, body: &str| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"secret");
        let tag = ring::hmac::sign(&key, format!("{id}.{now}.{body}").as_bytes());
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, tag)
    };
    let request = |path: &str, id: &str, signature: &str| {
        format!(
            "{path} | webhook-id: {id} | webhook-timestamp: {now} | webhook-signature: v1,{signature} | {body}"
        )
    };
    let good = sign("1", body);
    let cases = [
        request("/ingest/json", "1", &good),
        request("/ingest/json", "1", &good),
        request("/ingest/json", "2", &good),
        request("/ingest/json", "1", &sign("1", "{}")),
        // Not a scheme of this path.
        request("/ingest/aws/telemetry", "1", &good),
        format!("/ingest/json | {body}"),
    ];
    let cases: Vec<&str> = cases.iter().map(String::as_str).collect();
    check(&desk, &cases, expect![[r#"
        200 {"accepted":1,"errors":[],"rejected":0}
        200 {"accepted":1,"errors":[],"rejected":0}
        401 {"error":{"code":"unauthorized","message":"no known credential: send `Authorization: Bearer TOKEN`"}}
        401 {"error":{"code":"unauthorized","message":"no known credential: send `Authorization: Bearer TOKEN`"}}
        401 {"error":{"code":"unauthorized","message":"no known credential: send `Authorization: Bearer TOKEN`"}}
        401 {"error":{"code":"unauthorized","message":"no known credential: send `Authorization: Bearer TOKEN`"}}
    "#]]).await;
    let batches = desk.batches.lock().expect("not poisoned");
    let ids: Vec<Option<u128>> = batches.iter().map(|batch| batch.declared_id).collect();
    assert!(matches!(ids[..], [Some(first), Some(second)] if first == second), "{ids:?}");
}

#[tokio::test]
async fn a_drain_proves_itself_by_signature_and_we_by_its_code() {
    let drain = Signer::try_new("drain", Scheme::Vercel, "s3cret").expect("a secret");
    let desk = desk_with(Ok(()), Limits::default(), |access| {
        access.signers = vec![drain.with_verify("c0de").expect("a code")];
        access.required = true;
    })
    .await;
    let body =
        r#"[{"id":"1","timestamp":1573817187330,"source":"build","level":"info","message":"a"}]"#;
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"s3cret");
    let tag = ring::hmac::sign(&key, body.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let signed = format!("/ingest/vercel | x-vercel-signature: {hex} | {body}");
    let forged = format!("/ingest/vercel | x-vercel-signature: {hex} | []");
    let unsigned = format!("/ingest/vercel | {body}");
    check(&desk, &[&signed, &forged, &unsigned], expect![[r#"
        200 {"accepted":1,"errors":[],"rejected":0}
        401 {"error":{"code":"unauthorized","message":"no known credential: send `Authorization: Bearer TOKEN`"}}
        401 {"error":{"code":"unauthorized","message":"no known credential: send `Authorization: Bearer TOKEN`"}}
    "#]]).await;
    assert_eq!(took(&desk), [Receiver::Vercel]);
    let url = format!("http://{}/ingest/vercel", desk.receivers.ingest());
    for answer in [client().get(&url).send().await, client().post(&url).send().await] {
        let answer = answer.expect("an answer");
        let code = answer.headers().get("x-vercel-verify").and_then(|code| code.to_str().ok());
        assert_eq!(code, Some("c0de"), "{}", answer.status());
    }
    let other = Signer::try_new("shop", Scheme::StandardWebhooks, "c2VjcmV0").expect("a secret");
    assert!(other.with_verify("c0de").is_err());
}
