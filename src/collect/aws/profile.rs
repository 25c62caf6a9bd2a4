//! Keys in the files that AWS's own tools share: `~/.aws/credentials` and `~/.aws/config`.
//!
//! The text of a file and a profile's name come in; its settings go out. Profiles that lead elsewhere (SSO,
//! a process, another profile) are named and not followed.
//! Source: docs.aws.amazon.com/sdkref/latest/guide/file-format.html

use std::collections::BTreeMap;

/// Where the files are, and which profile of them is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    credentials: String,
    config: String,
    profile: String,
    /// Somebody named the profile, so it must be there.
    is_named: bool,
}

/// What a profile holds. Without `Debug` outside of tests: it holds secrets.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Held {
    Keys { id: String, secret: String, session: Option<String> },
    WebIdentity { token_file: String, role: String, session: Option<String> },
}

impl Files {
    /// By the environment; None where nothing says where they could be.
    pub(super) fn of(env: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let home = env("HOME").or_else(|| env("USERPROFILE"));
        let below = |name: &str| home.as_ref().map(|home| format!("{home}/.aws/{name}"));
        let named = env("AWS_PROFILE");
        Some(Self {
            credentials: env("AWS_SHARED_CREDENTIALS_FILE").or_else(|| below("credentials"))?,
            config: env("AWS_CONFIG_FILE").or_else(|| below("config"))?,
            is_named: named.is_some(),
            profile: named.unwrap_or_else(|| "default".to_owned()),
        })
    }

    /// What the profile holds now; None where no file has it and nobody named it.
    ///
    /// # Errors
    /// Where a profile that was named holds nothing that can be used.
    pub(super) fn read(&self) -> Result<Option<Held>, String> {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let mut settings = settings(&text(&self.config), &self.profile, "profile ");
        // The credentials file wins.
        settings.extend(self::settings(&text(&self.credentials), &self.profile, ""));
        let held = held(&settings);
        if held.is_some() || !self.is_named {
            return Ok(held);
        }
        let Self { profile, credentials, config, .. } = self;
        let elsewhere = ["sso_session", "sso_start_url", "credential_process", "source_profile"];
        let why = match elsewhere.into_iter().find(|key| settings.contains_key(*key)) {
            Some(key) => format!("it leads on by {key}, which is not followed"),
            None => format!("{credentials} and {config} hold no keys of it"),
        };
        Err(format!(
            "AWS_PROFILE={profile}: {why}; use aws_access_key_id and aws_secret_access_key, or role_arn with web_identity_token_file"
        ))
    }
}

fn held(settings: &BTreeMap<String, String>) -> Option<Held> {
    let get = |key: &str| settings.get(key).cloned().filter(|value| !value.is_empty());
    if let (Some(id), Some(secret)) = (get("aws_access_key_id"), get("aws_secret_access_key")) {
        return Some(Held::Keys { id, secret, session: get("aws_session_token") });
    }
    let (token_file, role) = (get("web_identity_token_file")?, get("role_arn")?);
    Some(Held::WebIdentity { token_file, role, session: get("role_session_name") })
}

/// The settings of one profile. Sections of the config file are called `profile NAME`, but for `default`.
fn settings(text: &str, profile: &str, prefix: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut is_ours = false;
    for line in text.lines() {
        // Settings of a setting are set in.
        let is_nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            let name = section.split(']').next().unwrap_or_default().trim();
            let name = name.strip_prefix(prefix).map_or(name, str::trim);
            let is_profile = prefix.is_empty() || section.trim().starts_with(prefix);
            is_ours = name == profile && (is_profile || profile == "default");
        } else if let Some((key, value)) = line.split_once('=')
            && is_ours
            && !is_nested
        {
            let value = value.split(" #").next().unwrap_or_default().trim();
            found.insert(key.trim().to_ascii_lowercase(), value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "\
# a comment
[default]
aws_access_key_id = AKIA1
aws_secret_access_key=s+/= # of the shop
[half]
aws_access_key_id = AKIA2
";
    const CONFIG: &str = "\
[default]
region = eu-west-1
[profile cluster]
role_arn = arn:aws:iam::1:role/r
web_identity_token_file = /var/run/token
s3 =
  aws_access_key_id = no
[profile people]
sso_session = shop
[half]
aws_secret_access_key = not of a profile
";

    fn check(profile: Option<&str>, expect: Result<Option<Held>, &str>) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(path("credentials"), CREDENTIALS).expect("a file");
        std::fs::write(path("config"), CONFIG).expect("a file");
        let env = |name: &str| match name {
            "AWS_SHARED_CREDENTIALS_FILE" => Some(path("credentials")),
            "AWS_CONFIG_FILE" => Some(path("config")),
            "AWS_PROFILE" => profile.map(str::to_owned),
            _ => None,
        };
        match (Files::of(&env).expect("both are named").read(), expect) {
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (got, expect) => assert_eq!(got, expect.map_err(str::to_owned)),
        }
    }

    #[test]
    fn a_profile_holds_keys_or_leads_to_a_role() {
        let (id, secret) = ("AKIA1".to_owned(), "s+/=".to_owned());
        check(None, Ok(Some(Held::Keys { id, secret, session: None })));
        let (token_file, role) = ("/var/run/token".to_owned(), "arn:aws:iam::1:role/r".to_owned());
        check(Some("cluster"), Ok(Some(Held::WebIdentity { token_file, role, session: None })));
    }

    #[test]
    fn a_profile_that_was_named_and_cannot_be_used_says_why() {
        check(Some("people"), Err("it leads on by sso_session"));
        check(Some("half"), Err("hold no keys of it"));
        check(Some("nobody"), Err("AWS_PROFILE=nobody"));
    }

    #[test]
    fn without_files_and_without_a_name_there_is_nothing() {
        let nowhere = |name: &str| (name == "HOME").then(|| "/nonexistent".to_owned());
        assert_eq!(Files::of(&nowhere).expect("a home").read(), Ok(None));
        assert_eq!(Files::of(&|_| None), None);
    }
}
