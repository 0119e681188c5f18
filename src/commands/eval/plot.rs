//! A drawing of how far confidence can be believed, as SVG.
//!
//! [`Plot::svg`] is the entry point: on the left the share of right first hits by confidence, with how many questions
//! stand behind it; on the right what every answer threshold would give. Nothing but shapes and text: no script, no font
//! of its own, no address.

use crate::matching::Thresholds;
use crate::matching::reliability::{ANSWERS_RIGHT, BINS, Bin, Judged, Tally, bins, tally};
use std::fmt::{self, Write};

/// What is drawn.
pub(super) struct Plot<'a> {
    pub judged: &'a [Judged],
    /// What a question that the bank cannot answer counts.
    pub weight: f64,
    /// Those in use.
    pub thresholds: Thresholds,
    pub title: &'a str,
}

/// A field with shares (0–1) on both axes.
struct Field {
    left: f64,
    /// What is at its left edge; 1 is at the right one.
    from: f64,
}

const WIDTH: f64 = 1_040.0;
const HEIGHT: f64 = 630.0;
const TOP: f64 = 112.0;
/// Of a field.
const SIDE: f64 = 400.0;
/// Of the strip of counts, and where it ends below a field.
const STRIP: f64 = 40.0;
const STRIP_END: f64 = 96.0;
/// Right of the reliability field.
const SECOND: f64 = 580.0;
const STYLE: &str = "text{font:13px sans-serif;fill:#333}.t{font-size:16px;font-weight:bold}.s{font-size:11px;fill:#666}.n{font-size:9px;fill:#666}\
    .e{text-anchor:end}.m{text-anchor:middle}.g{stroke:#ddd}.a{stroke:#888;fill:none}.d{stroke:#999;stroke-dasharray:4 4}\
    .h{fill:#dbe6f2}.w{stroke:#1f5a99}.p{fill:#1f5a99}.l{fill:none;stroke-width:2}.c1{stroke:#1f5a99}.c2{stroke:#2a8a4a}\
    .c3{stroke:#c0392b}.k{stroke:#c98a00;stroke-dasharray:2 3}";

impl Field {
    fn x(&self, value: f64) -> f64 {
        self.left + (value - self.from) / (1.0 - self.from) * SIDE
    }

