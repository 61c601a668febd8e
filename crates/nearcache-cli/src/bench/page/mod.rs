//! What the pages of the benchmarks have in common: their style, their charts, and text that is safe between tags.
//! A page fetches nothing.

pub(super) use crate::{chart, text};

/// The style of all pages.
pub(super) const STYLE: &str = include_str!("page.css");

/// The beginning of a page, up to its body.
pub(super) fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{}</title><style>\n{STYLE}</style></head>\n<body>\n",
        text::escape(title)
    )
}

/// What was to be reached, and what was, as a table.
pub(super) fn goals(goals: &[super::fleet::Goal]) -> String {
    use std::fmt::Write as _;

    let mut table = "<table class=\"text\"><thead><tr><th>goal</th><th>wanted</th><th>found</th>\
                     <th>reached</th></tr></thead><tbody>\n"
        .to_owned();
    for goal in goals {
        let (class, word) = match goal.reached {
            true => ("after", "yes"),
            false => ("bad", "no"),
        };
        let _ = writeln!(
            table,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td class=\"{class}\">{word}</td></tr>",
            text::escape(&goal.name),
            text::escape(&goal.wanted),
            text::escape(&goal.found)
        );
    }
    table + "</tbody></table>\n"
}
