//! Columns for people: aligned, two spaces between them, one row a line.

/// Rows under a line of names.
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

/// On which side a column's values stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    /// Numbers.
    Right,
}

impl Table {
    pub(crate) fn new(columns: impl Into<Vec<(&'static str, Align)>>) -> Self {
        Table { columns: columns.into(), rows: Vec::new() }
    }

    /// One row, a value for each column.
    pub(crate) fn row(&mut self, values: impl Into<Vec<String>>) {
        self.rows.push(values.into());
    }

    /// All of it, with a line's end behind each row.
    pub(crate) fn text(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&names).chain(&self.rows).collect();
        let width = |column: usize| {
            lines.iter().filter_map(|line| Some(line.get(column)?.chars().count())).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for line in lines {
            let cells =
                line.iter().zip(&self.columns).zip(&widths).map(|((value, (_, align)), width)| match align {
                    Align::Left => format!("{value:<width$}"),
                    Align::Right => format!("{value:>width$}"),
                });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_on_the_right_and_no_line_ends_with_spaces() {
        let mut table = Table::new([("ID", Align::Right), ("TOPIC", Align::Left), ("ERROR", Align::Left)]);
        table.row(["7".to_owned(), "größe".to_owned(), "no".to_owned()]);
        table.row(["12345".to_owned(), "event.order".to_owned(), String::new()]);
        assert_eq!(table.text(), "   ID  TOPIC        ERROR\n    7  größe        no\n12345  event.order\n");
    }
}
