//! Lists in pages: their order, and the cursor that says where the next page begins.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nebula_api::Page;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::ApiError;

/// The place of a page in a list.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place<'a> {
    /// `name`, or `-name` from the end.
    pub(crate) sort: Option<&'a str>,
    /// `next` of the page before.
    pub(crate) cursor: Option<&'a str>,
    /// Items of the page; without it, all.
    pub(crate) max: Option<i32>,
}

/// A page that is asked for, as the database is asked.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    order: &'a str,
    /// Key and identifier of the last item of the page before.
    pub(crate) after: Option<Value>,
    max: Option<i32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// The order, which the other pages must have, too.
    o: String,
    /// Key and identifier of the item.
    a: (String, String),
}

impl<'a> Wanted<'a> {
    /// Fails with 400 for a cursor of another list or order.
    pub(crate) fn parse(place: Place<'a>, usual: &'a str) -> Result<Self, ApiError> {
        let order = place.sort.unwrap_or(usual);
        let after = place.cursor.map(|cursor| behind(cursor, order)).transpose()?;
        Ok(Self { order, after, max: place.max.map(|max| max.clamp(1, 1000)) })
    }

    pub(crate) fn sort(&self) -> &'a str {
        self.order.strip_prefix('-').unwrap_or(self.order)
    }

    pub(crate) fn is_descending(&self) -> bool {
        self.order.starts_with('-')
    }

    pub(crate) fn is_first(&self) -> bool {
        self.after.is_none()
    }

    /// One more than wanted, which tells whether there is another page.
    pub(crate) fn limit(&self) -> Option<i32> {
        self.max.map(|max| max + 1)
    }

    /// The page of these items with their keys, of which there is one more than wanted if there is another page.
    pub(crate) fn cut<T>(&self, mut items: Vec<(T, String)>, id: impl Fn(&T) -> String) -> Page<T> {
        let wanted = self.max.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
        let is_last = items.len() <= wanted;
        items.truncate(wanted);
        let next = items.last().filter(|_| !is_last).map(|(item, key)| {
            let cursor = Cursor { o: self.order.to_owned(), a: (key.clone(), id(item)) };
            BASE64_URL_SAFE_NO_PAD.encode(json!(cursor).to_string())
        });
        Page::new(items.into_iter().map(|(item, _)| item).collect(), next)
    }
}

fn behind(cursor: &str, order: &str) -> Result<Value, ApiError> {
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok();
    let read = decoded.and_then(|bytes| serde_json::from_slice::<Cursor>(&bytes).ok());
    read.filter(|read| read.o == order).map(|read| json!(read.a)).ok_or_else(|| {
        ApiError::bad_argument("this is no cursor of such a list")
            .field("cursor")
            .hint("Take `next` of the page before, with the same sort and filters.")
    })
}

/// An item of a list that is short enough to be read whole for each page.
pub(crate) trait Listed {
    /// By what the list can be sorted.
    const SORTS: &'static [&'static str];
    /// The order of pages for which none is named.
    const USUAL: &'static str;

    /// The value that `sort` compares.
    fn key(&self, sort: &str) -> String;

    /// Tells it from the others of the list.
    fn id(&self) -> String;

    /// The words that a search looks at.
    fn text(&self) -> String;

    /// The state that is counted and filtered by, if items have one.
    fn state(&self) -> Option<&str> {
        None
    }
}

/// Which items of a list are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Filter<'a> {
    /// A part of their text, in small letters or capitals.
    pub(crate) q: Option<&'a str>,
    pub(crate) state: Option<&'a str>,
}

