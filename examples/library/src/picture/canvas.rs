//! A sheet of characters, on which lines that meet join.

use std::fmt::Write as _;

const UP: u8 = 1;
pub const DOWN: u8 = 2;
pub const LEFT: u8 = 4;
pub const RIGHT: u8 = 8;
/// The character that leads into the directions of its index.
pub const LINES: [char; 16] =
    [' ', '│', '│', '│', '─', '┘', '┐', '┤', '─', '└', '┌', '├', '─', '┴', '┬', '┼'];

#[derive(Clone, Copy, Default)]
struct Cell {
    lines: u8,
    text: Option<char>,
    colour: &'static str,
}

#[derive(Default)]
pub struct Canvas {
    rows: Vec<Vec<Cell>>,
}

impl Canvas {
    fn cell(&mut self, row: usize, column: usize) -> &mut Cell {
        if self.rows.len() <= row {
            self.rows.resize_with(row + 1, Vec::new);
        }
        let cells = &mut self.rows[row];
        if cells.len() <= column {
            cells.resize(column + 1, Cell::default());
        }
        &mut cells[column]
    }

    pub fn put(&mut self, row: usize, column: usize, text: char, colour: &'static str) {
        let cell = self.cell(row, column);
        cell.text = Some(text);
        cell.colour = colour;
    }

    pub fn write(&mut self, row: usize, column: usize, text: &str, colour: &'static str) {
        for (i, c) in text.chars().enumerate() {
            self.put(row, column + i, c, colour);
        }
    }

    pub fn vertical(&mut self, column: usize, from: usize, to: usize) {
        for row in from..to {
            self.cell(row, column).lines |= DOWN;
            self.cell(row + 1, column).lines |= UP;
        }
    }

    pub fn horizontal(&mut self, row: usize, from: usize, to: usize, except: &[usize]) {
        for column in from..to {
            if !except.contains(&column) {
                self.cell(row, column).lines |= RIGHT;
            }
            if !except.contains(&(column + 1)) {
                self.cell(row, column + 1).lines |= LEFT;
            }
        }
    }

    pub fn text(&self, colour: bool) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::from("  ");
            let mut current = "";
            for cell in row {
                if colour && cell.colour != current {
                    current = cell.colour;
                    let _ = write!(line, "\x1b[0{}{current}m", if current.is_empty() { "" } else { ";" });
                }
                line.push(cell.text.unwrap_or(LINES[usize::from(cell.lines)]));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}
