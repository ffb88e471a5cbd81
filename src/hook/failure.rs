//! What an API error means: the values of `error` in a `StopFailure` payload (client 2.1.331), and the time at which
//! the API says it will be over.

use std::time::Duration;

use chrono::DateTime;

use super::payload::Payload;
use crate::throttle::step::{Failure, FailureClass, Reset};

/// Reads the failure out of the payload. Every error that is not listed here may pass by itself.
#[must_use]
pub fn of(payload: &Payload<'_>) -> Failure {
    let error = payload.error().unwrap_or_else(|| "unknown".to_owned());
    let texts = payload.error_texts();
    let too_long = texts.iter().flatten().any(|t| t.to_lowercase().contains("prompt is too long"));
    let (class, cure) = match error.as_str() {
        "authentication_failed" => (FailureClass::Person, "log in again (/login) or mend the API key"),
        "oauth_org_not_allowed" => (FailureClass::Person, "log in (/login) with an account of an allowed organisation"),
        "billing_error" => (FailureClass::Person, "add credit or mend the payment method of the account"),
        "account_on_hold" => (FailureClass::Person, "ask Anthropic's support why the account is on hold"),
        "verification_required" => (FailureClass::Person, "verify the account on the provider's site"),
        "cloud_credential_error" => (FailureClass::Person, "renew the cloud provider's credentials"),
        "model_not_found" => (FailureClass::Person, "pick a model that the account may use (/model)"),
        "invalid_request" if too_long => (FailureClass::Request, "make the conversation shorter (/compact or /clear)"),
        "invalid_request" => (FailureClass::Request, "see what the API says of the request; /clear starts afresh"),
        "max_output_tokens" => {
            (FailureClass::Request, "ask for shorter answers or raise CLAUDE_CODE_MAX_OUTPUT_TOKENS")
        }
        _ => (FailureClass::Passing, ""),
    };
    let reset = match class {
        FailureClass::Person => None,
        _ => texts.iter().flatten().find_map(|t| reset(t)),
    };
    let cure = if cure.is_empty() { String::new() } else { format!("{error}: {cure}") };
    Failure { class, reset, too_long, cure }
}

/// A reset time in a text: `retry-after: <s>`, `|<unix seconds>`, or an RFC 3339 time.
fn reset(text: &str) -> Option<Reset> {
    let lower = text.to_ascii_lowercase();
    if let Some((_, after)) = lower.split_once("retry-after") {
        let after = after.trim_start_matches([' ', ':', '"', '=', '\'']);
        if let Some(secs) = digits(after).and_then(|d| d.parse::<u64>().ok()) {
            return Some(Reset::After(Duration::from_secs(secs.min(FAR))));
        }
    }
    let unix = |part: &str| digits(part).filter(|d| (9..=11).contains(&d.len()))?.parse::<i64>().ok();
    if let Some(secs) = text.split('|').skip(1).find_map(unix) {
        return Some(Reset::At(secs.saturating_mul(1000)));
    }
    let words = text.split(|c: char| c.is_whitespace() || "\"'(),;".contains(c));
    words.filter(|w| w.len() >= 20).find_map(rfc3339)
}

/// Further away than any reset that is believed.
const FAR: u64 = 400 * 86_400;

fn rfc3339(word: &str) -> Option<Reset> {
    let time = DateTime::parse_from_rfc3339(word.trim_end_matches('.')).ok()?;
    Some(Reset::At(time.timestamp_millis()).clamped())
}

impl Reset {
    fn clamped(self) -> Self {
        match self {
            Self::At(at) => Self::At(at.clamp(0, 99_999_999_999_999)),
            after @ Self::After(_) => after,
        }
    }
}

fn digits(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end).filter(|d| !d.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(error: &str, details: &str) -> Failure {
        let json = serde_json::json!({"hook_event_name": "StopFailure", "session_id": "s", "error": error,
            "error_details": details});
        of(&super::super::payload::parse(json.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn classes() {
        for error in ["rate_limit", "overloaded", "server_error", "unknown", "brand_new_error"] {
            assert_eq!(failure(error, "").class, FailureClass::Passing, "{error}");
        }
        for error in ["invalid_request", "max_output_tokens"] {
            assert_eq!(failure(error, "").class, FailureClass::Request, "{error}");
        }
        for error in [
            "authentication_failed",
            "oauth_org_not_allowed",
            "billing_error",
            "account_on_hold",
            "verification_required",
            "cloud_credential_error",
            "model_not_found",
        ] {
            let failure = failure(error, "retry-after: 60");
            assert_eq!((failure.class, failure.reset), (FailureClass::Person, None), "{error}");
            assert!(failure.cure.starts_with(error) && failure.cure.len() > error.len() + 10);
        }
    }

    #[test]
    fn reset_times() {
        for (text, reset) in [
            ("429 retry-after: 90", Some(Reset::After(Duration::from_secs(90)))),
            ("{\"Retry-After\": \"7\"}", Some(Reset::After(Duration::from_secs(7)))),
            ("Claude AI usage limit reached|1764000000", Some(Reset::At(1_764_000_000_000))),
            ("resets at 2026-11-24T15:00:00Z.", Some(Reset::At(1_795_532_400_000))),
            ("resets at 2026-11-24T16:00:00+01:00", Some(Reset::At(1_795_532_400_000))),
            ("a|b|12", None),
            ("no time at all", None),
        ] {
            assert_eq!(failure("rate_limit", text).reset, reset, "{text}");
        }
    }

    #[test]
    fn too_long() {
        assert!(failure("invalid_request", "400 Prompt is too long: 1200000 tokens").too_long);
        assert!(!failure("invalid_request", "400 bad tool").too_long);
    }
}
