//! A table of plain text, as docker's: columns two or more spaces apart, no lines.
//!
//! Nothing is cut or wrapped: a table that is piped must be complete.

use console::measure_text_width;

use super::visible::visible_line;

/// Space between columns.
const GAP: usize = 3;

/// Rows under a heading.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// Columns of numbers.
    right: &'static [usize],
}

impl Table {
    /// A table with these headings; the columns `right` (from 0) are aligned to the right.
    pub(super) fn new<const N: usize>(headings: [&str; N], right: &'static [usize]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).to_vec()], right }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| visible_line(cell)).collect());
    }

    /// The lines, each with a line feed.
    pub(super) fn draw(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| measure_text_width(cell)).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let space = " ".repeat(widths[column] - measure_text_width(cell));
                let padded = if self.right.contains(&column) { space + cell } else { cell.clone() + &space };
                line += &padded;
                line += &" ".repeat(GAP);
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["NAME", "SIZE", "BY"], &[1]);
        table.row(["日本".into(), "1kB".into(), "COPY".into()]);
        table.row(["b".into(), "12.3MB".into(), String::new()]);
        assert_eq!(table.draw(), "NAME     SIZE   BY\n日本      1kB   COPY\nb      12.3MB\n");
    }
}
