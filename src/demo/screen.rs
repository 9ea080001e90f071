//! What the demo prints: headings, facts, and a block that is drawn again in place on a terminal.

use std::{
    io::{self, Write},
    time::Duration,
};

/// Where the demo prints.
pub struct Screen<'a> {
    out: &'a mut (dyn Write + Send),
    is_terminal: bool,
    coloured: bool,
    /// Lines of the block that was drawn last and may be drawn again.
    drawn_lines: usize,
    steps: usize,
}

/// How a piece of text looks on a terminal with colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// What to look at.
    Bold,
    /// What may be skipped.
    Dim,
    /// Numbers that show that all is well.
    Good,
    /// Numbers that are out of the ordinary.
    Bad,
}

impl<'a> Screen<'a> {
    /// A screen on `out`. Without a terminal nothing is ever drawn in place; without colours there are no escape sequences
    /// but those that move the cursor.
    pub fn new(out: &'a mut (dyn Write + Send), is_terminal: bool, coloured: bool) -> Screen<'a> {
        Screen { out, is_terminal, coloured, drawn_lines: 0, steps: 0 }
    }

    /// Whether a person watches.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// A text in a style.
    pub fn styled(&self, style: Style, text: &str) -> String {
        if !self.coloured {
            return text.to_owned();
        }
        let code = match style {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Bad => "31",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// Begins the next step.
    ///
    /// # Errors
    /// If the output does not take it, as for all methods here.
    pub fn step(&mut self, title: &str) -> io::Result<()> {
        self.drawn_lines = 0;
        self.steps += 1;
        let title = self.styled(Style::Bold, &format!("{}  {title}", self.steps));
        writeln!(self.out, "\n{title}\n")
    }

    /// One line, indented under its step.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.drawn_lines = 0;
        writeln!(self.out, "{}", format!("   {text}").trim_end())?;
        self.out.flush()
    }

    /// Several lines.
    pub fn lines(&mut self, text: &str) -> io::Result<()> {
        text.lines().try_for_each(|line| self.line(line))
    }

    /// Draws a block over the one that was drawn before it, if that was the last thing printed. Without a terminal only a
    /// block that is worth `keeping` is printed, below the one before.
    pub fn draw(&mut self, block: &str, keeping: bool) -> io::Result<()> {
        if !self.is_terminal {
            if keeping {
                self.lines(block)?;
                writeln!(self.out)?;
            }
            return self.out.flush();
        }
        let mut text = String::new();
        if self.drawn_lines > 0 {
            text.push_str(&format!("\u{1b}[{}A", self.drawn_lines));
        }
        for line in block.lines() {
            text.push_str(&format!("\r\u{1b}[2K   {line}\n"));
        }
        text.push_str("\u{1b}[J");
        self.drawn_lines = block.lines().count();
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

/// `336,776`
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3 MB`
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if number < 1000 {
        return format!("{number} B");
    }
    let mut value = number as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `0.8 ms`, `312 ms`, `2.41 s`
pub fn duration(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    if millis < 10.0 {
        format!("{millis:.1} ms")
    } else if millis < 1000.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{:.2} s", millis / 1000.0)
    }
}

/// A bar of `width` places, `share` of it full.
pub fn bar(share: f64, width: usize) -> String {
    let full = ((share.clamp(0.0, 1.0) * width as f64).round() as usize).min(width);
    format!("{}{}", "█".repeat(full), "·".repeat(width - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!([0, 999, 1000, 336_776, 1_000_000].map(thousands), ["0", "999", "1,000", "336,776", "1,000,000"]);
        assert_eq!(
            [0, 999, 1000, 999_949, 999_950, 12_345_678].map(bytes),
            ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "12.3 MB"]
        );
        let times = [Duration::from_micros(812), Duration::from_millis(312), Duration::from_millis(2410)];
        assert_eq!(times.map(duration), ["0.8 ms", "312 ms", "2.41 s"]);
        assert_eq!(bar(0.5, 4), "██··");
    }

    #[test]
    fn a_block_is_drawn_again_in_place_on_a_terminal_and_kept_in_a_pipe_only_where_it_is_worth_it() {
        let mut terminal = Vec::new();
        let mut screen = Screen::new(&mut terminal, true, false);
        screen.draw("a\nb", false).expect("memory");
        screen.draw("c\nd", false).expect("memory");
        let text = String::from_utf8(terminal).expect("text");
        assert_eq!(
            text,
            "\r\u{1b}[2K   a\n\r\u{1b}[2K   b\n\u{1b}[J\u{1b}[2A\r\u{1b}[2K   c\n\r\u{1b}[2K   d\n\u{1b}[J"
        );

        let mut pipe = Vec::new();
        let mut screen = Screen::new(&mut pipe, false, false);
        screen.draw("a", false).expect("memory");
        screen.draw("b", true).expect("memory");
        assert_eq!(String::from_utf8(pipe).expect("text"), "   b\n\n");
    }
}
