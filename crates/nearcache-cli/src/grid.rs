//! A table that fits a terminal: what is too wide has its longest texts wrapped, then its columns in several parts below
//! each other. Knows nothing of what the cells mean.

use crate::show::wrapped;

/// No column is made narrower than this.
const LEAST: usize = 14;
/// Between two columns.
const GAP: usize = 2;

/// Heads and rows; the first column names the row and is in every part.
pub struct Grid {
    heads: Vec<String>,
    right: Vec<bool>,
    rows: Vec<Row>,
}

enum Row {
    Cells(Vec<String>),
    Group(String),
}

impl Grid {
    /// One head for each column; those that begin with `>` are aligned to the right.
    pub fn new(heads: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let heads: Vec<String> = heads.into_iter().map(Into::into).collect();
        Self {
            right: heads.iter().map(|head| head.starts_with('>')).collect(),
            heads: heads
                .iter()
                .map(|head| head.trim_start_matches('>').to_owned())
                .collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; what it lacks is empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let cells = cells.into_iter().map(Into::into);
        let empty = std::iter::repeat_with(String::new);
        self.rows.push(Row::Cells(
            cells.chain(empty).take(self.heads.len()).collect(),
        ));
    }

    /// Adds a line above the rows that belong together.
    pub fn group(&mut self, name: &str) {
        self.rows.push(Row::Group(name.to_owned()));
    }

    /// The table in lines of at most `columns` characters.
    pub fn text(&self, columns: usize) -> String {
        let widths = self.widths(columns);
        let mut text = String::new();
        for part in parts(&widths, columns) {
            if !text.is_empty() {
                text.push('\n');
            }
            if self.heads.iter().any(|head| !head.is_empty()) {
                self.line(&mut text, &self.heads, &part, &widths);
            }
            for row in &self.rows {
                match row {
                    Row::Cells(cells) => self.line(&mut text, cells, &part, &widths),
                    Row::Group(name) => {
                        text += &wrapped(name, "", columns);
                        text.push('\n');
                    }
                }
            }
        }
        text
    }

    /// How wide each column is. Texts give way before the columns are parted.
    fn widths(&self, columns: usize) -> Vec<usize> {
        let cells = self.rows.iter().filter_map(|row| match row {
            Row::Cells(cells) => Some(cells),
            Row::Group(_) => None,
        });
        let mut widths = vec![0; self.heads.len()];
        for row in cells.chain([&self.heads]) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let natural = widths.clone();
        loop {
            let excess = whole(&widths).saturating_sub(columns);
            let texts = widths.iter().zip(&self.right);
            let longest = texts.filter(|(_, right)| !**right).map(|(width, _)| *width);
            let longest = longest.max().unwrap_or(0);
            if excess == 0 {
                return widths;
            }
            if longest <= LEAST {
                break;
            }
            let at = (0..widths.len()).find(|at| !self.right[*at] && widths[*at] == longest);
            if let Some(at) = at {
                // One after the other in turn, so that the longest two stay alike.
                widths[at] = longest.saturating_sub(excess.min(4)).max(LEAST);
            }
        }
        // It takes several parts in any case: then no text need be narrower than they let it.
        let texts = natural.into_iter().zip(&self.right);
        texts
            .map(|(width, right)| match right {
                true => width,
                false => width.min((columns * 2 / 5).max(LEAST)),
            })
            .collect()
    }

    fn line(&self, text: &mut String, cells: &[String], part: &[usize], widths: &[usize]) {
        let broken: Vec<Vec<String>> = part
            .iter()
            .map(|&at| {
                let cell = wrapped(&cells[at], "", widths[at]);
                cell.lines().map(str::to_owned).collect()
            })
            .collect();
        let height = broken.iter().map(Vec::len).max().unwrap_or(0).max(1);
        for row in 0..height {
            let mut line = " ".repeat(GAP);
            for (&at, cell) in part.iter().zip(&broken) {
                let cell = cell.get(row).map_or("", String::as_str);
                line += &match self.right[at] {
                    true => format!("{cell:>width$}", width = widths[at]),
                    false => format!("{cell:<width$}", width = widths[at]),
                };
                line += &" ".repeat(GAP);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
}

/// How wide a line is, the gap before it included.
fn whole(widths: &[usize]) -> usize {
    widths.iter().map(|width| width + GAP).sum()
}

/// The columns in as many parts as it takes; each begins with the first column.
fn parts(widths: &[usize], columns: usize) -> Vec<Vec<usize>> {
    let first = widths.first().map_or(0, |width| width + GAP);
    let mut parts = vec![vec![0]];
    let mut taken = first;
    for (at, width) in widths.iter().enumerate().skip(1) {
        let full = taken + width + GAP > columns;
        if let Some(part) = parts.last_mut()
            && (!full || part.len() == 1)
        {
            part.push(at);
            taken += width + GAP;
        } else {
            parts.push(vec![0, at]);
            taken = first + width + GAP;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::new(["what it is", ">before", ">after", "change"]);
        grid.row([
            "a name that is rather long, as some are",
            "1.23 ms",
            "1.2 us",
            "1,025x less",
        ]);
        grid.group("others");
        grid.row(["short", "12", "3"]);
        grid
    }

    fn widest(text: &str) -> usize {
        text.lines().map(|line| line.chars().count()).max().unwrap()
    }

    #[test]
    fn a_table_fits_where_it_can() {
        let text = grid().text(120);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(
            text.contains("long, as some are  1.23 ms  1.2 us  1,025x less"),
            "{text}"
        );
        for columns in [30, 40, 60, 80] {
            let text = grid().text(columns);
            assert!(widest(&text) <= columns, "{columns}:\n{text}");
            for cell in ["before", "1.23 ms", "1.2 us", "1,025x", "12", "others"] {
                assert!(text.contains(cell), "no {cell} at {columns}:\n{text}");
            }
        }
    }

    #[test]
    fn columns_that_do_not_fit_follow_below() {
        let mut grid = Grid::new(["row", ">one", ">two", ">three"]);
        grid.row(["x", "1111111111", "2222222222", "3333333333"]);
        let text = grid.text(30);
        assert!(widest(&text) <= 30, "{text}");
        assert_eq!(text.matches("row").count(), 2, "{text}");
    }
}
