//! What pages for a browser are made of: style, tiles, tables and lists. A page fetches nothing, follows the reader's light
//! or dark, and is readable on a phone. Knows nothing of what a page is about.

use std::fmt::Write as _;

use crate::text::escape;

/// The style of all pages.
const STYLE: &str = include_str!("page.css");

/// A whole page.
pub fn whole(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"><title>{}</title>\
         <style>\n{STYLE}</style></head>\n<body>\n{body}</body></html>\n",
        escape(title)
    )
}

/// A title and the finding below it.
pub fn opening(title: &str, verdict: &str, good: bool) -> String {
    let kind = if good { "verdict" } else { "verdict bad" };
    format!(
        "<h1>{}</h1>\n<p class=\"{kind}\">{}</p>\n",
        escape(title),
        escape(verdict)
    )
}

/// A figure that is seen first.
pub struct Tile {
    /// What it is.
    pub name: String,
    /// The figure.
    pub figure: String,
    /// What it is compared with.
    pub beside: String,
}

/// The figures that matter, in a row.
pub fn tiles(tiles: &[Tile]) -> String {
    let mut text = "<div class=\"tiles\">".to_owned();
    for tile in tiles {
        let _ = write!(
            text,
            "<div class=\"tile\"><span>{}</span><b>{}</b><small>{}</small></div>",
            escape(&tile.name),
            escape(&tile.figure),
            escape(&tile.beside)
        );
    }
    text + "</div>\n"
}

/// What each colour stands for: its class, its name and a few words.
pub fn legend<'a>(lines: impl IntoIterator<Item = (&'a str, &'a str, String)>) -> String {
    let mut text = "<p class=\"legend\">".to_owned();
    for (class, name, what) in lines {
        let _ = write!(
            text,
            "<span class=\"{class}\"><i></i><b>{name}</b>: {}</span>",
            escape(&what)
        );
    }
    text + "</p>\n"
}

/// How it was measured: names and values, and the command that does it again.
pub fn facts(rows: &[(&str, String)], command: &str) -> String {
    let mut text = "<h2>How it was measured</h2>\n<dl>".to_owned();
    for (name, value) in rows {
        let _ = write!(text, "<dt>{name}</dt><dd>{}</dd>", escape(value));
    }
    let command = escape(command);
    text + &format!("<dt>command</dt><dd><code>{command}</code></dd></dl>\n")
}

/// A figure of everything that is compared.
pub struct Compared {
    /// What it belongs to; empty, where there are no groups.
    pub group: &'static str,
    /// What it is.
    pub name: String,
    /// One for each column.
    pub cells: Vec<String>,
}

/// What is compared, side by side; columns have a class and a name.
pub fn compared(columns: &[(&str, &str)], lines: &[Compared]) -> String {
    let mut text = "<table class=\"compared\"><thead><tr><th></th>".to_owned();
    for (class, name) in columns {
        let _ = write!(text, "<th class=\"{class}\">{name}</th>");
    }
    text += "</tr></thead><tbody>\n";
    let mut group = "";
    for line in lines {
        if line.group != group {
            group = line.group;
            let _ = writeln!(
                text,
                "<tr class=\"group\"><th colspan=\"{}\">{}</th></tr>",
                columns.len() + 1,
                escape(group)
            );
        }
        let _ = write!(text, "<tr><th>{}</th>", escape(&line.name));
        for cell in &line.cells {
            let _ = write!(text, "<td>{}</td>", escape(cell));
        }
        text += "</tr>\n";
    }
    text + "</tbody></table>\n"
}

/// What a reader should know.
pub fn notes(notes: &[String]) -> String {
    let mut text = "<h2>What to know</h2>\n<ul>".to_owned();
    for note in notes {
        let _ = write!(text, "<li>{}</li>", escape(note));
    }
    text + "</ul>\n"
}
