//! Words of a picture: what users wrote, made harmless and short; numbers and durations as people write them.

/// Text for XML, in content and in attributes. Characters that no XML may have, that move the cursor or that turn
/// the direction of writing are left out; a line break is a space.
pub fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in plain(text) {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            character => safe.push(character),
        }
    }
    safe
}

/// The characters of a text that may be shown.
fn plain(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().filter_map(|character| match character {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
        '\u{200B}'..='\u{200F}'
        | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}'
        | '\u{FFF9}'..='\u{FFFB}'
        | '\u{E0000}'..='\u{E007F}' => None,
        character if character.is_control() => None,
        // U+FFFE, U+FFFF and their like in each plane.
        character if u32::from(character) & 0xFFFE == 0xFFFE => None,
        character => Some(character),
    })
}

/// What a text is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Font {
    /// All letters are as wide as each other.
    Slug,
    /// The widest of those that browsers take for words.
    Words,
}

impl Font {
    /// How wide a character is at most, in hundredths of the size of the font.
    fn width(self, character: char) -> usize {
        match (character, self) {
            // Drawn over the character before.
            ('\u{0300}'..='\u{036F}' | '\u{FE00}'..='\u{FE0F}', _) => 0,
            // The scripts of East Asia, and pictographs.
            (
                '\u{1100}'..='\u{115F}'
                | '\u{2E80}'..='\u{A4CF}'
                | '\u{AC00}'..='\u{D7A3}'
                | '\u{F900}'..='\u{FAFF}'
                | '\u{FE30}'..='\u{FE6F}'
                | '\u{FF00}'..='\u{FF60}'
                | '\u{1F000}'..='\u{3FFFF}',
                _,
            ) => 121,
            (_, Self::Slug) => 61,
            ('i' | 'j' | 'l', _) => 28,
            (' ' | '.' | ',' | ':' | ';' | '-' | '/' | '|' | '!' | '\'' | '·', _) => 36,
            ('f' | 'r' | 't' | 'I' | '(' | ')' | '[' | ']', _) => 41,
            ('c' | 'k' | 's' | 'v' | 'x' | 'y' | 'z' | '_' | '"' | '*', _) => 57,
            ('a'..='z' | '0'..='9', _) if !matches!(character, 'm' | 'w') => 63,
            ('w' | '<' | '>' | '=' | '+' | '&' | '#' | '~' | '^', _) => 84,
            ('A'..='Z', _) if !matches!(character, 'M' | 'W') => 70,
            _ => 100,
        }
    }

    /// How wide a text is at most, in this font of so many pixels.
    pub fn extent(self, text: &str, size: f64) -> f64 {
        let hundredths: usize = plain(text).map(|character| self.width(character)).sum();
        hundredths as f64 * size / 100.0
    }

    /// The text on one line, at most as wide as that; an ellipsis stands for the rest.
    pub fn shorten(self, text: &str, size: f64, width: f64) -> String {
        cut(
            text,
            (width * 100.0 / size + 0.5) as usize,
            |c| self.width(c),
            self.width('…'),
        )
    }
}

/// The text on one line, of at most so many characters; an ellipsis stands for the rest.
pub fn shorten(text: &str, most: usize) -> String {
    cut(text, most, |_| 1, 1)
}

fn cut(text: &str, most: usize, width: impl Fn(char) -> usize, ellipsis: usize) -> String {
    /// Marks over one letter, of which no script has so many.
    const MOST_MARKS: usize = 8;
    let mut short = String::new();
    let mut taken = 0;
    // What is kept if the rest turns out too long.
    let mut kept = 0;
    let mut is_space = true;
    let mut marks = 0;
    for character in plain(text) {
        if character == ' ' && is_space {
            continue;
        }
        is_space = character == ' ';
        let wide = width(character);
        marks = if wide == 0 { marks + 1 } else { 0 };
        if marks > MOST_MARKS {
            continue;
        }
        taken += wide;
        if taken > most {
            short.truncate(kept);
            short.truncate(short.trim_end().len());
            short.push('…');
            return short;
        }
        short.push(character);
        if taken + ellipsis <= most {
            kept = short.len();
        }
    }
    short.truncate(short.trim_end().len());
    short
}

