//! Lines over time, as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const PANEL: f64 = 150.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 20.0;

/// Panels one below the other, with one axis of time.
pub struct Chart {
    unit: String,
    x: Vec<f64>,
    panels: Vec<(String, Vec<f64>)>,
}

impl Chart {
    /// Without panels. `unit` names the axis.
    pub fn new(unit: &str, x: &[f64]) -> Chart {
        Chart { unit: unit.to_owned(), x: x.to_vec(), panels: Vec::new() }
    }

    /// Adds a line, from zero up.
    pub fn panel(&mut self, title: &str, y: &[f64]) {
        assert_eq!(y.len(), self.x.len());
        self.panels.push((title.to_owned(), y.to_vec()));
    }

    /// The picture.
    pub fn svg(&self) -> String {
        let height = PANEL * self.panels.len() as f64 + BOTTOM;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        let x_max = self.x.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        for (number, (title, y)) in self.panels.iter().enumerate() {
            self.draw(&mut svg, PANEL * number as f64, x_max, title, y);
        }
        let (middle, bottom) = (WIDTH / 2.0, height - 6.0);
        let _ = writeln!(
            svg,
            "<text x=\"{middle}\" y=\"{bottom}\" text-anchor=\"middle\">{} (0 to {x_max:.1})</text>",
            self.unit
        );
        svg.push_str("</svg>\n");
        svg
    }

    fn draw(&self, svg: &mut String, top: f64, x_max: f64, title: &str, y: &[f64]) {
        let y_max = y.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let (low, high) = (top + PANEL - 8.0, top + TOP);
        let at_x = |x: f64| LEFT + x / x_max * (WIDTH - LEFT - RIGHT);
        let at_y = |y: f64| low - y / y_max * (low - high);
        let title = title.replace('&', "&amp;").replace('<', "&lt;");
        let right = WIDTH - RIGHT;
        let points: Vec<String> =
            self.x.iter().zip(y).map(|(&x, &y)| format!("{:.1},{:.1}", at_x(x), at_y(y))).collect();
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{title}</text>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{y_max:.0}</text>\n\
             <text x=\"{}\" y=\"{low}\" text-anchor=\"end\">0</text>\n\
             <path d=\"M{LEFT} {high}V{low}H{right}\" fill=\"none\" stroke=\"#999\"/>\n\
             <polyline points=\"{}\" fill=\"none\" stroke=\"#0b62a4\" stroke-width=\"1.5\"/>",
            top + 16.0,
            LEFT - 6.0,
            high + 4.0,
            LEFT - 6.0,
            points.join(" ")
        );
    }
}
