//! Which part of an object a request gets: RFC 9110 sections 13 (conditions) and 14 (ranges), pure.
//!
//! What RFC 9110 calls invalid is ignored, so that a strange header costs speed and never the answer. Several ranges
//! are answered with the whole object: players ask for one, and a multipart answer helps nobody who can ask twice.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

/// The stored object, as far as conditions and ranges care.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    /// Size in bytes.
    pub size: u64,
    /// Strong entity tag, without its quotes.
    pub etag: &'a str,
    /// When it was made; HTTP counts in whole seconds.
    pub modified: DateTime<Utc>,
}

/// The request's headers that decide. A header that is there but is no text counts as absent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions<'a> {
    /// `If-Match`
    pub if_match: Option<&'a str>,
    /// `If-Unmodified-Since`
    pub if_unmodified_since: Option<&'a str>,
    /// `If-None-Match`
    pub if_none_match: Option<&'a str>,
    /// `If-Modified-Since`
    pub if_modified_since: Option<&'a str>,
    /// `If-Range`
    pub if_range: Option<&'a str>,
    /// `Range`; leave it out for HEAD, where RFC 9110 gives it no meaning.
    pub range: Option<&'a str>,
}

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200 with everything.
    Whole,
    /// 206 with these bytes, never empty.
    Part(Range<u64>),
    /// 304: the client has it already.
    NotModified,
    /// 412: the object is not the one the client means.
    PreconditionFailed,
    /// 416: no byte of the object is in the range.
    Unsatisfiable,
}

/// Decides in the order of RFC 9110 section 13.2.2.
pub fn decide(object: Object<'_>, conditions: Conditions<'_>) -> Answer {
    let matches = match (conditions.if_match, conditions.if_unmodified_since) {
        (Some(tags), _) => any_tag(tags, object.etag, Comparison::Strong),
        (None, Some(date)) => parse_date(date).is_none_or(|date| seconds(object.modified) <= date),
        (None, None) => true,
    };
    if !matches {
        return Answer::PreconditionFailed;
    }
    let known = match (conditions.if_none_match, conditions.if_modified_since) {
        (Some(tags), _) => any_tag(tags, object.etag, Comparison::Weak),
        (None, Some(date)) => parse_date(date).is_some_and(|date| seconds(object.modified) <= date),
        (None, None) => false,
    };
    if known {
        return Answer::NotModified;
    }
    match conditions.range {
        Some(range) if conditions.if_range.is_none_or(|validator| same(validator, object)) => {
            select(range, object.size)
        }
        _ => Answer::Whole,
    }
}

/// The `Last-Modified` text of a moment.
pub fn http_date(moment: DateTime<Utc>) -> String {
    httpdate::fmt_http_date(seconds(moment))
}

/// A moment in the resolution of HTTP. Nothing was stored before 1970.
fn seconds(moment: DateTime<Utc>) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(moment.timestamp().max(0).unsigned_abs())
}

fn parse_date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text.trim()).ok()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Is `etag` in the list? `*` stands for any object that exists.
fn any_tag(list: &str, etag: &str, comparison: Comparison) -> bool {
    if list.trim() == "*" {
        return true;
    }
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let weak = rest.starts_with("W/");
        let Some(opened) = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"') else { return false };
        // A tag may hold commas, so the list is cut at quotes.
        let Some((tag, after)) = opened.split_once('"') else { return false };
        if tag == etag && (!weak || comparison == Comparison::Weak) {
            return true;
        }
        rest = after;
    }
}

/// `If-Range`: exactly this object, by strong tag or by exactly its date?
fn same(validator: &str, object: Object<'_>) -> bool {
    let validator = validator.trim();
    match parse_date(validator) {
        Some(date) => date == seconds(object.modified),
        None => validator
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .is_some_and(|tag| tag == object.etag),
    }
}