/// Microseconds in two units at most.
pub fn duration(micros: i64) -> String {
    const SECOND: i64 = 1_000_000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let two = |large: i64, one: &str, small: i64, other: &str| {
        if small == 0 {
            format!("{large} {one}")
        } else {
            format!("{large} {one} {small} {other}")
        }
    };
    match micros {
        ..1_000 => "< 1 ms".to_owned(),
        1_000..SECOND => format!("{} ms", micros / 1_000),
        SECOND..10_000_000 => format!("{}.{} s", micros / SECOND, micros % SECOND / 100_000),
        10_000_000..MINUTE => format!("{} s", micros / SECOND),
        MINUTE..HOUR => two(micros / MINUTE, "min", micros % MINUTE / SECOND, "s"),
        HOUR..DAY => two(micros / HOUR, "h", micros % HOUR / MINUTE, "min"),
        DAY.. => two(micros / DAY, "d", micros % DAY / HOUR, "h"),
    }
}

/// A number, its thousands apart.
pub fn number(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut apart = String::from(if number < 0 { "-" } else { "" });
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

/// A number of things, and the word for them.
pub fn count(of: i64, thing: &str) -> String {
    let number = number(of);
    match (of, thing.strip_suffix('y')) {
        (1, _) => format!("{number} {thing}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_have_is_left_out() {
        assert_eq!(
            xml(
                "<script>alert('x')</script> & \"y\"\u{0}\u{1}\u{1b}\u{7f}\u{85}\u{fffe}\u{10ffff}"
            ),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;y&quot;"
        );
        assert_eq!(xml("a\n\tb\u{202e}c\u{2028}d"), "a  bc d");
        assert_eq!(xml("]]>--><!--"), "]]&gt;--&gt;&lt;!--");
    }

    #[test]
    fn long_texts_are_cut_and_short_ones_are_not() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("abcd", 3), "ab…");
        assert_eq!(shorten("  a \n  b  ", 10), "a b");
        assert_eq!(shorten("one two", 5), "one…");
        assert_eq!(shorten("", 5), "");
        assert_eq!(shorten("abc", 0), "…");
        assert_eq!(Font::Slug.shorten("abcdef", 10.0, 36.6), "abcdef");
        assert_eq!(Font::Slug.shorten("abcdefg", 10.0, 36.6), "abcde…");
        assert_eq!(Font::Slug.shorten("漢字漢字", 10.0, 40.0), "漢字…");
        let marks = Font::Words.shorten(&format!("a{}b", "\u{301}".repeat(10_000)), 10.0, 50.0);
        assert_eq!(marks, format!("a{}b", "\u{301}".repeat(8)));
    }

    #[test]
    fn durations_are_short() {
        let said: Vec<_> = [
            -5,
            999,
            1_000,
            999_999,
            1_000_000,
            9_999_999,
            10_000_000,
            61_000_000,
            3_600_000_000,
            90_000_000_000,
            i64::MAX,
        ]
        .into_iter()
        .map(duration)
        .collect();
        assert_eq!(
            said,
            [
                "< 1 ms",
                "< 1 ms",
                "1 ms",
                "999 ms",
                "1.0 s",
                "9.9 s",
                "10 s",
                "1 min 1 s",
                "1 h",
                "1 d 1 h",
                "106751991 d 4 h"
            ]
        );
    }

    #[test]
    fn numbers_have_words() {
        assert_eq!(count(1, "step"), "1 step");
        assert_eq!(count(0, "retry"), "0 retries");
        assert_eq!(count(20_000, "step"), "20,000 steps");
        assert_eq!(count(1_234_567, "dep"), "1,234,567 deps");
    }
}
