//! Reads the meaning of an API error from `error` in a `StopFailure` payload (client 2.1.332).

use super::payload::Payload;
use super::reset;
use crate::policy::request::{Failure, FailureClass};

/// The phrases by which the client recognises that the conversation is longer than the model's context
/// (2.1.332), in lower case and without backquotes. Its own API's phrases come first, then those of gateways
/// and other vendors.
const TOO_LONG: [&str; 28] = [
    "prompt is too long",
    "input is too long",
    "input length and max_tokens exceed context limit",
    "context window",
    "context_window_exceeded",
    "request_too_large",
    "request too large",
    "maximum context length",
    "context_length_exceeded",
    "contextwindowexceedederror",
    "longer than the maximum model length",
    "longer than the model's context length",
    "exceeds the available context size",
    "exceeds the maximum number of tokens allowed",
    "exceeded model token limit",
    "input token length too long",
    "input tokens exceed the configured limit",
    "maximum context limit",
    "maximum prompt length",
    "prompt exceeds max length",
    "tokens in request more than max tokens allowed",
    "range of input length should be",
    "but model only supports up to",
    "reduce the length of the messages",
    "inputs tokens + max_new_tokens must be",
    "context exceeds your deployment",
    "max_tokens_context_overflow",
    "prompt_too_long",
];
/// The phrases by which it recognises that something else was too long.
const OTHERWISE: [&str; 4] = [
    "policy_blocked",
    "dlp_request_denied",
    "string too long. expected a string with maximum length",
    "expected maxlength",
];

/// Reads the failure out of the payload. Every error that is not listed here may pass without a person's
/// help.
#[must_use]
pub fn of(payload: &Payload<'_>) -> Failure {
    let error = payload.error().unwrap_or_else(|| "unknown".to_owned());
    let texts = payload.error_texts();
    // These errors concern the account or the API, whatever their text contains.
    let elsewhere = matches!(error.as_str(), "rate_limit" | "overloaded" | "server_error");
    let too_long = !elsewhere && texts.iter().flatten().any(|t| is_too_long(t));
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
        _ => texts.iter().flatten().find_map(|t| reset::read(t)),
    };
    let too_long = too_long && class != FailureClass::Person;
    let cure = if cure.is_empty() { String::new() } else { format!("{error}: {cure}") };
    let of_key = class == FailureClass::Passing && reset.is_some();
    let model = texts.iter().flatten().find_map(|t| named_model(t)).filter(|_| of_key).unwrap_or_default();
    Failure { class, reset, of_key, model: model.to_owned(), too_long, cure }
}

/// Returns the model that a limit's text names, such as `You've hit your Opus limit`. Other agents may use another
/// model.
fn named_model(text: &str) -> Option<&'static str> {
    const MODELS: [&str; 5] = ["opus", "sonnet", "haiku", "fable", "mythos"];
    let text = text.to_lowercase();
    let mut limits = text.match_indices(" limit").filter_map(|(at, _)| text.get(..at)?.split_whitespace().next_back());
    limits.find_map(|word| MODELS.into_iter().find(|model| *model == word))
}

/// Returns whether an error's text reports that the conversation does not fit the model's context.
fn is_too_long(text: &str) -> bool {
    let text = text.to_lowercase().replace('`', "");
    TOO_LONG.iter().any(|words| text.contains(words)) && !OTHERWISE.iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::request::Reset;

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
    fn a_reset_time_is_found_in_either_text() {
        let json = serde_json::json!({"hook_event_name": "StopFailure", "session_id": "s", "error": "rate_limit",
            "last_assistant_message": "Claude AI usage limit reached|1764000000"});
        let payload = super::super::payload::parse(json.to_string().as_bytes()).map(|payload| of(&payload));
        assert_eq!(payload.unwrap().reset, Some(Reset::At(1_764_000_000_000)));
        assert_eq!(failure("rate_limit", "retry-after: 7").reset, Some(Reset::After(Duration::from_secs(7))));
    }

    /// The names of the limits in the client 2.1.332.
    #[test]
    fn the_model_of_a_limit() {
        for (text, of_key, model) in [
            ("You've hit your Opus limit · resets Dec 3, 8pm (UTC)", true, "opus"),
            ("You've hit your Sonnet limit · resets 8pm", true, "sonnet"),
            ("You've hit your Fable limit · resets 8pm · progress saved", true, "fable"),
            ("You've hit your session limit · resets 8pm", true, ""),
            ("You've hit your weekly limit · resets Dec 3, 8pm", true, ""),
            ("You've hit your 5-hour limit · resets 8pm", true, ""),
            ("the Opus model is busy, and the weekly limit resets 8pm", true, ""),
            ("You've hit your Opus limit", false, ""),
        ] {
            let read = failure("rate_limit", text);
            assert_eq!((read.of_key, read.model.as_str()), (of_key, model), "{text}");
        }
    }

    #[test]
    fn too_long() {
        for text in [
            "400 Prompt is too long: 1200000 tokens",
            "400 {\"message\":\"input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000\"}",
            "input length and max_tokens exceed context limit: 1 + 2 > 3",
            "Input is too long for requested model.",
            "API Error: The model has reached its context window limit.",
            "This model's maximum context length is 128000 tokens",
            "413 {\"error\":{\"type\":\"request_too_large\"}}",
        ] {
            assert!(failure("invalid_request", text).too_long, "{text}");
            assert!(failure("max_output_tokens", text).too_long, "{text}");
            assert!(!failure("rate_limit", text).too_long, "{text}");
        }
        for text in ["400 bad tool", "policy_blocked: the prompt is too long", "the session is too long ago"] {
            assert!(!failure("invalid_request", text).too_long, "{text}");
        }
    }
}
