//! Languages of sounds and subtitles, as files name them.

/// The English name of a language; `None` for an unknown code.
#[must_use]
pub fn name(code: &str) -> Option<&'static str> {
    known(code).map(|language| language.to_name())
}

/// The tag of RFC 5646: two letters where there are two. Unknown codes are passed on as far as they can be tags.
#[must_use]
pub fn tag(code: &str) -> String {
    match known(code) {
        Some(known) => known.to_639_1().unwrap_or(known.to_639_3()).to_owned(),
        None => code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(35).collect(),
    }
}

fn known(code: &str) -> Option<isolang::Language> {
    match code {
        // Bibliographic codes of ISO 639-2, which Matroska files have.
        "ger" => Some(isolang::Language::Deu),
        "fre" => Some(isolang::Language::Fra),
        "dut" => Some(isolang::Language::Nld),
        "chi" => Some(isolang::Language::Zho),
        "cze" => Some(isolang::Language::Ces),
        "gre" => Some(isolang::Language::Ell),
        "per" => Some(isolang::Language::Fas),
        "rum" => Some(isolang::Language::Ron),
        "slo" => Some(isolang::Language::Slk),
        "alb" => Some(isolang::Language::Sqi),
        "arm" => Some(isolang::Language::Hye),
        "baq" => Some(isolang::Language::Eus),
        "bur" => Some(isolang::Language::Mya),
        "geo" => Some(isolang::Language::Kat),
        "ice" => Some(isolang::Language::Isl),
        "mac" => Some(isolang::Language::Mkd),
        "mao" => Some(isolang::Language::Mri),
        "may" => Some(isolang::Language::Msa),
        "tib" => Some(isolang::Language::Bod),
        "wel" => Some(isolang::Language::Cym),
        code if code.len() == 2 => isolang::Language::from_639_1(code),
        code => isolang::Language::from_639_3(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_all_kinds_have_a_name_and_a_tag() {
        for (code, name, tag) in [
            ("ger", "German", "de"),
            ("deu", "German", "de"),
            ("de", "German", "de"),
            ("eng", "English", "en"),
        ] {
            assert_eq!((super::name(code), super::tag(code)), (Some(name), tag.to_owned()), "{code}");
        }
        assert_eq!((name("pt-BR"), tag("pt-BR")), (None, "pt-BR".to_owned()));
        assert_eq!(tag("x\"y"), "xy");
    }
}