/// A page of a list that was read whole. Without a place and a filter, the list is answered in the order that it has.
/// Fails with 400 for a cursor or an order that the list has not.
pub(crate) fn of_whole<T: Listed>(
    mut all: Vec<T>,
    filter: Filter<'_>,
    place: Place<'_>,
) -> Result<Page<T>, ApiError> {
    let wanted = Wanted::parse(place, T::USUAL)?;
    if !T::SORTS.contains(&wanted.sort()) {
        let detail = format!("this list cannot be sorted by {:?}", beginning(wanted.sort()));
        let hint = format!("It can by {}; with a minus, from the end.", T::SORTS.join(", "));
        return Err(ApiError::bad_argument(detail).field("sort").hint(hint));
    }
    if let Some(q) = filter.q.map(str::to_lowercase) {
        all.retain(|item| item.text().to_lowercase().contains(&q));
    }
    let counts =
        all.iter().filter_map(Listed::state).fold(None, |counts: Option<BTreeMap<_, i64>>, state| {
            let mut counts = counts.unwrap_or_default();
            *counts.entry(state.to_owned()).or_default() += 1;
            Some(counts)
        });
    if let Some(state) = filter.state {
        all.retain(|item| item.state() == Some(state));
    }
    let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
    if place.sort.is_none() && place.max.is_none() && place.cursor.is_none() {
        return Ok(Page::new(all, None).counted(total, counts));
    }
    let sort = wanted.sort();
    let mut keyed: Vec<_> = all.into_iter().map(|item| ((item.key(sort), item.id()), item)).collect();
    let turned = |order: Ordering| if wanted.is_descending() { order.reverse() } else { order };
    keyed.sort_by(|(one, _), (other, _)| turned(one.cmp(other)));
    if let Some(after) = &wanted.after {
        let after = |part: usize| after[part].as_str().unwrap_or_default().to_owned();
        let after = (after(0), after(1));
        keyed.retain(|(place, _)| turned(place.cmp(&after)) == Ordering::Greater);
    }
    let items = keyed.into_iter().map(|((key, _), item)| (item, key));
    let items = match wanted.limit().and_then(|limit| usize::try_from(limit).ok()) {
        Some(limit) => items.take(limit).collect(),
        None => items.collect(),
    };
    let page = wanted.cut(items, Listed::id);
    Ok(if wanted.is_first() { page.counted(total, counts) } else { page })
}

fn beginning(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone)]
    struct Item(u8, &'static str, &'static str);

    impl Listed for Item {
        const SORTS: &'static [&'static str] = &["name", "number"];
        const USUAL: &'static str = "name";

        fn key(&self, sort: &str) -> String {
            match sort {
                "number" => format!("{:03}", self.0),
                _ => self.1.to_owned(),
            }
        }

        fn id(&self) -> String {
            self.0.to_string()
        }

        fn text(&self) -> String {
            self.1.to_owned()
        }

        fn state(&self) -> Option<&str> {
            Some(self.2)
        }
    }

    fn items() -> Vec<Item> {
        vec![
            Item(3, "Bell", "open"),
            Item(1, "bell", "open"),
            Item(4, "Bell", "shut"),
            Item(2, "lamp", "shut"),
        ]
    }

    fn numbers(page: &Page<Item>) -> Vec<u8> {
        page.data.iter().map(|item| item.0).collect()
    }

    /// All pages of two items.
    fn walk(sort: &str, filter: Filter<'_>) -> Vec<u8> {
        let (mut found, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let place = Place { sort: Some(sort), cursor: cursor.as_deref(), max: Some(1) };
            let page = of_whole(items(), filter, place).unwrap();
            assert_eq!(page.total.is_some(), cursor.is_none());
            found.extend(numbers(&page));
            match page.next {
                Some(next) => cursor = Some(next),
                None => return found,
            }
        }
    }

    #[test]
    fn pages_together_are_the_whole_list_in_its_order() {
        assert_eq!(walk("name", Filter::default()), [3, 4, 1, 2]);
        assert_eq!(walk("-name", Filter::default()), [2, 1, 4, 3]);
        assert_eq!(walk("number", Filter::default()), [1, 2, 3, 4]);
        assert_eq!(walk("number", Filter { q: Some("BELL"), state: Some("open") }), [1, 3]);
    }

    #[test]
    fn without_a_place_the_list_stays_as_it_was_read_and_is_counted() {
        let page = of_whole(items(), Filter { q: Some("b"), state: Some("open") }, Place::default()).unwrap();
        assert_eq!((numbers(&page), page.total, page.next.clone()), (vec![3, 1], Some(2), None));
        let counts = page.counts.unwrap();
        assert_eq!((counts["open"], counts["shut"]), (2, 1));
    }

    #[test]
    fn a_cursor_goes_on_in_the_order_that_it_was_made_in_alone() {
        let place = Place { sort: Some("-number"), max: Some(1), cursor: None };
        let cursor = of_whole(items(), Filter::default(), place).unwrap().next.unwrap();
        for (cursor, sort) in
            [(cursor.as_str(), "number"), ("", "-number"), ("%", "-number"), ("e30", "-number")]
        {
            let place = Place { sort: Some(sort), cursor: Some(cursor), max: None };
            let failure = of_whole(items(), Filter::default(), place).unwrap_err().failure();
            assert!(failure.hint.is_some() && failure.field.as_deref() == Some("cursor"), "{cursor} {sort}");
        }
        let place = Place { sort: Some("colour"), ..Place::default() };
        let failure = of_whole(items(), Filter::default(), place).unwrap_err().failure();
        assert_eq!(failure.field.as_deref(), Some("sort"));
    }
}