/// Reads a `Range` header against an object of `size` bytes.
fn select(header: &str, size: u64) -> Answer {
    let Some((unit, set)) = header.split_once('=') else { return Answer::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Answer::Whole;
    }
    let mut satisfiable = Vec::new();
    let mut specs = 0;
    for spec in set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty()) {
        specs += 1;
        match parse_spec(spec, size) {
            Some(range) if !range.is_empty() => satisfiable.push(range),
            Some(_) => {}
            // One invalid range makes the header invalid.
            None => return Answer::Whole,
        }
    }
    match satisfiable.len() {
        // Of an empty object no range is satisfiable, and "bytes */0" would tell a client nothing.
        0 if specs > 0 && size > 0 => Answer::Unsatisfiable,
        1 => Answer::Part(satisfiable.remove(0)),
        _ => Answer::Whole,
    }
}

/// The bytes that one range means; empty when it is valid and out of reach, `None` when it is invalid.
fn parse_spec(spec: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix = parse_number(last)?;
        return Some(size.saturating_sub(suffix)..size);
    }
    let first = parse_number(first)?;
    let last = if last.is_empty() { u64::MAX } else { parse_number(last)? };
    if last < first {
        return None;
    }
    Some(first.min(size)..last.saturating_add(1).min(size))
}