    /// Ticks, grid and labels, a tenth apart.
    fn axes(&self, out: &mut String, across: &str, up: &str) -> fmt::Result {
        let (left, right, bottom) = (self.left, self.left + SIDE, TOP + SIDE);
        for tenth in 0..=10 {
            let value = f64::from(tenth) / 10.0;
            let (x, y) = (self.x(value), y(value));
            writeln!(out, r#"<path class="g" d="M{left:.1} {y:.1}H{right:.1}"/>"#)?;
            writeln!(
                out,
                r#"<text class="e" x="{:.1}" y="{:.1}">{} %</text>"#,
                left - 6.0,
                y + 4.0,
                tenth * 10
            )?;
            if value >= self.from {
                writeln!(out, r#"<path class="g" d="M{x:.1} {TOP:.1}V{bottom:.1}"/>"#)?;
                writeln!(
                    out,
                    r#"<text class="m" x="{x:.1}" y="{:.1}">{value:.1}</text>"#,
                    bottom + 18.0
                )?;
            }
        }
        writeln!(
            out,
            r#"<rect class="a" x="{left:.1}" y="{TOP:.1}" width="{SIDE:.1}" height="{SIDE:.1}"/>"#
        )?;
        let middle = left + SIDE / 2.0;
        writeln!(
            out,
            r#"<text class="m" x="{middle:.1}" y="{:.1}">{across}</text>"#,
            bottom + 36.0
        )?;
        writeln!(out, r#"<text x="{left:.1}" y="{:.1}">{up}</text>"#, TOP - 26.0)
    }

    /// A line from top to bottom, with a name.
    fn mark(&self, out: &mut String, value: f64, name: &str) -> fmt::Result {
        if value < self.from {
            return Ok(());
        }
        let (x, bottom) = (self.x(value), TOP + SIDE);
        writeln!(out, r#"<path class="k" d="M{x:.1} {TOP:.1}V{bottom:.1}"/>"#)?;
        writeln!(
            out,
            r#"<text class="s m" x="{x:.1}" y="{:.1}">{name}</text>"#,
            TOP - 5.0
        )
    }

    fn curve(&self, out: &mut String, class: &str, points: impl Iterator<Item = (f64, f64)>) -> fmt::Result {
        let points: Vec<String> = points
            .map(|(at, share)| format!("{:.1},{:.1}", self.x(at), y(share)))
            .collect();
        writeln!(out, r#"<polyline class="l {class}" points="{}"/>"#, points.join(" "))
    }
}

/// Where a share stands.
fn y(share: f64) -> f64 {
    TOP + (1.0 - share) * SIDE
}

impl Plot<'_> {
    /// The drawing, a whole file.
    pub fn svg(&self) -> String {
        let mut out = String::new();
        self.draw(&mut out).expect("a text takes all that is written");
        out
    }

    fn draw(&self, out: &mut String) -> fmt::Result {
        let known = self.judged.iter().filter(|judged| judged.in_scope).count();
        let unknown = self.judged.len() - known;
        writeln!(
            out,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="xMidYMin" width="100%">"#
        )?;
        writeln!(
            out,
            "<style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
        )?;
        writeln!(out, r#"<text class="t" x="70" y="30">{}</text>"#, escaped(self.title))?;
        writeln!(
            out,
            r#"<text class="s" x="70" y="50">{known} questions that the bank can answer; {unknown} that it cannot, counting {:.3} each</text>"#,
            self.weight
        )?;
        self.reliability(out)?;
        self.thresholds(out)?;
        writeln!(out, "</svg>")
    }

    fn reliability(&self, out: &mut String) -> fmt::Result {
        let field = Field { left: 70.0, from: 0.0 };
        let bins = bins(self.judged, self.weight);
        let most = bins.iter().map(|bin| bin.questions).max().unwrap_or(0).max(1);
        let (width, bottom) = (SIDE / BINS as f64, TOP + SIDE);
        field.axes(
            out,
            "confidence of the first hit",
            "first hit right, by confidence; below, how many questions",
        )?;
        for bin in bins.iter().filter(|bin| bin.questions > 0) {
            let height = bin.questions as f64 / most as f64 * STRIP;
            let x = field.x(bin.from);
            writeln!(
                out,
                r#"<rect class="h" x="{:.1}" y="{:.1}" width="{:.1}" height="{height:.1}"/>"#,
                x + 1.0,
                bottom + STRIP_END - height,
                width - 2.0
            )?;
        }
        writeln!(
            out,
            r#"<path class="d" d="M{:.1} {bottom:.1}L{:.1} {TOP:.1}"/>"#,
            field.left,
            field.left + SIDE
        )?;
        self.marks(out, &field)?;
        for Bin { from, questions, right } in bins {
            let Some(right) = right else { continue };
            let x = field.x(from) + width / 2.0;
            writeln!(
                out,
                r#"<path class="w" d="M{x:.1} {:.1}V{:.1}"/>"#,
                y(right.low),
                y(right.high)
            )?;
            writeln!(
                out,
                r#"<circle class="p" cx="{x:.1}" cy="{:.1}" r="4"><title>{from:.2}–{:.2}: {:.1} % of {questions}</title></circle>"#,
                y(right.share),
                from + 1.0 / BINS as f64,
                right.share * 100.0
            )?;
            writeln!(
                out,
                r#"<text class="n m" x="{x:.1}" y="{:.1}">{}</text>"#,
                bottom + STRIP_END + 13.0,
                brief(questions)
            )?;
        }
        Ok(())
    }

    fn thresholds(&self, out: &mut String) -> fmt::Result {
        let field = Field {
            left: SECOND,
            from: 0.3,
        };
        let tallies: Vec<Tally> = (30..=100)
            .map(|hundredths| self.at(f64::from(hundredths) / 100.0))
            .collect();
        field.axes(out, "answer threshold", "what an answer threshold gives")?;
        let promise = y(ANSWERS_RIGHT);
        writeln!(
            out,
            r#"<path class="d" d="M{:.1} {promise:.1}H{:.1}"/>"#,
            field.left,
            field.left + SIDE
        )?;
        let part = |count: usize, of: usize| (of > 0).then(|| count as f64 / of as f64);
        let of = |share: fn(&Tally) -> Option<f64>| {
            let points = tallies
                .iter()
                .filter_map(move |tally| Some((tally.answer_threshold, share(tally)?)));
            points.collect::<Vec<_>>()
        };
        let precision = of(|tally| tally.answers_right.map(|share| share.share));
        let known = tallies.iter().filter_map(|tally| {
            let Tally {
                known,
                answer_threshold,
                ..
            } = tally;
            Some((*answer_threshold, part(known.answered_right, known.questions)?))
        });
        let unknown = tallies.iter().filter_map(|tally| {
            let Tally {
                unknown,
                answer_threshold,
                ..
            } = tally;
            Some((*answer_threshold, part(unknown.answered, unknown.questions)?))
        });
        field.curve(out, "c1", precision.into_iter())?;
        field.curve(out, "c2", known)?;
        field.curve(out, "c3", unknown)?;
        self.marks(out, &field)?;
        let names = [
            ("c1", "of the answers, right (dashed: 95 %)"),
            ("c2", "of what can be answered, answered right"),
            ("c3", "of what cannot, answered: wrong"),
        ];
        let (left, top) = (SECOND, TOP + SIDE + 64.0);
        for (line, (class, name)) in names.into_iter().enumerate() {
            let y = top + line as f64 * 18.0;
            writeln!(out, r#"<path class="l {class}" d="M{left:.1} {:.1}h20"/>"#, y - 4.0)?;
            writeln!(
                out,
                r#"<text class="s" x="{:.1}" y="{y:.1}">{name}</text>"#,
                left + 26.0
            )?;
        }
        Ok(())
    }

    fn at(&self, answer: f64) -> Tally {
        let suggest = self.thresholds.suggest.min(answer);
        tally(self.judged, Thresholds { answer, suggest }, self.weight)
    }

    /// The thresholds in use.
    fn marks(&self, out: &mut String, field: &Field) -> fmt::Result {
        field.mark(out, self.thresholds.suggest, "suggest")?;
        field.mark(out, self.thresholds.answer, "answer")
    }
}

/// A count in four characters, for which there is room below a bin; a thousand million and more in five.
fn brief(count: usize) -> String {
    let count = count as f64;
    match count {
        ..1_000.0 => count.to_string(),
        ..9_950.0 => format!("{:.1}k", count / 1e3),
        ..999_500.0 => format!("{:.0}k", count / 1e3),
        ..9_950_000.0 => format!("{:.1}M", count / 1e6),
        _ => format!("{:.0}M", count / 1e6),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::Score;

    const PRESENT: Thresholds = Thresholds {
        answer: 0.8,
        suggest: 0.6,
    };

    fn svg(judged: &[Judged]) -> String {
        let plot = Plot {
            judged,
            weight: 0.5,
            thresholds: PRESENT,
            title: "a<b & c.jsonl",
        };
        plot.svg()
    }

    /// Every element is closed where it should be, every attribute quoted.
    fn is_well_formed(svg: &str) -> bool {
        let mut open = Vec::new();
        for tag in svg
            .split('<')
            .skip(1)
            .filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag))
        {
            let name: String = tag
                .trim_start_matches('/')
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            match (tag.starts_with('/'), tag.ends_with('/')) {
                (true, _) if open.last() != Some(&name) => return false,
                (true, _) => _ = open.pop(),
                (false, false) => open.push(name),
                _ => {}
            }
        }
        open.is_empty() && svg.matches('"').count().is_multiple_of(2)
    }

    #[test]
    fn the_drawing_is_whole_and_holds_the_counts() {
        let judged = |best: f64, rank, in_scope| Judged {
            best: Some(Score::new(best)),
            sure: Score::new(best),
            guard: None,
            rank,
            in_scope,
        };
        let right = [judged(0.92, Some(1), true); 3];
        let svg = svg(&[&right[..], &[judged(0.93, None, false), judged(0.41, Some(2), true)]].concat());
        assert!(is_well_formed(&svg), "{svg}");
        assert!(
            svg.contains("<title>0.90–0.95: 85.7 % of 4</title>"),
            "three right of three and a half"
        );
        assert!(svg.contains("<title>0.40–0.45: 0.0 % of 1</title>"));
        assert!(svg.contains("a&lt;b &amp; c.jsonl"));
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn counts_have_room_below_their_bins() {
        for (count, written) in [
            (0, "0"),
            (999, "999"),
            (1_049, "1.0k"),
            (9_949, "9.9k"),
            (9_950, "10k"),
            (99_499, "99k"),
            (99_500, "100k"),
            (149_999, "150k"),
            (999_499, "999k"),
            (999_500, "1.0M"),
            (9_949_999, "9.9M"),
            (9_950_000, "10M"),
        ] {
            assert_eq!(brief(count), written);
        }
        let svg = svg(&[Judged {
            best: Some(Score::new(0.9)),
            sure: Score::new(0.9),
            guard: None,
            rank: Some(1),
            in_scope: true,
        }]);
        let (head, _) = svg.split_once('>').unwrap();
        assert!(
            head.contains("viewBox=\"0 0 1040 630\"") && head.ends_with("width=\"100%\""),
            "{head}"
        );
        assert!(svg.contains("<text class=\"n m\""), "small print");
    }

    #[test]
    fn nothing_gives_an_empty_drawing() {
        let svg = svg(&[]);
        assert!(
            is_well_formed(&svg) && !svg.contains("<circle") && !svg.contains("NaN"),
            "{svg}"
        );
    }
}
