//! Passwords that are guessed first: those of published lists, names and words, and simple variations of them.

use zxcvbn::zxcvbn;

use crate::error::ApiError;

/// A password that is found within so many guesses is refused. With the delays between tries that is a matter of months
/// for one who knows the name, and of an hour for one who has stolen the hash.
const MIN_GUESSES: u64 = 100_000;

/// Fails with 400 for a password that is guessed at once by one who knows these words, such as the name of the account.
pub(crate) fn refuse(password: &str, known: &[&str]) -> Result<(), ApiError> {
    let estimate = zxcvbn(password, known);
    if estimate.guesses() >= MIN_GUESSES {
        return Ok(());
    }
    let feedback = estimate.feedback();
    let reason = feedback.and_then(|feedback| Some(feedback.warning()?.to_string()));
    let reason = reason.unwrap_or_else(|| "It is among the first that anybody tries.".to_owned());
    Err(ApiError::bad_argument(format!("the password is too easy to guess: {reason}"))
        .hint("Take a few words that do not belong together, or let a password manager make one."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_passwords_and_simple_variations_of_them_and_of_names_are_refused() {
        for common in
            ["sunshine1", "12345678", "qwertyuiop", "Passw0rd", "iloveyou1", "aaaaaaaaaa", "letmein123"]
        {
            let refused = refuse(common, &[]).unwrap_err();
            assert!(!refused.to_string().contains(common), "{refused}");
            assert!(refused.failure().hint.is_some(), "{common}");
        }
        assert!(refuse("annalena", &["annalena"]).is_err());
        for good in ["correct horse battery", "tr0ub4dor&3x", "mGk8-vQ2z", "Blaue Tasse, alter Zaun"] {
            refuse(good, &["anna"]).unwrap();
        }
        refuse(&"x7 ".repeat(700), &[]).unwrap();
    }
}