/// Digits only: `+1` and ` 1` are invalid. A number too large to hold is as far out of reach as the largest.
fn parse_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "5feceb66ffc86f38";
    const SIZE: u64 = 2_000_000_000;
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn object() -> Object<'static> {
        // With a fraction, as PostgreSQL stores it.
        let modified = DateTime::from_timestamp(784_111_777, 654_321_000).unwrap();
        Object { size: SIZE, etag: ETAG, modified }
    }

    fn range(range: &str) -> Answer {
        decide(object(), Conditions { range: Some(range), ..Conditions::default() })
    }

    #[test]
    fn single_ranges() {
        assert_eq!(range("bytes=0-99"), Answer::Part(0..100));
        assert_eq!(range("bytes=0-0"), Answer::Part(0..1));
        assert_eq!(range("bytes=100-"), Answer::Part(100..SIZE));
        assert_eq!(range("bytes=-100"), Answer::Part(SIZE - 100..SIZE));
        assert_eq!(range("bytes=-9999999999"), Answer::Part(0..SIZE));
        assert_eq!(range("bytes=1999999999-"), Answer::Part(SIZE - 1..SIZE));
        assert_eq!(range("bytes=5-99999999999"), Answer::Part(5..SIZE));
        assert_eq!(range("bytes=5-99999999999999999999999"), Answer::Part(5..SIZE));
        assert_eq!(range("Bytes=0-99"), Answer::Part(0..100));
        assert_eq!(range("bytes= 0-99 "), Answer::Part(0..100));
        assert_eq!(range("bytes=,0-99,"), Answer::Part(0..100));
    }

    #[test]
    fn out_of_reach() {
        for header in [
            "bytes=2000000000-",
            "bytes=2000000000-2000000001",
            "bytes=-0",
            "bytes=99999999999999999999999-",
            "bytes=2000000000-,-0",
        ] {
            assert_eq!(range(header), Answer::Unsatisfiable, "{header}");
        }
    }

    #[test]
    fn invalid_is_ignored() {
        for header in [
            "bytes=5-4",
            "items=0-1",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=+1-2",
            "bytes=0 - 9",
            "bytes=--1",
            "bytes=1-2-3",
            "bytes=0-9,5-4",
            "bytes=0x1-2",
            "0-99",
            "",
            "bytes=0-9;q=1",
        ] {
            assert_eq!(range(header), Answer::Whole, "{header:?}");
        }
    }

    #[test]
    fn several_ranges_get_everything_unless_one_is_left() {
        assert_eq!(range("bytes=0-9,100-109"), Answer::Whole);
        assert_eq!(range("bytes=0-9, 2000000000-"), Answer::Part(0..10));
    }

    #[test]
    fn an_empty_object_has_no_ranges() {
        let empty = Object { size: 0, ..object() };
        for header in ["bytes=0-", "bytes=-5", "bytes=0-0"] {
            let conditions = Conditions { range: Some(header), ..Conditions::default() };
            assert_eq!(decide(empty, conditions), Answer::Whole, "{header}");
        }
    }

    #[test]
    fn if_range_compares_strongly() {
        let tag = format!("\"{ETAG}\"");
        let weak = format!("W/{tag}");
        for (validator, answer) in [
            (tag.as_str(), Answer::Part(0..10)),
            (MODIFIED, Answer::Part(0..10)),
            (weak.as_str(), Answer::Whole),
            (ETAG, Answer::Whole),
            ("\"other\"", Answer::Whole),
            (LATER, Answer::Whole),
            (EARLIER, Answer::Whole),
            ("*", Answer::Whole),
            ("", Answer::Whole),
        ] {
            let conditions =
                Conditions { if_range: Some(validator), range: Some("bytes=0-9"), ..Conditions::default() };
            assert_eq!(decide(object(), conditions), answer, "{validator}");
        }
        // A range that is not to be applied cannot be unsatisfiable either.
        let conditions = Conditions {
            if_range: Some("\"other\""),
            range: Some("bytes=2000000000-"),
            ..Conditions::default()
        };
        assert_eq!(decide(object(), conditions), Answer::Whole);
        let conditions = Conditions { if_range: Some(&tag), ..Conditions::default() };
        assert_eq!(decide(object(), conditions), Answer::Whole);
    }

    #[test]
    fn if_none_match_compares_weakly_and_beats_the_date() {
        let tag = format!("\"{ETAG}\"");
        let listed = format!("\"a,b\", W/\"{ETAG}\"");
        for (tags, since, answer) in [
            (Some(tag.as_str()), None, Answer::NotModified),
            (Some(listed.as_str()), None, Answer::NotModified),
            (Some("*"), None, Answer::NotModified),
            (Some("\"other\""), None, Answer::Whole),
            (Some(ETAG), None, Answer::Whole),
            (Some("\"open"), None, Answer::Whole),
            (Some("\"other\""), Some(LATER), Answer::Whole),
            (None, Some(MODIFIED), Answer::NotModified),
            (None, Some(LATER), Answer::NotModified),
            (None, Some(EARLIER), Answer::Whole),
            (None, Some("yesterday"), Answer::Whole),
            (None, Some("Sunday, 06-Nov-94 08:49:37 GMT"), Answer::NotModified),
        ] {
            let conditions =
                Conditions { if_none_match: tags, if_modified_since: since, ..Conditions::default() };
            assert_eq!(decide(object(), conditions), answer, "{tags:?} {since:?}");
        }
        let conditions =
            Conditions { if_none_match: Some(&tag), range: Some("bytes=0-9"), ..Conditions::default() };
        assert_eq!(decide(object(), conditions), Answer::NotModified);
    }

    #[test]
    fn if_match_compares_strongly_and_comes_first() {
        let tag = format!("\"{ETAG}\"");
        let weak = format!("W/{tag}");
        for (tags, since, answer) in [
            (Some(tag.as_str()), None, Answer::Whole),
            (Some("*"), None, Answer::Whole),
            (Some(weak.as_str()), None, Answer::PreconditionFailed),
            (Some("\"other\""), None, Answer::PreconditionFailed),
            (Some(tag.as_str()), Some(EARLIER), Answer::Whole),
            (None, Some(MODIFIED), Answer::Whole),
            (None, Some(EARLIER), Answer::PreconditionFailed),
            (None, Some("yesterday"), Answer::Whole),
        ] {
            let conditions =
                Conditions { if_match: tags, if_unmodified_since: since, ..Conditions::default() };
            assert_eq!(decide(object(), conditions), answer, "{tags:?} {since:?}");
        }
        let conditions =
            Conditions { if_match: Some("\"other\""), if_none_match: Some(&tag), ..Conditions::default() };
        assert_eq!(decide(object(), conditions), Answer::PreconditionFailed);
    }

    #[test]
    fn dates_are_whole_seconds() {
        assert_eq!(http_date(object().modified), MODIFIED);
    }
}
