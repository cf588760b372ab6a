//! Rules that were read lately. Reading depends on nothing but the text, and each change of a configuration reads all rules
//! of it again: with this, adding a rule to ten thousand reads one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use dataplane::router::Family;

use super::rule::Rule;

/// Rules kept at most, per family and thread.
const KEPT_MAX: usize = super::compile::RULES_MAX;

thread_local! {
    static KEPT: RefCell<[HashMap<String, Arc<Rule>>; 2]> = RefCell::default();
}

/// [`Rule::parse`], at most once for a text that comes again and again.
///
/// # Errors
///
/// As [`Rule::parse`].
pub fn parse(text: &str, family: Family) -> Result<Arc<Rule>, String> {
    KEPT.with_borrow_mut(|kept| {
        let kept = &mut kept[usize::from(family == Family::V6)];
        if let Some(rule) = kept.get(text) {
            return Ok(rule.clone());
        }
        let rule = Arc::new(Rule::parse(text, family)?);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(text.to_owned(), rule.clone());
        Ok(rule)
    })
}
