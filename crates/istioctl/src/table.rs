//! Tables with aligned columns, as istioctl prints them.

/// Spaces between columns.
const GAP: usize = 5;

/// Rows below a heading. All rows have as many cells as the heading.
pub struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table without rows.
    pub fn new(heading: [&str; COLUMNS]) -> Self {
        Self { rows: vec![heading.map(str::to_owned)] }
    }

    /// Adds a row below the others.
    pub fn push(&mut self, row: [String; COLUMNS]) {
        self.rows.push(row);
    }

    /// The text, one line for each row.
    pub fn render(&self) -> String {
        let mut widths = [0; COLUMNS];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let lines = self.rows.iter().map(|row| {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<0$}", width + GAP));
            cells.collect::<String>().trim_end().to_owned() + "\n"
        });
        lines.collect()
    }
}
