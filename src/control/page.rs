//! Lists in pages: how many, and where the next begins.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::Error;

/// Items of a page unless the caller says otherwise.
pub const PAGE_DEFAULT: u32 = 50;
/// Items of a page, at most; more is refused, not cut (`spec/api.md` §7).
pub const PAGE_MAX: u32 = 200;

/// Where a list goes on and how far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// What the page before gave as its `next_cursor`; none: the beginning.
    pub cursor: Option<String>,
    /// How many, 1 … [`PAGE_MAX`]; none: [`PAGE_DEFAULT`].
    pub limit: Option<u32>,
}

/// Some items of a list, in its stable order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; none: this was the last.
    pub next_cursor: Option<String>,
}

impl PageRequest {
    /// How many items to read.
    pub(super) fn limit(&self) -> Result<usize, Error> {
        match self.limit.unwrap_or(PAGE_DEFAULT) {
            limit @ 1..=PAGE_MAX => Ok(limit as usize),
            _ => Err(Error::InvalidParameter("limit must be 1 to 200")),
        }
    }

    /// The key of the last item before this page. `kind` keeps the cursor of one list out of another.
    pub(super) fn after(&self, kind: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        URL_SAFE_NO_PAD
            .decode(cursor)
            .ok()
            .and_then(|bytes| bytes.strip_prefix(kind.as_bytes()).map(<[u8]>::to_vec))
            .map(Some)
            .ok_or(Error::InvalidParameter("cursor is not one that this list gave out"))
    }
}

impl PageRequest {
    /// The same for a list in the order of a number.
    pub(super) fn after_number(&self, kind: &str) -> Result<Option<u64>, Error> {
        let key = self.after(kind)?.map(|key| key.try_into().map(u64::from_be_bytes));
        key.transpose().map_err(|_| Error::InvalidParameter("cursor is not one that this list gave out"))
    }
}

impl<T> Page<T> {
    /// The page made of `items`, which were read with a limit one above `limit` so that the end is known. `key` gives
    /// the key of an item.
    pub(super) fn cut(mut items: Vec<T>, limit: usize, kind: &str, key: impl Fn(&T) -> Vec<u8>) -> Self {
        let goes_on = items.len() > limit;
        items.truncate(limit);
        let next_cursor = items.last().filter(|_| goes_on).map(|last| {
            let mut bytes = kind.as_bytes().to_vec();
            bytes.extend(key(last));
            URL_SAFE_NO_PAD.encode(bytes)
        });
        Self { items, next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_on_in_its_own_list_only() {
        let page = Page::cut(vec![1u8, 2, 3], 2, "a", |item| vec![*item]);
        assert_eq!(page.items, [1, 2]);
        let next = PageRequest { cursor: page.next_cursor, limit: None };
        assert_eq!(next.after("a").unwrap(), Some(vec![2]));
        assert!(next.after("b").is_err());
        assert_eq!(Page::cut(vec![1u8, 2], 2, "a", |item| vec![*item]).next_cursor, None);
    }

    #[test]
    fn limits_beyond_the_contract_are_refused() {
        for (limit, good) in [(0, false), (1, true), (200, true), (201, false)] {
            assert_eq!(PageRequest { cursor: None, limit: Some(limit) }.limit().is_ok(), good, "{limit}");
        }
        let odd = PageRequest { cursor: Some("%%".to_owned()), limit: None };
        assert!(odd.after("a").is_err());
    }
}
